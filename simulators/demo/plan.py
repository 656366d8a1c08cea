"""Everything that makes the demonstration long or short, in one place."""

from dataclasses import dataclass, field
from pathlib import Path

import models
from simulators.parts import CLASSIC_DEFECTS, Kind

BASELINE = Path(models.__file__).resolve().parent / "released" / "plate"


@dataclass(frozen=True)
class Photographs:
    """Real pictures instead of rendered parts.

    Attributes:
        images: Folder of the pictures.
        labels: COCO file with the truth.
        defects: Categories that make a part bad; found by their names when empty.
        base_ratio: Share of the pictures that is labelled from the beginning; the others come
            down the line.
        fit_budget: Wall time for fitting the released baseline to the first pictures.
    """

    images: Path
    labels: Path
    defects: tuple[str, ...] = ()
    base_ratio: float = 0.5
    fit_budget: str = "3m"


@dataclass(frozen=True)
class Learning:
    """How labels become a model.

    Attributes:
        base_pictures: Rendered pictures of known defects that are labelled from the beginning.
        base_seed: Their seed; nothing else uses it.
        min_new_labels: Labels that start a retraining.
        min_per_new_category: Boxes wanted of each category that the model does not know.
        seconds_per_label: How quickly the person who labels works.
        master: Spark master.
        workers: TensorFlow workers on Spark.
        budget: Wall time of one retraining.
        extra_arguments: More arguments for ``sightline-train run``, for instance ``--steps 50``.
        cool_down_s: Rest after a retraining that a gate refused.
        min_map50_gain: mAP@0.5 that a candidate must gain over the running model.
        max_class_drop: Loss allowed to the categories that the running model knows.
        max_int8_drop: Loss allowed between the float model and its INT8 file.
        max_int8_class_drop: The same for a single category.
        min_locked_images: Pictures wanted in the locked split.
        latency_budget_ms: Median time allowed for one picture.
    """

    base_pictures: int = 320
    base_seed: int = 7301
    min_new_labels: int = 90
    min_per_new_category: int = 20
    seconds_per_label: float = 0.3
    master: str = "local[2]"
    workers: int = 1
    budget: str = "4m"
    extra_arguments: tuple[str, ...] = ()
    cool_down_s: float = 30.0
    min_map50_gain: float = 0.10
    max_class_drop: float = 0.01
    max_int8_drop: float = 0.02
    max_int8_class_drop: float = 0.08
    min_locked_images: int = 20
    latency_budget_ms: float = 100.0


@dataclass(frozen=True)
class DemoPlan:
    """One demonstration: two lines, one of which gets new defects.

    Attributes:
        data_dir: Everything is kept here; a next start goes on where it was.
        port: Of the dashboard, on 127.0.0.1.
        report: Where the report goes; None for nowhere.
        once: End after one turn of the loop.
        setup_s: What setting up took before the demonstration began, for the report.
        time_limit_s: With ``once``: give up after this time.
        first_verdict_limit_s: Longest time to the first verdict.
        bundle: The released baseline.
        cells: Addresses; the new defects come to the last one.
        cadence_s: Time between two parts of a cell.
        known: Defects that the baseline knows.
        known_rate: Share of parts with one of them.
        emerging: Defects that it does not know.
        emerging_from: The first part of the last cell that may have one.
        emerging_rate: Share of its parts with one from then on.
        found_downstream: Share of wrong verdicts that a later station finds and reports.
        audit_ratio: Share of confident OKs that somebody looks at anyway.
        canary_parts: Parts that a new model must judge well on a cell.
        shadow_parts: Parts that it sees before, beside the running one.
        parts_after_swap: Parts of each cell on the new model before the turn is complete.
        seed: Of the parts on the line.
        learning: How labels become a model.
        photographs: Real pictures instead of rendered parts.
    """

    data_dir: Path = Path("run/demo")
    port: int = 8080
    report: Path | None = Path("demo-report.json")
    once: bool = False
    setup_s: float = 0.0
    time_limit_s: float = 15 * 60
    first_verdict_limit_s: float = 60.0
    bundle: Path = BASELINE
    cells: tuple[str, ...] = ("plant1/assembly/line1/cell1", "plant1/assembly/line2/cell1")
    cadence_s: float = 0.8
    known: tuple[Kind, ...] = CLASSIC_DEFECTS
    known_rate: float = 0.2
    emerging: tuple[Kind, ...] = (Kind.TORN_LABEL, Kind.WRONG_SCREW)
    emerging_from: int = 35
    emerging_rate: float = 0.55
    found_downstream: float = 0.8
    audit_ratio: float = 0.02
    canary_parts: int = 10
    shadow_parts: int = 3
    parts_after_swap: int = 10
    seed: int = 1
    learning: Learning = field(default_factory=Learning)
    photographs: Photographs | None = None
