"""The two kinds of pydantic model that the contract is made of."""

from pydantic import BaseModel, ConfigDict, ValidationError


class ContractError(ValueError):
    """Something that came from outside does not keep the contract; the text is one line."""


class Frozen(BaseModel):
    """An immutable value; fields that this version does not know are ignored.

    Ignoring them is what lets a cell one minor version behind read what the cloud sends.
    """

    # pydantic keeps the last 16,384 short strings that it read: on a line these are ids, of which
    # none comes again, and an agent would grow by a megabyte in its first half hour.
    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        cache_strings="keys",
    )


class Strict(BaseModel):
    """An immutable value written by a person: a misspelt key is an error, not a default."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True
    )


def first_fault(error: ValidationError) -> str:
    """Put the first fault of a validation error into one line: where it is and what is wrong."""
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(step) for step in fault["loc"]) or "document"
    more = error.error_count() - 1
    return f"{where}: {fault['msg']}" + (f" (and {more} more)" if more else "")
