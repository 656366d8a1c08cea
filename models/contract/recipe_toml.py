"""Writes a recipe as a person would: one rule after the other, with a word on why."""

import json
from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from models.contract.recipe import ExpectedObject, ForbiddenDefect, Recipe, View, Zone
from models.contract.toml_lines import Location

HEAD_KEYS = (
    "recipe_id",
    "version",
    "part_type",
    "image_width_px",
    "image_height_px",
    "deadline_ms",
)


def to_toml(
    recipe: Recipe, *, head: tuple[str, ...] = (), notes: Mapping[Location, str] | None = None
) -> str:
    """The recipe as TOML that `models.contract.recipe.read_recipe` reads.

    Args:
        recipe: to be written.
        head: comment lines at the top.
        notes: comments behind the line of a key, by its location; a rule's or a table's own
            stands above it.
    """
    return "\n".join(_lines(recipe, head, notes or {})) + "\n"


def _lines(recipe: Recipe, head: tuple[str, ...], notes: Mapping[Location, str]) -> Iterator[str]:
    yield from (f"# {line}".rstrip() for line in head)
    if head:
        yield ""
    for key in HEAD_KEYS:
        yield _pair(key, getattr(recipe, key), notes.get((key,)))
    if recipe.n_of_m.m > 1:
        yield from _table("n_of_m", recipe.n_of_m, notes)
    yield from _table("image_checks", recipe.image_checks, notes)
    for number, view in enumerate(recipe.views):
        yield from _view(view, ("views", number), notes)


def _table(name: str, table: BaseModel, notes: Mapping[Location, str]) -> Iterator[str]:
    yield ""
    yield from _above((name,), notes)
    yield f"[{name}]"
    for key in type(table).model_fields:
        yield _pair(key, getattr(table, key), notes.get((name, key)))


def _view(view: View, place: Location, notes: Mapping[Location, str]) -> Iterator[str]:
    yield ""
    yield from _above(place, notes)
    yield "[[views]]"
    yield _pair("name", view.name)
    if view.camera_features:
        pairs = ", ".join(f"{key} = {_value(item)}" for key, item in view.camera_features.items())
        yield f"camera_features = {{ {pairs} }}"
    for number, item in enumerate(view.expected):
        yield from _rule("expected", item, (*place, "expected", number), notes)
    for number, defect in enumerate(view.forbidden):
        yield from _rule("forbidden", defect, (*place, "forbidden", number), notes)


def _rule(
    kind: str,
    rule: ExpectedObject | ForbiddenDefect,
    place: Location,
    notes: Mapping[Location, str],
) -> Iterator[str]:
    yield ""
    yield from _above(place, notes)
    yield f"[[views.{kind}]]"
    for key, field in type(rule).model_fields.items():
        value = getattr(rule, key)
        if value is not None and value != field.get_default():
            yield _pair(key, value, notes.get((*place, key)))


def _above(place: Location, notes: Mapping[Location, str]) -> Iterator[str]:
    if place in notes:
        yield from (f"# {line}" for line in notes[place].splitlines())


def _pair(key: str, value: object, note: str | None = None) -> str:
    return f"{key} = {_value(value)}" + (f"  # {note}" if note else "")


def _value(value: object) -> str:
    if isinstance(value, Zone):
        sides = ", ".join(f"{side} = {getattr(value, side):g}" for side in Zone.model_fields)
        return f"{{ {sides} }}"
    if isinstance(value, float):
        return f"{value:.10g}" if value != int(value) else f"{value:.1f}"
    # A basic string of TOML takes what JSON writes; DEL is the one exception, and no one types it.
    return json.dumps(value, ensure_ascii=False)
