"""What the verdict of `make chaos-stream` has to notice."""

import pytest

from benchmarks import chaos_stream

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
