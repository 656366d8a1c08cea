"""Recipes for what the simulators put under the camera."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from models.contract.recipe import (
    ExpectedObject,
    ForbiddenDefect,
    ImageChecks,
    Recipe,
    View,
    Zone,
)
from models.contract.recipe_toml import to_toml
from simulators.parts import CLASSIC_DEFECTS, Kind, PartSpec, SceneSettings
from simulators.parts.optics import FIELD_OF_VIEW_MM

ZONE_HALF_MM = 13.5
"""Three standard deviations of the pose jitter around an object's nominal place."""
LABEL_ZONE_HALF_MM = 14.0


def plate_recipe(
    spec: PartSpec | None = None,
    scene: SceneSettings | None = None,
    *,
    forbidden: Iterable[str] = CLASSIC_DEFECTS,
    version: int = 1,
) -> Recipe:
    """The rendered cover plate: each bolt, screw and label in its zone, no known defect."""
    spec, scene = spec or PartSpec(), scene or SceneSettings()
    places = [
        *((Kind.BOLT, x, y, ZONE_HALF_MM) for x, y in spec.bolts_mm),
        *((Kind.SCREW, x, y, ZONE_HALF_MM) for x, y in spec.screws_mm),
        *((Kind.LABEL, place.x_mm, place.y_mm, LABEL_ZONE_HALF_MM) for place in spec.labels),
    ]
    counts: dict[Kind, int] = {}
    expected = []
    for kind, x_mm, y_mm, half_mm in places:
        counts[kind] = counts.get(kind, 0) + 1
        expected.append(
            ExpectedObject(
                name=f"{kind.value} {counts[kind]}",
                category=kind.value,
                zone=_zone(scene, x_mm, y_mm, half_mm),
            )
        )
    return Recipe(
        recipe_id=spec.name,
        version=version,
        part_type=spec.name,
        image_width_px=scene.width_px,
        image_height_px=scene.height_px,
        views=(
            View(
                expected=tuple(expected),
                forbidden=tuple(ForbiddenDefect(category=str(name)) for name in forbidden),
            ),
        ),
    )


def photo_recipe(
    recipe_id: str, size_px: tuple[int, int], objects: Sequence[str], defects: Sequence[str]
) -> Recipe:
    """Photographs of no known layout: nothing is expected in a place, defects are forbidden.

    Where no category is a defect, one of each object must be there at least.
    """
    expected = () if defects else tuple(ExpectedObject(name=o, category=o) for o in objects)
    return Recipe(
        recipe_id=recipe_id,
        version=1,
        part_type=recipe_id,
        image_width_px=size_px[0],
        image_height_px=size_px[1],
        # A folder of photographs goes round; two equal pictures in a row are no frozen camera.
        image_checks=ImageChecks(refuse_frozen=False),
        views=(
            View(
                expected=expected,
                forbidden=tuple(ForbiddenDefect(category=name) for name in defects),
            ),
        ),
    )


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe as TOML that `models.contract.recipe.read_recipe` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_toml(recipe), encoding="utf-8")


def _zone(scene: SceneSettings, x_mm: float, y_mm: float, half_mm: float) -> Zone:
    px_per_mm = scene.width_px / FIELD_OF_VIEW_MM
    left = max(scene.width_px / 2 + (x_mm - half_mm) * px_per_mm, 0.0)
    top = max(scene.height_px / 2 + (y_mm - half_mm) * px_per_mm, 0.0)
    right = min(scene.width_px / 2 + (x_mm + half_mm) * px_per_mm, scene.width_px)
    bottom = min(scene.height_px / 2 + (y_mm + half_mm) * px_per_mm, scene.height_px)
    return Zone(
        x=round(left, 1),
        y=round(top, 1),
        width=round(right - left, 1),
        height=round(bottom - top, 1),
    )
