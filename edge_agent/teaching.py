"""Drafts a recipe from pictures of good parts: what is there, where, how sure. No I/O."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor

import numpy as np
import numpy.typing as npt

from edge_agent.object_places import Place, SeenBox, find_places
from models.contract.bundle import Category, CategoryKind
from models.contract.recipe import ExpectedObject, ForbiddenDefect, ImageChecks, Recipe, View, Zone
from models.contract.toml_lines import Location

DEFAULT_THRESHOLD = 0.5
"""Of a category for which the bundle has none; as in the judgement."""
FEW_PICTURES = 3
"""Under so many pictures their spread says nothing."""
MIN_MARGIN_RATIO = 0.25
"""Of the object's size: what a zone is wider than the places that were seen, at least."""
NUM_SIGMAS = 2.0
SCORE_MARGIN = 0.05
MAX_NAME = 64


@dataclass(frozen=True, slots=True)
class Look:
    """One picture of a good part, measured, and everything that the model saw in it."""

    name: str
    size_px: tuple[int, int]
    """Width, height."""
    mean_grey: float
    saturated_ratio: float
    sharpness: float
    boxes: tuple[SeenBox, ...]
    """Also those too weak to count."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What the model can name."""

    categories: tuple[Category, ...]
    thresholds: Mapping[str, float]

    def of_kind(self, kind: CategoryKind) -> tuple[str, ...]:
        """Names in the order of the label map."""
        return tuple(category.name for category in self.categories if category.kind is kind)

    def threshold(self, category: str) -> float:
        """Lowest score that counts."""
        return self.thresholds.get(category, DEFAULT_THRESHOLD)


@dataclass(slots=True)
class Draft:
    """A recipe, why it is so, and what a person should look at."""

    recipe: Recipe
    notes: dict[Location, str] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)


def draft_recipe(
    views: Mapping[str, Sequence[Look]],
    knowledge: Knowledge,
    *,
    recipe_id: str,
    part_type: str,
    deadline_ms: int,
) -> Draft:
    """Write down what is common to the pictures.

    Args:
        views: pictures of good parts by view, at least one each, all of one size.
        knowledge: of the model that looked.
        recipe_id: of the new recipe.
        part_type: what it is for.
        deadline_ms: time for a verdict.

    Raises:
        ValueError: the pictures have different sizes, or one view has none.
    """
    everything = [look for looks in views.values() for look in looks]
    sizes = Counter(look.size_px for look in everything)
    if len(sizes) != 1 or not all(views.values()):
        found = ", ".join(f"{width}x{height} ({count})" for (width, height), count in sizes.items())
        raise ValueError(f"the pictures of a recipe have one size, these have {found or 'none'}")
    ((width, height),) = sizes
    teachers = [_Teacher(looks, knowledge, ("views", i)) for i, looks in enumerate(views.values())]
    recipe = Recipe(
        recipe_id=recipe_id,
        version=1,
        part_type=part_type,
        image_width_px=width,
        image_height_px=height,
        deadline_ms=deadline_ms,
        image_checks=_image_checks(everything),
        views=tuple(teacher.view(name) for name, teacher in zip(views, teachers, strict=True)),
    )
    draft = Draft(recipe, _image_notes(everything))
    for teacher in teachers:
        draft.notes |= teacher.notes
        draft.doubts += teacher.doubts
    return draft


class _Teacher:
    """Drafts one view."""

    def __init__(self, looks: Sequence[Look], knowledge: Knowledge, place: Location) -> None:
        self.notes: dict[Location, str] = {}
        self.doubts: list[str] = []
        self._looks = looks
        self._knowledge = knowledge
        self._place = place

    def view(self, name: str) -> View:
        """Everything that is always there is expected, every known defect forbidden."""
        expected: list[ExpectedObject] = []
        for category in self._knowledge.of_kind(CategoryKind.OBJECT):
            places = self._places(category)
            if not places:
                self.doubts.append(f"view {name}: no {category} in any picture: not expected")
            for number, place in enumerate(places, 1):
                title = category if len(places) == 1 else f"{category} {number}"
                where = (*self._place, "expected", len(expected))
                expected.append(self._expected(title[:MAX_NAME], place, places, where))
        forbidden: list[ForbiddenDefect] = []
        for category in self._knowledge.of_kind(CategoryKind.DEFECT):
            where = (*self._place, "forbidden", len(forbidden))
            defect = self._forbidden(category, where)
            if defect is not None:
                forbidden.append(defect)
        return View(name=name, expected=tuple(expected), forbidden=tuple(forbidden))

    def _places(self, category: str) -> list[Place]:
        """Where one is in every picture; one that is sometimes missing is doubtful."""
        seen = [[box for box in look.boxes if box.category == category] for look in self._looks]
        places = find_places(seen, self._knowledge.threshold(category))
        always = []
        for place in places:
            missing = [self._looks[i].name for i in place.missing_in]
            if not missing:
                always.append(place)
                continue
            x, y = place.centre
            self.doubts.append(
                f"{category} at x {x:.0f} y {y:.0f} is missing in {_some(missing)}: not expected. "
                "Is that a good part? Take its picture away, or add the object by hand"
            )
        return always

    def _expected(
        self, name: str, place: Place, others: Sequence[Place], where: Location
    ) -> ExpectedObject:
        category, threshold = place.category, self._knowledge.threshold(place.category)
        lowest, highest = place.scores
        (x_low, y_low), (x_high, y_high) = place.range
        self.notes[where] = (
            f"Seen in {len(self._looks)} pictures, centre at x {x_low:.0f} … {x_high:.0f}, "
            f"y {y_low:.0f} … {y_high:.0f}, scores {lowest:.2f} … {highest:.2f}."
        )
        min_score = None
        if lowest < threshold:
            min_score = max(round(lowest - SCORE_MARGIN, 2), 0.01)
            text = f"the model's own threshold is {threshold:.2f}: too strict for these pictures"
            self.notes[(*where, "min_score")] = text
            self.doubts.append(f"{name} was seen with {lowest:.2f} only: more training pictures?")
        return ExpectedObject(
            name=name,
            category=category,
            zone=self._zone(place, others),
            count=place.count,
            min_score=min_score,
        )

    def _zone(self, place: Place, others: Sequence[Place]) -> Zone:
        """The places that were seen and a margin, never into a neighbour's of the same category."""
        low, high = place.range
        ratio = MIN_MARGIN_RATIO if len(self._looks) >= FEW_PICTURES else 2 * MIN_MARGIN_RATIO
        margin = np.maximum(NUM_SIGMAS * place.spread, ratio * place.size)
        corners = np.array([low - margin, high + margin])
        for other in others:
            if other is not place:
                _keep_apart(corners, place, other)
        width, height = self._looks[0].size_px
        left, top = (max(floor(value), 0) for value in corners[0])
        right, bottom = min(ceil(corners[1][0]), width), min(ceil(corners[1][1]), height)
        return Zone(x=left, y=top, width=max(right - left, 1), height=max(bottom - top, 1))

    def _forbidden(self, category: str, where: Location) -> ForbiddenDefect | None:
        threshold = self._knowledge.threshold(category)
        strongest, picture = max(
            ((box.score, look.name) for look in self._looks for box in look.boxes
             if box.category == category),
            default=(0.0, ""),
        )  # fmt: skip
        if strongest < threshold:
            return ForbiddenDefect(category=category)
        told = f"{category} was seen in {picture} with {strongest:.2f}"
        if strongest + SCORE_MARGIN > 1:
            self.doubts.append(f"{told}: not forbidden. Is that a good part?")
            return None
        self.doubts.append(f"{told}: its limit is raised above that. Is that a good part?")
        self.notes[(*where, "min_score")] = f"the model's own threshold is {threshold:.2f}"
        return ForbiddenDefect(category=category, min_score=ceil(100 * strongest + 5) / 100)


def _keep_apart(corners: npt.NDArray[np.float64], place: Place, other: Place) -> None:
    """Pull a zone's edge back to the middle between two objects of one category."""
    low, high = place.range
    other_low, other_high = other.range
    gaps = np.maximum(other_low - high, low - other_high)
    axis = int(np.argmax(gaps))
    if other_low[axis] > high[axis]:
        corners[1][axis] = min(corners[1][axis], (high[axis] + other_low[axis]) / 2)
    else:
        corners[0][axis] = max(corners[0][axis], (other_high[axis] + low[axis]) / 2)


def _image_checks(looks: Sequence[Look]) -> ImageChecks:
    """Half the light and half the sharpness of the poorest good picture is too poor."""
    saturated = max(look.saturated_ratio for look in looks)
    return ImageChecks(
        min_mean=round(min(look.mean_grey for look in looks) / 2, 1),
        max_saturated_ratio=min(round(max(2 * saturated, saturated + 0.1), 3), 1.0),
        min_sharpness=round(min(look.sharpness for look in looks) / 2, 1),
        refuse_frozen=True,
    )


def _image_notes(looks: Sequence[Look]) -> dict[Location, str]:
    checks = "image_checks"
    saturated = max(look.saturated_ratio for look in looks)
    greys = _span(look.mean_grey for look in looks)
    sharpnesses = _span(look.sharpness for look in looks)
    return {
        (checks,): "A part whose picture is beyond these limits is not decidable.",
        (checks, "min_mean"): f"mean grey: black below; these pictures have {greys}",
        (checks, "max_saturated_ratio"): f"over-exposed above; here {saturated:.3f} at most",
        (checks, "min_sharpness"): f"blurred below, 0: no check; here {sharpnesses}",
        (checks, "refuse_frozen"): "the same picture twice: the camera hangs",
        ("deadline_ms",): "from the trigger to the verdict, else not decidable",
        ("version",): "raise it with every change",
    }


def _span(values: Iterable[float]) -> str:
    numbers = sorted(values)
    return f"{numbers[0]:.0f} … {numbers[-1]:.0f}"


def _some(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
