"""The report of a demonstration: what was measured, and which targets were missed. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulators.demo.plan import DemoPlan
from simulators.handshake import PlcStatistics, percentile

Json = dict[str, Any]
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """Records of one boot of one cell, as the cell counts them and as the cloud does."""

    cell: str
    boot_id: str
    made: int
    in_cloud: int


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the report is made of.

    Attributes:
        setup_s: Setting up, before the first process of the loop was started.
        first_verdict_s: From then to the first verdict that a PLC received; None: there was none.
        parts: Parts that went through the lines.
        plcs: What each PLC saw.
        records: Records by cell and boot, of all runs in this data folder.
        duplicates: Rows in the cloud that tell what another row tells.
        hard_images: Pictures in the cloud by the reason that they were kept for.
        labels: Pictures that somebody labelled.
        run: The retraining that led to a release, as the API gives it; None: there was none.
        model_before: What the cells ran at the beginning.
        model_after: What they all run now; None: they differ.
        missed_during_swap: Triggers without an inspection while a cell changed its model.
        restarts: Processes that died and were started again.
        verdicts: How often the PLCs' verdict was right, by model.
    """

    setup_s: float
    first_verdict_s: float | None
    parts: int
    plcs: Mapping[str, PlcStatistics]
    records: Sequence[RecordCounts]
    duplicates: int
    hard_images: Mapping[str, int]
    labels: int
    run: Json | None
    model_before: Json | None
    model_after: Json | None
    missed_during_swap: int
    restarts: Mapping[str, int] = field(default_factory=dict)
    verdicts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def build_report(facts: Facts) -> Json:
    """Sum up, with the keys that people and tests rely on."""
    latencies = [ms for plc in facts.plcs.values() for ms in plc.latencies_ms]
    run = facts.run or {}
    measured = run.get("report") or {}
    before, after = measured.get("running") or {}, measured.get("candidate") or {}
    return {
        "setup_s": round(facts.setup_s, 1),
        "first_verdict_s": _rounded(facts.first_verdict_s, 1),
        "parts": facts.parts,
        "verdict_ms": {
            "p50": round(percentile(latencies, 0.50), 2),
            "p99": round(percentile(latencies, 0.99), 2),
        },
        "records_made": sum(count.made for count in facts.records),
        "records_in_cloud": sum(count.in_cloud for count in facts.records),
        "duplicates": facts.duplicates,
        "hard_images": dict(facts.hard_images),
        "labels": facts.labels,
        "snapshot": measured.get("snapshot_id") or run.get("snapshot_id"),
        "retraining": {key: measured.get(key) for key in ("master", "workers", "steps", "seconds")},
        "map50_before": _rounded(before.get("map50"), 4),
        "map50_after": _rounded(after.get("map50"), 4),
        "old_classes_map50_before": _rounded(_mean_of_old(before, before), 4),
        "old_classes_map50_after": _rounded(_mean_of_old(after, before), 4),
        "per_class": _per_class(before, after),
        "model_before": facts.model_before,
        "model_after": facts.model_after,
        "triggers_missed_during_swap": facts.missed_during_swap,
        "triggers_missed": sum(plc.missed_connected for plc in facts.plcs.values()),
        "contradictions": sum(plc.contradictions for plc in facts.plcs.values()),
        "late_ok": sum(plc.late_ok for plc in facts.plcs.values()),
        "restarts": dict(facts.restarts),
        "verdicts_by_model": {model: dict(found) for model, found in facts.verdicts.items()},
    }


def unmet(report: Json, plan: DemoPlan) -> list[str]:
    """Every target that was missed, each in one line; empty when all is well."""
    misses = []
    first = report["first_verdict_s"]
    if first is None or first > plan.first_verdict_limit_s:
        misses.append(f"first verdict after {first} s (limit {plan.first_verdict_limit_s:g})")
    if report["records_made"] != report["records_in_cloud"] or not report["records_made"]:
        misses.append(
            f"{report['records_made']} records made but {report['records_in_cloud']} in the cloud"
        )
    misses += [
        f"{report[key]} {words}"
        for key, words in (
            ("duplicates", "duplicates in the cloud"),
            ("triggers_missed_during_swap", "triggers missed during the swap"),
            ("contradictions", "triggers with two different answers"),
            ("late_ok", "parts passed as OK after their deadline"),
        )
        if report[key]
    ]
    return misses + _unmet_learning(report, plan)


def _unmet_learning(report: Json, plan: DemoPlan) -> list[str]:
    before, after = report["map50_before"], report["map50_after"]
    if before is None or after is None or report["model_after"] is None:
        return ["no new model reached every cell"]
    misses = []
    wanted = plan.learning.min_map50_gain
    if after - before < wanted - ROUNDING:
        misses.append(f"mAP@0.5 went from {before:.3f} to {after:.3f} (gain wanted: {wanted:g})")
    old_before, old_after = report["old_classes_map50_before"], report["old_classes_map50_after"]
    limit = plan.learning.max_class_drop
    if old_before is not None and old_after is not None and old_before - old_after > limit + 5e-5:
        misses.append(f"old classes fell from {old_before:.3f} to {old_after:.3f}")
    if report["model_before"] == report["model_after"]:
        misses.append("the cells still run the model that they began with")
    return misses


def _mean_of_old(evaluation: Json, running: Json) -> float | None:
    """Mean AP over the categories that the running model finds, in either evaluation."""
    old = [
        name
        for name, score in (running.get("per_class") or {}).items()
        if score.get("num_boxes") and score.get("ap50")
    ]
    scores = evaluation.get("per_class") or {}
    if not old:
        return None
    return sum((scores.get(name) or {}).get("ap50") or 0.0 for name in old) / len(old)


def _per_class(before: Json, after: Json) -> dict[str, Json]:
    known, found = before.get("per_class") or {}, after.get("per_class") or {}
    return {
        name: {
            "ap50_before": _rounded((known.get(name) or {}).get("ap50"), 4),
            "ap50_after": _rounded(score.get("ap50"), 4),
            "num_boxes": score.get("num_boxes"),
        }
        for name, score in found.items()
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
