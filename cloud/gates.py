"""The gates between a trained candidate and a release: pure judgement of a run's report.

Every figure comes from the same locked split, measured with the very INT8 files that ship. The
rules, in the order in which they are told:

``enough pictures``
    The run was judged on the locked split, and that holds at least
    `GateSettings.min_locked_images`; on fewer, nothing below means much.
``better overall``
    mAP@0.5 of the candidate is at least that of the running model plus
    `GateSettings.min_map50_gain`. A category that the running model does not know counts 0 for it.
``old classes``
    The mean AP@0.5 over the categories that the running model already finds is not worse than
    `GateSettings.max_class_drop`. It is a mean, because the AP of one category on few boxes
    moves by more than a hundredth from one training to the next without meaning anything.
``recall``
    No such category loses recall beyond doubt: a drop of more than `GateSettings.max_class_drop`
    refuses where the running model's recall lies above the 95 % Wilson interval of the candidate's,
    that is, where sampling alone does not explain it.
``int8``
    mAP@0.5 of the INT8 file is within `GateSettings.max_int8_drop` of its float parent, and no
    category loses more than `GateSettings.max_int8_class_drop`; one box that is no longer found
    is forgiven, where that alone costs more. A candidate in float has nothing to lose here; its
    time counts below.
``latency``
    The median time for one picture is inside the budget. The median, because the tail on a machine
    that also trains tells of its neighbours, not of the model.
``golden``
    The bundle carries golden pictures; without them a cell could not check it.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from cloud.json_values import parse_json
from cloud.settings import GateSettings
from models.contract.model import ContractError, Frozen, first_fault
from models.contract.proportions import wilson_interval
from models.contract.snapshot import Split

ROUNDING = 1e-9
"""Two figures that print the same are the same: 0.96 - 0.95 is not more than 0.01."""


class ClassScore(Frozen):
    """How well one category is found on the locked split."""

    ap50: float | None = None
    recall: float | None = None
    num_boxes: int = Field(default=0, ge=0)


class Latency(Frozen):
    """Time for one picture, in milliseconds."""

    p50: float | None = None
    p99: float | None = None


class Evaluation(Frozen):
    """One model measured on the locked split."""

    bundle_id: str | None = None
    map50: float | None = None
    """None where no box is labelled."""
    map: float | None = None
    num_images: int = Field(ge=0)
    per_class: dict[str, ClassScore] = Field(default_factory=dict)
    latency_ms: Latency = Latency()


class RunReport(Frozen):
    """``report.json`` of a training run."""

    master: str = ""
    workers: int = 0
    steps: int = 0
    seconds: float = 0.0
    snapshot_id: str | None = None
    split: str = Split.LOCKED
    candidate: Evaluation
    running: Evaluation | None = None
    float_model: Evaluation | None = Field(default=None, alias="float")
    precision: str = "int8"
    """Of the candidate; ``f32`` where no INT8 file was close enough to its float parent."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one gate says."""

    name: str
    passed: bool
    text: str
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class GateReport:
    """What all gates say."""

    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether the candidate may become a release."""
        return all(finding.passed for finding in self.findings)

    @property
    def reason(self) -> str:
        """Why it may not, in one line; empty when it may."""
        return "; ".join(finding.text for finding in self.findings if not finding.passed)

    def to_json(self) -> list[dict[str, object]]:
        """For the database and the API."""
        return [asdict(finding) for finding in self.findings]


def read_report(path: Path) -> RunReport:
    """Read what a run left behind.

    Raises:
        ContractError: it is missing or not a report; one line.
    """
    try:
        return RunReport.model_validate(parse_json(path.read_bytes()))
    except OSError as error:
        raise ContractError(f"the run left no readable {path.name}: {error.strerror}") from error
    except ValidationError as error:
        raise ContractError(f"{path.name}: {first_fault(error)}") from error
    except ValueError as error:
        raise ContractError(f"{path.name} is not JSON: {error}") from error


def judge(report: RunReport, limits: GateSettings, *, num_golden: int) -> GateReport:
    """Decide whether a candidate may become a release.

    Args:
        report: What the run measured.
        limits: What is asked for.
        num_golden: Golden pictures in the candidate's bundle.
    """
    findings = [_enough_pictures(report, limits)]
    if report.running is None:
        findings.append(Finding("better overall", True, "no model runs yet to compare with"))
    else:
        findings += _against_running(report.candidate, report.running, limits)
    if report.precision == "int8":
        findings.append(_against_float(report.candidate, report.float_model, limits))
    else:
        text = "ships in float: no INT8 file was close enough to it"
        findings.append(Finding("int8", True, text, report.candidate.map50))
    findings.append(_latency(report.candidate, limits))
    findings.append(
        Finding(
            "golden", num_golden > 0, f"{num_golden} golden pictures in the bundle", num_golden, 1
        )
    )
    return GateReport(tuple(findings))


def lowest_drop(before: float, num_before: int, after: float, num_after: int) -> float:
    """Lower bound of the 95 % interval of ``before - after``, two proportions.

    Newcombe 1998, method 10: the Wilson bounds of both, put together.
    """
    low, _ = wilson_interval(before * num_before, num_before)
    _, high = wilson_interval(after * num_after, num_after)
    return before - after - math.hypot(before - low, high - after)


def old_classes(candidate: Evaluation, running: Evaluation) -> tuple[str, ...]:
    """Categories on the locked split that the running model finds, in a fixed order."""
    return tuple(
        sorted(
            name
            for name, score in running.per_class.items()
            if score.num_boxes > 0 and score.ap50 and name in candidate.per_class
        )
    )


def _enough_pictures(report: RunReport, limits: GateSettings) -> Finding:
    num_images = report.candidate.num_images
    is_locked = report.split == Split.LOCKED and report.candidate.map50 is not None
    return Finding(
        "enough pictures",
        is_locked and num_images >= limits.min_locked_images,
        f"{num_images} pictures in the {report.split} split"
        f" (at least {limits.min_locked_images} with labels in the locked one)",
        num_images,
        limits.min_locked_images,
    )


def _against_running(
    candidate: Evaluation, running: Evaluation, limits: GateSettings
) -> list[Finding]:
    lost = sorted(running.per_class.keys() - candidate.per_class.keys())
    after, before = candidate.map50 or 0.0, running.map50 or 0.0
    findings = [
        Finding(
            "better overall",
            after - before >= limits.min_map50_gain - ROUNDING,
            f"mAP@0.5 {after:.3f} against {before:.3f} of the running model",
            after,
            before + limits.min_map50_gain,
        )
    ]
    if lost:
        findings.append(Finding("old classes", False, f"no longer finds {', '.join(lost)}"))
    old = old_classes(candidate, running)
    if old:
        findings.append(_mean_of_old(candidate, running, old, limits))
        findings.append(_recall_of_old(candidate, running, old, limits))
    return findings


def _mean_of_old(
    candidate: Evaluation, running: Evaluation, old: tuple[str, ...], limits: GateSettings
) -> Finding:
    before = sum(running.per_class[name].ap50 or 0.0 for name in old) / len(old)
    after = sum(candidate.per_class[name].ap50 or 0.0 for name in old) / len(old)
    return Finding(
        "old classes",
        after >= before - limits.max_class_drop - ROUNDING,
        f"mean AP@0.5 over {len(old)} known categories {after:.3f} against {before:.3f}",
        after,
        before - limits.max_class_drop,
    )


def _recall_of_old(
    candidate: Evaluation, running: Evaluation, old: tuple[str, ...], limits: GateSettings
) -> Finding:
    dropped = []
    for name in old:
        after, before = candidate.per_class[name], running.per_class[name]
        if after.recall is None or before.recall is None:
            continue
        is_sure = lowest_drop(before.recall, before.num_boxes, after.recall, after.num_boxes) > 0
        if before.recall - after.recall > limits.max_class_drop + ROUNDING and is_sure:
            dropped.append(f"{name} {before.recall:.3f} → {after.recall:.3f} (n={after.num_boxes})")
    if dropped:
        return Finding("recall", False, f"recall dropped beyond doubt: {', '.join(dropped)}")
    return Finding("recall", True, "no known category lost recall beyond doubt")


def _against_float(
    candidate: Evaluation, float_model: Evaluation | None, limits: GateSettings
) -> Finding:
    if float_model is None:
        return Finding("int8", False, "the float model was not measured beside the INT8 file")
    before, after = float_model.map50 or 0.0, candidate.map50 or 0.0
    one_box = {
        name: 1 / score.num_boxes
        for name, score in float_model.per_class.items()
        if score.num_boxes > 0
    }
    one_of_rarest = max(one_box.values(), default=0.0) / max(1, len(one_box))
    floor = before - max(limits.max_int8_drop, one_of_rarest)
    text = f"INT8 mAP@0.5 {after:.3f} against {before:.3f} in float"
    worse = sorted(
        name
        for name, forgiven in one_box.items()
        if _ap50(float_model, name) - _ap50(candidate, name)
        > max(limits.max_int8_class_drop, forgiven) + ROUNDING
    )
    if worse:
        text += f", too much lost on {', '.join(worse)}"
    return Finding("int8", not worse and after >= floor - ROUNDING, text, after, floor)


def _latency(candidate: Evaluation, limits: GateSettings) -> Finding:
    median = candidate.latency_ms.p50
    if median is None:
        return Finding("latency", False, "the latency was not measured")
    return Finding(
        "latency",
        median <= limits.latency_budget_ms,
        f"{median:.1f} ms a picture (budget {limits.latency_budget_ms:g} ms)",
        median,
        limits.latency_budget_ms,
    )


def _ap50(evaluation: Evaluation, name: str) -> float:
    score = evaluation.per_class.get(name)
    return (score.ap50 or 0.0) if score else 0.0
