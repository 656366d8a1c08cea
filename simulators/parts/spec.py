"""What a part is made of: positions in millimetres on the plate, and what is wrong with it.

The origin is the middle of the plate, x points right, y points down, as the camera sees it.
"""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

Generator = np.random.Generator


class Kind(StrEnum):
    """Every category that the renderer can draw and annotate."""

    BOLT = "bolt"
    SCREW = "screw"
    LABEL = "label"
    MISSING_BOLT = "missing_bolt"
    MISSING_LABEL = "missing_label"
    SCRATCH = "scratch"
    LOOSE_BOLT = "loose_bolt"
    SKEWED_LABEL = "skewed_label"
    TORN_LABEL = "torn_label"
    WRONG_SCREW = "wrong_screw"


OBJECTS = (Kind.BOLT, Kind.SCREW, Kind.LABEL)
CLASSIC_DEFECTS = (Kind.MISSING_BOLT, Kind.MISSING_LABEL, Kind.SCRATCH)
DEFECTS = (
    *CLASSIC_DEFECTS,
    Kind.LOOSE_BOLT,
    Kind.SKEWED_LABEL,
    Kind.TORN_LABEL,
    Kind.WRONG_SCREW,
)
HOST_OF_DEFECT = {
    Kind.MISSING_BOLT: Kind.BOLT,
    Kind.LOOSE_BOLT: Kind.BOLT,
    Kind.MISSING_LABEL: Kind.LABEL,
    Kind.SKEWED_LABEL: Kind.LABEL,
    Kind.TORN_LABEL: Kind.LABEL,
    Kind.WRONG_SCREW: Kind.SCREW,
}
"""The object that a defect takes the place of; a scratch has none."""


@dataclass(frozen=True, slots=True)
class LabelPlace:
    """Where a label belongs, and which label it is."""

    x_mm: float
    y_mm: float
    width_mm: float
    height_mm: float
    design: str


@dataclass(frozen=True, slots=True)
class PartSpec:
    """Drawing of a part type; all parts of the type share it."""

    name: str = "plate-a"
    width_mm: float = 140.0
    height_mm: float = 110.0
    corner_radius_mm: float = 9.0
    bolts_mm: tuple[tuple[float, float], ...] = (
        (-58.0, -43.0),
        (2.0, -43.0),
        (58.0, -43.0),
        (-58.0, 43.0),
        (2.0, 43.0),
        (58.0, 43.0),
    )
    screws_mm: tuple[tuple[float, float], ...] = (
        (-51.0, -20.0),
        (-9.0, -20.0),
        (-51.0, 20.0),
        (-9.0, 20.0),
    )
    cover_mm: tuple[float, float, float] = (-30.0, 0.0, 20.0)
    """Turned cover in the plate: centre and radius."""
    pins_mm: tuple[tuple[float, float], ...] = ((-62.0, 4.0), (62.0, -4.0))
    """Small dowel holes: never a defect."""
    labels: tuple[LabelPlace, ...] = (
        LabelPlace(31.0, -12.0, 46.0, 26.0, "type"),
        LabelPlace(31.0, 19.0, 38.0, 14.0, "caution"),
    )


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """Camera, lamp and surroundings; the drift knobs are here.

    Attributes:
        width_px: Width of the picture.
        height_px: Height of the picture.
        variant: Look of the part: ``a`` bright aluminium with white and yellow labels, ``b``
            milled grey casting with silver labels, ``c`` dark coated plate with blue labels.
        lamp_ageing: 0 is a new lamp; 1 is dim, warm and noisy.
        pose_jitter: 1 is a usual fixture; 0 puts every part in the same place.
        dirt: 0 is a washed part, 1 a usual one, 3 a filthy one.
        blur: Scales defocus and motion blur.
        jpeg_quality: Squeeze the picture through JPEG as a cheap camera does; 0 leaves it.
    """

    width_px: int = 640
    height_px: int = 512
    variant: str = "a"
    lamp_ageing: float = 0.0
    pose_jitter: float = 1.0
    dirt: float = 1.0
    blur: float = 1.0
    jpeg_quality: int = 0


@dataclass(frozen=True, slots=True)
class Placed:
    """One object on a part, in the state it is in."""

    kind: Kind
    x_mm: float
    y_mm: float
    angle_deg: float = 0.0
    style: str = ""
    seed: int = 0
    width_mm: float = 0.0
    height_mm: float = 0.0


@dataclass(frozen=True, slots=True)
class Part:
    """One part with its own tolerances, dirt and defects."""

    part_id: str
    spec: PartSpec
    items: tuple[Placed, ...]
    seed: int

    @property
    def defects(self) -> tuple[Kind, ...]:
        """Kinds of what is wrong with the part, one per place."""
        return tuple(item.kind for item in self.items if item.kind in DEFECTS)


@dataclass(frozen=True, slots=True)
class TrueBox:
    """One exact annotation: COCO ``[x, y, width, height]`` in pixels of the picture."""

    category: Kind
    bbox: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class RenderedPart:
    """A picture of a part.

    Attributes:
        part: What was drawn.
        image: ``(height, width, 3)`` uint8 BGR.
        annotations: The truth, clipped to the picture.
    """

    part: Part
    image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
    annotations: tuple[TrueBox, ...] = field(default_factory=tuple)
