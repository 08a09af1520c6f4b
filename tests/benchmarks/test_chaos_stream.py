"""A short run of `make chaos-stream`, and what its verdict has to notice."""

import pytest

from benchmarks import chaos_stream
from fraud.domain.errors import SettingsError
from fraud.run.kafka.fetching import program
from tests.conftest import MISSING_SERVER

SOUND = {
    "inputs": 7,
    "decisions": 7,
    **dict.fromkeys(("lost", "doubled", "unpaired", "broken", "without_one_result"), 0),
    **dict.fromkeys(("without_one_document", "results_without_input", "dead_letters_wrong"), 0),
}


@pytest.mark.parametrize("name", [*SOUND])
def test_the_verdict_forgives_nothing(name: str) -> None:
    assert chaos_stream.is_sound(SOUND)
    assert not chaos_stream.is_sound(SOUND | {name: 1})


@pytest.mark.timeout(500)  # six programs of seconds each, on a machine that does other things too
def test_killed_programs_and_a_killed_broker_lose_and_double_nothing() -> None:
    try:
        program("java"), program("mvn")
    except SettingsError as error:
        pytest.skip(f"{MISSING_SERVER} Kafka - {error}")
    said: list[str] = []
    report = chaos_stream.run(1, 3, said.append, broker_every=2)
    assert chaos_stream.is_sound(report), (report, said)
    assert "the broker was killed and started" in said
    assert min(report["bad_inputs"].values()) > 0
