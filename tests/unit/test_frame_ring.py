"""The last pictures are still there when somebody contradicts a verdict."""

from datetime import UTC, datetime
from uuid import uuid4

import numpy as np

from edge_agent.frame_ring import FrameRing
from edge_agent.ports import CycleOutcome, Frame
from models.contract.messages import Verdict
from models.contract.recipe import Recipe, View

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RECIPE = Recipe(
    recipe_id="plate",
    version=1,
    part_type="plate",
    image_width_px=16,
    image_height_px=16,
    views=(View(),),
)
PICTURE_BYTES = 10 * 10 * 3


def cycle(part_id: str, *, with_picture: bool = True) -> CycleOutcome:
    image = np.zeros((10, 10, 3), np.uint8)
    return CycleOutcome(
        result_id=uuid4(),
        job_id=uuid4(),
        trigger_id="T1",
        part_id=part_id,
        recipe=RECIPE,
        view=RECIPE.views[0],
        verdict=Verdict.OK,
        reasons=(),
        decided_at=NOON,
        frame=Frame(image, 1, NOON) if with_picture else None,
    )


def test_views_of_a_part_are_found_newest_first() -> None:
    ring = FrameRing(num_cycles=5)
    first, other, second = cycle("P1"), cycle("P2"), cycle("P1")
    for item in (first, other, second):
        ring.add(item)
    assert ring.find("P1") == (second, first)


def test_oldest_cycle_is_forgotten_when_there_are_too_many() -> None:
    ring = FrameRing(num_cycles=2)
    for name in ("P1", "P2", "P3"):
        ring.add(cycle(name))
    assert ring.find("P1") == ()
    assert ring.find("P2") != ()


def test_memory_of_the_pictures_is_bounded() -> None:
    ring = FrameRing(num_cycles=100, max_bytes=2 * PICTURE_BYTES)
    for name in ("P1", "P2", "P3"):
        ring.add(cycle(name))
    ring.add(cycle("blind", with_picture=False))
    assert ring.find("P1") == ()
    assert all(ring.find(name) for name in ("P2", "P3", "blind"))
