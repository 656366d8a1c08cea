"""What each model found in each locked picture: a file of a training run, read by the cloud.

JSON lines: a `ResultsHead`, then a `PictureResult` for each picture. Only boxes from
`MIN_SCORE` up are in it: enough to see how near a miss was, without a hundred boxes of noise.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import Field, ValidationError

from models.contract.bundle import BundleId, Ratio
from models.contract.model import ContractError, Frozen, first_fault
from models.contract.snapshot import Split

RESULTS_NAME = "pictures.jsonl"
CANDIDATE, RUNNING = "candidate", "running"
MIN_SCORE = 0.05

Bbox = tuple[float, float, float, float]
"""``x, y, width, height`` in pixels of the picture."""


class ComparedModel(Frozen):
    """One of the models and its operating points."""

    bundle_id: BundleId
    name: str = ""
    thresholds: dict[str, Ratio] = Field(default_factory=dict)


class ResultsHead(Frozen):
    """First line: what was compared, on what."""

    schema_version: str = Field(default="1.0", pattern=r"^1\.\d+$")
    snapshot_id: str
    split: Split = Split.LOCKED
    models: dict[str, ComparedModel]
    """By role: `CANDIDATE`, and `RUNNING` where there was one."""


class TrueBox(Frozen):
    """A box that people labelled."""

    category: str
    bbox: Bbox


class FoundBox(Frozen):
    """A box that a model found."""

    category: str
    score: Ratio
    bbox: Bbox


class PictureResult(Frozen):
    """One picture: what is labelled in it, and what each model found."""

    image_id: str
    labels: tuple[TrueBox, ...] = ()
    found: dict[str, tuple[FoundBox, ...]] = Field(default_factory=dict)
    """By role, best first."""


def write_results(path: Path, head: ResultsHead, pictures: Iterable[PictureResult]) -> None:
    """Write the file; it appears whole or not at all."""
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as stream:
        stream.write(head.model_dump_json() + "\n")
        for picture in pictures:
            stream.write(picture.model_dump_json() + "\n")
    part.replace(path)


def read_results(path: Path) -> tuple[ResultsHead, Iterator[PictureResult]]:
    """Read the file; pictures come as they are asked for.

    Raises:
        ContractError: it is missing or not such a file; also while pictures are read.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            head = ResultsHead.model_validate(json.loads(stream.readline()))
    except OSError as error:
        raise ContractError(f"there is no readable {path.name} in {path.parent.name}") from error
    except ValidationError as error:
        raise ContractError(f"{path.name}: {first_fault(error)}") from error
    except ValueError as error:
        raise ContractError(f"{path.name} is not made of JSON lines") from error
    return head, _pictures(path)


def _pictures(path: Path) -> Iterator[PictureResult]:
    with path.open(encoding="utf-8") as stream:
        stream.readline()
        for line in stream:
            try:
                yield PictureResult.model_validate_json(line)
            except ValidationError as error:
                raise ContractError(f"{path.name}: {first_fault(error)}") from error
