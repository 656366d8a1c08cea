"""The recipe: what a good part of one type looks like, and what may not be on it."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from models.contract.mistakes import PlacedError, explain
from models.contract.model import ContractError, Strict
from models.contract.toml_lines import Location

Score = Annotated[float, Field(ge=0.0, le=1.0)]
Ratio = Annotated[float, Field(ge=0.0, le=1.0)]
RecipeId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]{0,63}$")]


class Zone(Strict):
    """A rectangle in the picture, pixels of a picture of the recipe's size."""

    x: float = Field(ge=0)
    y: float = Field(ge=0)
    width: float = Field(gt=0)
    height: float = Field(gt=0)

    def contains(self, x: float, y: float) -> bool:
        """Whether a point lies inside; the left and top edges belong to the zone."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height


class ExpectedObject(Strict):
    """Something that must be there: its absence is the defect."""

    name: str = Field(min_length=1, max_length=64)
    category: str
    zone: Zone | None = None
    """Where the centre of its box must lie; anywhere when not given."""
    count: int = Field(default=1, ge=1, le=100)
    min_score: Score | None = None
    """Lowest score that counts; when not given the recipe's threshold for the category, then the
    bundle's."""


class ForbiddenDefect(Strict):
    """Something that must not be there."""

    category: str
    min_score: Score | None = None
    min_area_px: float = Field(default=0.0, ge=0)
    zone: Zone | None = None


class ImageChecks(Strict):
    """When a picture is too poor to judge: the answer is NOT_DECIDABLE, never OK."""

    min_mean: float = Field(default=8.0, ge=0, le=255)
    """Mean grey value under which the picture counts as black."""
    max_saturated_ratio: Ratio = 0.5
    """Share of pixels at 250 or more above which it counts as over-exposed."""
    min_sharpness: float = Field(default=0.0, ge=0)
    """Variance of the Laplacian under which it counts as blurred; 0 switches this off."""
    refuse_frozen: bool = True
    """Whether a picture equal to the one before, byte for byte, is refused."""


class NOfM(Strict):
    """A defect counts when it is seen in at least ``n`` of ``m`` pictures of one view."""

    n: int = Field(default=1, ge=1, le=9)
    m: int = Field(default=1, ge=1, le=9)

    @model_validator(mode="after")
    def _n_within_m(self) -> Self:
        if self.n > self.m:
            raise ValueError(f"n = {self.n} of m = {self.m} can never be reached")
        return self


class View(Strict):
    """One pose of the robot: what is expected and forbidden in its picture."""

    name: str = Field(default="main", pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]{0,31}$")
    expected: tuple[ExpectedObject, ...] = ()
    forbidden: tuple[ForbiddenDefect, ...] = ()
    camera_features: dict[str, float | int | str | bool] = Field(default_factory=dict)
    """Settings by GenICam SFNC name, for instance ``ExposureTime`` in microseconds."""


class Recipe(Strict):
    """A versioned inspection recipe for one part type."""

    schema_version: str = Field(default="1.0", pattern=r"^1\.\d+$")
    recipe_id: RecipeId
    version: int = Field(ge=1)
    part_type: str = Field(min_length=1, max_length=64)
    image_width_px: int = Field(ge=16, le=20_000)
    image_height_px: int = Field(ge=16, le=20_000)
    deadline_ms: int = Field(default=500, ge=10, le=60_000)
    n_of_m: NOfM = NOfM()
    image_checks: ImageChecks = ImageChecks()
    thresholds: dict[str, Score] = Field(default_factory=dict, exclude=True)
    """Lowest score that counts, by category, for every rule that names none of its own. It is put
    into those rules, and does not travel by itself: older cells know only the rules."""
    views: tuple[View, ...] = Field(min_length=1, max_length=16)

    @model_validator(mode="before")
    @classmethod
    def _put_thresholds_into_rules(cls, document: Any) -> Any:  # noqa: ANN401 - unchecked as yet
        if not isinstance(document, dict) or not document.get("thresholds"):
            return document
        limits = document["thresholds"]
        views = document.get("views")
        if not isinstance(limits, dict) or not isinstance(views, list | tuple):
            return document
        return document | {"views": [_with_limits(view, limits) for view in views]}

    @model_validator(mode="after")
    def _rules_go_together(self) -> Self:
        for mistake in self._mistakes():
            raise mistake
        return self

    def _mistakes(self) -> Iterator[PlacedError]:
        """What no single key shows."""
        seen: set[str] = set()
        for number, view in enumerate(self.views):
            place: Location = ("views", number)
            if view.name in seen:
                yield PlacedError((*place, "name"), f"two views have the same name {view.name!r}")
            seen.add(view.name)
            yield from self._mistakes_in(view, place)
        for category in self.thresholds.keys() - self.categories:
            known = ", ".join(sorted(self.categories))
            text = f"no rule of this recipe is about {category!r}, only about {known}"
            yield PlacedError(("thresholds", category), text)

    def _mistakes_in(self, view: View, place: Location) -> Iterator[PlacedError]:
        seen: set[str] = set()
        for number, item in enumerate(view.expected):
            if item.name in seen:
                text = f"two expected objects have the same name {item.name!r}: give each its own"
                yield PlacedError((*place, "expected", number, "name"), text)
            seen.add(item.name)
        zones: dict[str, list[Zone | None]] = {
            "expected": [item.zone for item in view.expected],
            "forbidden": [defect.zone for defect in view.forbidden],
        }
        for kind, of_rules in zones.items():
            for number, zone in enumerate(of_rules):
                if zone is not None and not self._shows(zone):
                    size = f"{self.image_width_px} x {self.image_height_px}"
                    text = f"lies outside the picture of {size} pixels"
                    yield PlacedError((*place, kind, number, "zone"), text)

    def _shows(self, zone: Zone) -> bool:
        return zone.x < self.image_width_px and zone.y < self.image_height_px

    def view(self, name: str) -> View | None:
        """The view of that name, or None."""
        return next((view for view in self.views if view.name == name), None)

    @property
    def categories(self) -> frozenset[str]:
        """Every category that the recipe speaks of; the model must know them all."""
        expected = {item.category for view in self.views for item in view.expected}
        forbidden = {item.category for view in self.views for item in view.forbidden}
        return frozenset(expected | forbidden)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from TOML.

    Raises:
        ContractError: the file is missing, is not TOML, or breaks a rule; one line that says where
            and what to write instead.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return Recipe.model_validate(tomllib.loads(text))
    except OSError as error:
        raise ContractError(f"recipe {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ContractError(f"recipe {path} is not valid TOML: {error}") from error
    except ValidationError as error:
        raise ContractError(
            "recipe " + explain(error, path=path, text=text, model=Recipe)
        ) from error


def _with_limits(view: Any, limits: dict[str, Any]) -> Any:  # noqa: ANN401 - unchecked as yet
    """A view whose rules carry the recipe's thresholds where they have none of their own."""
    if isinstance(view, View):
        view = view.model_dump(exclude_none=True)
    if not isinstance(view, dict):
        return view
    changed = dict(view)
    for kind in ("expected", "forbidden"):
        rules = view.get(kind)
        if isinstance(rules, list | tuple):
            changed[kind] = [_with_limit(rule, limits) for rule in rules]
    return changed


def _with_limit(rule: Any, limits: dict[str, Any]) -> Any:  # noqa: ANN401 - unchecked as yet
    if not isinstance(rule, dict) or rule.get("min_score") is not None:
        return rule
    limit = limits.get(str(rule.get("category")))
    return rule if limit is None else rule | {"min_score": limit}
