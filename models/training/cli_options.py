"""Options that commands share, and how their text becomes values."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from models.contract.bundle import read_manifest
from models.detector.spec import STRIDES
from models.training.durations import parse_duration
from models.training.errors import InputError
from models.training.operating_point import Costs

Master = Annotated[
    str, typer.Option(help="Spark master: local[N], spark://host:7077, yarn, k8s://…")
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="TensorFlow workers of a fit, else parallel tasks.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON lines on standard output.")]
SnapshotUrl = Annotated[str, typer.Option("--snapshot", help="Folder or URL of the snapshot.")]
BundleDir = Annotated[Path, typer.Option("--bundle", help="Bundle to write.")]
Compare = Annotated[
    Path | None, typer.Option("--compare", help="Running bundle, judged on the same pictures.")
]
Init = Annotated[
    str | None,
    typer.Option(
        help="Bundle to go on from, MobileNetV2 .weights.h5, imagenet, baseline (the released "
        "bundle's backbone) or none. Left out: imagenet where it can be had, else baseline."
    ),
]
EscapeCost = Annotated[float, typer.Option(help="What a bad part costs that passes.")]
FalseRejectCost = Annotated[float, typer.Option(help="What a good part costs that is rejected.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Exact number of steps; no budget.")]
Batch = Annotated[int | None, typer.Option(min=1, help="Pictures a step, over all workers.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same batches.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the run in --run; fail if there is none.")
]
Name = Annotated[str | None, typer.Option(help="Name of the model.")]
InputSize = Annotated[
    str | None, typer.Option(help="Network input WxH; chosen from the boxes if left out.")
]
Levels = Annotated[
    str | None, typer.Option(help="Strides, such as 8,16,32; chosen from the boxes if left out.")
]
Width = Annotated[float, typer.Option("--width", help="Width multiplier of MobileNetV2.")]
Neck = Annotated[str, typer.Option(help="none or fpnlite.")]
Auto = Annotated[
    bool,
    typer.Option("--auto/--no-auto", help="Choose geometry and training from the labels."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="NAME=VALUE of a fit setting, such as learning_rate=3e-4."),
]


def seconds(text: str) -> float:
    """A budget in seconds.

    Raises:
        InputError: it is not a duration, or none at all.
    """
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise InputError(f"--budget {error}") from error
    if found <= 0:
        raise InputError(f"--budget {text!r} leaves no time: write 90s, 45m or 1h30m")
    return found


def costs(escape: float, false_reject: float) -> Costs:
    """What mistakes cost, for the choice of operating points.

    Raises:
        InputError: a cost is not positive.
    """
    if escape <= 0 or false_reject <= 0:
        raise InputError("--escape-cost and --false-reject-cost must be above 0")
    return Costs(escape=escape, false_reject=false_reject)


def size(text: str | None) -> tuple[int | None, int | None]:
    """Width and height of ``WxH``."""
    if text is None:
        return None, None
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found:
        raise InputError(f"--input-size {text!r}: write it as 320x256 (width x height)")
    return int(found.group(1)), int(found.group(2))


def strides(text: str | None) -> tuple[int, ...] | None:
    """Levels of a detector: numbers with commas between them.

    Raises:
        InputError: not rising powers of two from 8 to 512.
    """
    if not text:
        return None
    found = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if not set(found) <= set(STRIDES) or found != sorted(set(found)):
        raise InputError(f"--levels {text!r}: write rising strides such as 8,16,32")
    return tuple(found)


def names(text: str) -> list[str]:
    """Names with commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def check_known(named: Sequence[str], known: Sequence[str]) -> None:
    """Refuse a misspelt category.

    Raises:
        InputError: no label file has it.
    """
    unknown = [name for name in named if name not in known]
    if unknown:
        have = ", ".join(dict.fromkeys(known))
        raise InputError(f"no label file has a category {unknown[0]!r}; there are {have}")


def settings(pairs: Sequence[str], **direct: object) -> dict[str, Any]:
    """Fit settings from ``NAME=VALUE`` texts and from options that have a value."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, is_given, value = pair.partition("=")
        if not is_given:
            raise InputError(f"--set {pair!r}: write NAME=VALUE")
        found[name.strip()] = value.strip()
    return found | {name: value for name, value in direct.items() if value is not None}


def one_for_each(splits: Sequence[str], labels: Sequence[Path]) -> list[str]:
    """The split of each label file, when one is given for all or one for each."""
    chosen = list(splits) * len(labels) if len(splits) == 1 else list(splits)
    if len(chosen) != len(labels):
        raise InputError(f"{len(labels)} --labels need one --split or as many, not {len(chosen)}")
    for split in chosen:
        if split not in ("auto", "train", "val", "locked"):
            raise InputError(f"--split {split}: use auto, train, val or locked")
    return chosen


def model_name(init: str, folder: Path) -> str:
    """The parent bundle's name, else the folder's in the letters that a name may have."""
    if Path(init).is_dir():
        return read_manifest(Path(init)).name
    plain = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    return plain[:64] or "detector"
