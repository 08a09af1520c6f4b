import dataclasses

import pytest

from fraud.domain.deployment import PROMOTE, ROLLBACK, Deployment, meets_canary, standing_champions

SUBJECTS = [f"user-{number}" for number in range(4_000)]


def champion(version: str, move: str = PROMOTE) -> Deployment:
    return Deployment("ach", version, version, "0" * 64, "me", "why", 1, move=move)  # type: ignore[arg-type]


def test_a_growing_share_keeps_whom_the_canary_met() -> None:
    met = [{each for each in SUBJECTS if meets_canary("m-1", each, share)} for share in (0.05, 0.2)]
    assert met[0] < met[1]
    # Three standard deviations of a share of 20 % over 4,000 subjects are 1.9 points.
    assert len(met[1]) / len(SUBJECTS) == pytest.approx(0.2, abs=0.019)


def test_another_canary_draws_other_subjects() -> None:
    one, other = (
        {each for each in SUBJECTS if meets_canary(version, each, 0.2)} for version in ("a", "b")
    )
    # Independent draws meet in 4 %; three standard deviations are 0.9 points.
    assert len(one & other) / len(SUBJECTS) == pytest.approx(0.04, abs=0.0093)


def test_nobody_meets_a_canary_of_no_share_and_everybody_one_of_all() -> None:
    assert not any(meets_canary("m", each, 0.0) for each in SUBJECTS)
    assert all(meets_canary("m", each, 1.0) for each in SUBJECTS)


@pytest.mark.parametrize(
    ("moves", "standing"),
    [
        ("a b c", "c b a"),
        ("a b a!", "a"),
        ("a b c b!", "b a"),
        ("a b a! c a!", "a"),
        ("a b c b! a!", "a"),
        ("b! c", "c b"),  # what was rolled back to is older than the history given
    ],
)
def test_what_was_rolled_back_does_not_stand(moves: str, standing: str) -> None:
    history = [
        champion(each[0], ROLLBACK if each.endswith("!") else PROMOTE) for each in moves.split()
    ]
    found = standing_champions(history[::-1])
    assert " ".join(each.model_version for each in found) == standing
    assert dataclasses.asdict(found[0])["model_version"] == history[-1].model_version
