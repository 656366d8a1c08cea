"""Label files of other tools for the commands: a fault in one is the caller's."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from models.contract import label_formats
from models.contract.label_formats import (
    Annotation,
    LabelledPicture,
    LabelSet,
    Refusal,
    kind_of,
    only_categories,
)
from models.contract.model import ContractError
from models.training.errors import InputError

__all__ = ["Annotation", "LabelSet", "LabelledPicture", "Refusal", "kind_of", "read_labels"]


def read_labels(
    labels_format: str,
    labels: Path,
    *,
    objects: Iterable[str] = (),
    defects: Iterable[str] = (),
    categories: Sequence[str] = (),
) -> LabelSet:
    """Read a label file or folder, as `models.contract.label_formats.read_labels` does.

    With ``categories``, boxes of all others are refused.

    Raises:
        InputError: the file is missing or is not in this format.
    """
    try:
        found = label_formats.read_labels(labels_format, labels, objects=objects, defects=defects)
        return only_categories(found, categories, labels) if categories else found
    except ContractError as error:
        raise InputError(str(error)) from error
