"""Turn a part into the picture that the station's camera would take, with its exact boxes."""

import numpy as np

from simulators.parts.fasteners import draw_fastener
from simulators.parts.labels import draw_label
from simulators.parts.lighting import draw_lamps
from simulators.parts.marks import draw_dirt, draw_scratch
from simulators.parts.optics import Pose, draw_pose, take_picture
from simulators.parts.plate import draw_plate
from simulators.parts.spec import (
    HOST_OF_DEFECT,
    Generator,
    Kind,
    Part,
    RenderedPart,
    SceneSettings,
    TrueBox,
)
from simulators.parts.surfaces import FloatImage

MIN_VISIBLE_PX = 4.0


def render(
    part: Part, settings: SceneSettings | None = None, rng: Generator | None = None
) -> RenderedPart:
    """Photograph a part.

    Args:
        part: What lies under the camera.
        settings: Camera, lamp and surroundings.
        rng: Random numbers of this exposure; without it they follow from the part's seed, so
            that the same part gives the same picture.

    Returns:
        Picture and truth; the light of the lamps already carries their age and colour.
    """
    settings = settings or SceneSettings()
    rng = rng or np.random.default_rng(part.seed)
    lamps = draw_lamps(rng, settings)
    pose = draw_pose(rng, settings)
    canvas = draw_plate(rng, part.spec, lamps, settings.variant, pose.nadir_mm)
    outlines: list[tuple[Kind, FloatImage]] = [
        (item.kind, draw_scratch(canvas, item)) for item in part.items if item.kind is Kind.SCRATCH
    ]
    for item in part.items:
        host = HOST_OF_DEFECT.get(item.kind, item.kind)
        if host is Kind.LABEL:
            outlines.append((item.kind, draw_label(canvas, item)))
        elif host is not Kind.SCRATCH:
            outlines.append((item.kind, draw_fastener(rng, canvas, item)))
    draw_dirt(rng, canvas, settings.dirt)
    canvas.light *= (np.asarray(lamps.tint, np.float32) * lamps.strength)[:, None, None]
    image = take_picture(rng, canvas.light, pose, settings)
    return RenderedPart(part=part, image=image, annotations=_true_boxes(outlines, pose, settings))


def _true_boxes(
    outlines: list[tuple[Kind, FloatImage]], pose: Pose, settings: SceneSettings
) -> tuple[TrueBox, ...]:
    boxes = []
    limit = np.array([settings.width_px, settings.height_px], np.float32)
    for kind, outline in outlines:
        points = pose.picture_points(outline)
        low, high = np.clip(points.min(axis=0), 0, limit), np.clip(points.max(axis=0), 0, limit)
        size = high - low
        if size.min() >= MIN_VISIBLE_PX:
            x, y, width, height = (round(float(v), 2) for v in (*low, *size))
            boxes.append(TrueBox(category=kind, bbox=(x, y, width, height)))
    return tuple(boxes)
