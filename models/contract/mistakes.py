"""Tells a person what is wrong in a TOML file: file, line, key, and what to write instead."""

import types
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from models.contract.toml_lines import Location, line_of

MAX_KEYS = 12
"""Of a table that a person is told."""


class PlacedError(ValueError):
    """A rule across several keys is broken; says at which of them the mistake is best corrected."""

    def __init__(self, location: Location, text: str) -> None:
        super().__init__(text)
        self.location = location


def explain(
    error: ValidationError,
    *,
    path: Path,
    text: str,
    model: type[BaseModel],
    is_secret: bool = False,
) -> str:
    """The first mistake in one line, as editors understand it: ``file:line: key: what to do``.

    Args:
        error: what the model said of the document.
        path: the file.
        text: its content, valid TOML.
        model: of the whole document.
        is_secret: true leaves out the values.
    """
    faults = error.errors(include_url=False, include_input=not is_secret)
    # A misspelt key is unknown here and missing there: the former says what was meant.
    fault = next((one for one in faults if one["type"] == "extra_forbidden"), faults[0])
    cause = fault.get("ctx", {}).get("error")
    location: Location = tuple(fault["loc"])
    if isinstance(cause, PlacedError):
        location = (*location, *cause.location)
    where = ".".join(str(step) for step in location) or "document"
    more = error.error_count() - 1
    also = f" (and {more} more)" if more else ""
    line = line_of(text, location)
    return f"{path}:{line}: {where}: {_advice(dict(fault), location, model)}{also}"


def _advice(fault: dict[str, Any], location: Location, model: type[BaseModel]) -> str:
    """What to do about a fault."""
    match fault["type"]:
        case "extra_forbidden":
            keys = _keys_at(model, location[:-1])
            meant = get_close_matches(str(location[-1]), keys, n=1)
            if meant:
                return f"there is no such key; did you mean {meant[0]}?"
            return f"there is no such key; known are {', '.join(keys[:MAX_KEYS])}"
        case "missing":
            return f"is missing: add {location[-1]} = …"
        case "value_error":
            return str(fault["ctx"]["error"])
    said = str(fault["msg"])
    said = (said[0].lower() + said[1:]).replace("input should", "it should")
    value = fault.get("input")
    is_plain = isinstance(value, str | int | float | bool)
    return f"{said}, not {value!r}" if is_plain else said


def _keys_at(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Keys of the table at a location."""
    for step in location:
        field = model.model_fields.get(step) if isinstance(step, str) else None
        inner = _model_in(field.annotation) if field is not None else None
        if isinstance(step, str) and inner is None:
            return []
        model = inner or model
    return list(model.model_fields)


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The model that an annotation speaks of: itself, or inside ``tuple[…]`` or ``… | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in {tuple, list, Union, types.UnionType}:
        found = (_model_in(argument) for argument in get_args(annotation))
        return next((inner for inner in found if inner is not None), None)
    return None
