"""Telling where the time of a slow part went."""

from edge_agent.ports import CycleTimings
from edge_agent.slow_parts import NUM_TO_LEARN, SlowParts

USUAL = CycleTimings(grab_ms=1.0, inference_ms=5.0, judgement_ms=0.1)


def settled() -> SlowParts:
    parts = SlowParts()
    for number in range(NUM_TO_LEARN):
        assert parts.take_in(40.0 if number == 3 else 8.0, USUAL, disk_ms=0.0) is None
    return parts


def test_part_that_waited_for_the_disk_is_told_with_its_stages() -> None:
    told = settled().take_in(30.0, USUAL, disk_ms=21.0)
    assert told is not None
    assert (told["took"], told["inference"], told["disk"]) == (30.0, 5.0, 21.0)
    assert told["rest"] == 2.9


def test_usual_part_is_not_told() -> None:
    assert settled().take_in(9.5, USUAL, disk_ms=0.0) is None


def test_line_that_became_slower_for_good_is_told_for_a_while_only() -> None:
    parts = settled()
    told = [parts.take_in(20.0, USUAL, disk_ms=0.0) is not None for _ in range(300)]
    assert told[0]
    assert not told[-1]
