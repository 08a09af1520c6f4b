"""A short run of `make chaos-stream`, and what its verdict has to notice."""

import pytest

from benchmarks import chaos_stream

SOUND = {
    "inputs": 7,
    "decisions": 7,
    **dict.fromkeys(("lost", "doubled", "unpaired", "broken", "without_one_result"), 0),
    **dict.fromkeys(("without_one_document", "results_without_input", "dead_letters_wrong"), 0),
}


@pytest.mark.timeout(400)  # about 20 s on two idle cores
@pytest.mark.usefixtures("kafka_classpath")
def test_two_workers_the_relay_and_the_broker_killed_lose_and_double_nothing() -> None:
    said: list[str] = []
    each_once = 8  # of this seed the three victims differ
    report = chaos_stream.run(3, each_once, said.append, broker_every=3)
    assert chaos_stream.is_sound(report), (report, said)
    assert (report["lost"], report["doubled"]) == (0, 0)
    assert {line.split(":")[1].split(";")[0].strip() for line in said if "kill " in line} == {
        *("stream one", "stream other", "relay relay")
    }
    assert report["broker_kills"] == 1
    assert report["inputs"] > 3 * chaos_stream.PROGRESS
    assert report["bad_inputs"], "poison was among them"


@pytest.mark.parametrize("name", [*SOUND])
def test_the_verdict_forgives_nothing(name: str) -> None:
    assert chaos_stream.is_sound(SOUND)
    assert not chaos_stream.is_sound(SOUND | {name: 1})
