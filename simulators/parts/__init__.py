"""A seeded renderer of machined cover plates with exact ground truth."""

from simulators.parts.plan import choose_defects, draw_part, part_rng
from simulators.parts.render import render
from simulators.parts.spec import (
    CLASSIC_DEFECTS,
    DEFECTS,
    OBJECTS,
    Kind,
    Part,
    PartSpec,
    RenderedPart,
    SceneSettings,
    TrueBox,
)

__all__ = [
    "CLASSIC_DEFECTS",
    "DEFECTS",
    "OBJECTS",
    "Kind",
    "Part",
    "PartSpec",
    "RenderedPart",
    "SceneSettings",
    "TrueBox",
    "choose_defects",
    "draw_part",
    "part_rng",
    "render",
]
