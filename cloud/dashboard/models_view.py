"""What the Models page shows: releases with their figures, where they come from and where they run.

Pure functions over rows; plain JSON out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud.cell_models import desired_release, reported_of
from cloud.dashboard import wording
from cloud.db.tables import Cell, Release, ReleaseState, RolloutPhase, Snapshot, TrainingRun
from cloud.fleet import RolloutView
from models.contract.messages import FollowMode, ModelPhase
from models.contract.picture_results import RESULTS_NAME

Json = dict[str, Any]

STATE_WORDS = {
    ReleaseState.CANDIDATE: ("candidate", "unsure"),
    ReleaseState.APPROVED: ("approved", "accent"),
    ReleaseState.ROLLED_OUT: ("rolled out", "ok"),
    ReleaseState.WITHDRAWN: ("withdrawn", ""),
}
"""Words and tone of a release's state."""

PHASES = (
    ModelPhase.DOWNLOADING,
    ModelPhase.VERIFYING,
    ModelPhase.COMPILING,
    ModelPhase.CHECKING,
    ModelPhase.SHADOW,
    ModelPhase.CANARY,
    ModelPhase.ACTIVE,
)
"""A cell's way to a new model, in its order."""


@dataclass(frozen=True, slots=True)
class ModelsState:
    """Rows behind the page, read at one moment."""

    releases: Sequence[Release]
    """Newest first."""
    runs: Mapping[str, TrainingRun]
    snapshots: Mapping[str, Snapshot]
    rollouts: Sequence[RolloutView]
    """Newest first."""
    cells: Sequence[Cell]
    refused: TrainingRun | None
    """The last run that ended, if a gate refused it or it failed."""


def models_view(state: ModelsState) -> Json:
    """The whole page."""
    wanted = max((desired_release(cell) for cell in state.cells), default=0)
    return {
        "releases": [_release(release, state, wanted) for release in state.releases],
        "cells": [_cell(cell) for cell in state.cells],
        "wanted": wanted,
        "refused": _refused(state.refused),
    }


def per_class_chart(before: Json | None, after: Json) -> Json:
    """ECharts options: AP at IoU 0.5 of each category, before beside after."""
    names = list(reversed(after["per_class"]))
    series = []
    if before is not None:
        series.append(_bars("Before", before["per_class"], names, "#9aa8b5"))
    series.append(_bars("After" if before else "AP", after["per_class"], names, "#2f7fc4"))
    ink = "#7c8b99"
    return {
        "animation": False,
        "textStyle": {"fontFamily": "Roboto, sans-serif"},
        "grid": {
            "left": 8,
            "right": 46,
            "top": 30 if before else 8,
            "bottom": 4,
            "containLabel": True,
        },
        "legend": {"show": before is not None, "top": 0, "left": 0, "textStyle": {"color": ink}},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}, "confine": True},
        "xAxis": {
            "type": "value",
            "min": 0,
            "max": 1,
            "axisLabel": {"color": ink},
            "splitLine": {"lineStyle": {"color": "rgba(128,144,160,.22)"}},
        },
        "yAxis": {
            "type": "category",
            "data": [wording.plain(name) for name in names],
            "axisTick": {"show": False},
            "axisLine": {"lineStyle": {"color": "rgba(128,144,160,.4)"}},
            "axisLabel": {"color": ink, "fontSize": 13},
        },
        "series": series,
    }


def _bars(name: str, scores: Json, names: Iterable[str], colour: str) -> Json:
    values = [(scores.get(key) or {}).get("ap50") for key in names]
    return {
        "type": "bar",
        "name": name,
        "data": [None if value is None else round(value, 3) for value in values],
        "barMaxWidth": 13,
        "barGap": "15%",
        "itemStyle": {"color": colour, "borderRadius": [0, 2, 2, 0]},
        "label": {
            "show": True,
            "position": "right",
            "color": "#7c8b99",
            "fontSize": 11,
            ":formatter": "(p) => p.value == null ? '' : p.value.toFixed(2)",
        },
    }


def evaluation(document: Mapping[str, Any] | None) -> Json | None:
    """An evaluation from a run's report, or a bundle's metrics, in one form."""
    if not document or document.get("map50") is None:
        return None
    scores = document.get("per_class") or document.get("per_category") or {}
    return {
        "map50": document["map50"],
        "map": document.get("map"),
        "num_images": document.get("num_images") or 0,
        "per_class": dict(scores),
        "latency_ms": (document.get("latency_ms") or {}).get("p50"),
    }


def gates_of(run: TrainingRun | None) -> list[Json]:
    """What each gate said about a run's candidate."""
    return [
        {
            "name": str(gate.get("name", "")),
            "passed": bool(gate.get("passed")),
            "text": str(gate.get("text", "")),
        }
        for gate in (run.gates or [] if run else [])
    ]


def _release(release: Release, state: ModelsState, wanted: int) -> Json:
    run = state.runs.get(release.run_id or "")
    report = (run.report if run else None) or {}
    after = evaluation(report.get("candidate")) or evaluation(release.metrics)
    before = evaluation(report.get("running"))
    words, tone = STATE_WORDS[release.state]
    return {
        "release": release.release,
        "title": f"{release.name} r{release.release}",
        "state": release.state.value,
        "state_words": words,
        "tone": tone,
        "origin": _origin(release),
        "created": f"{release.created_at.astimezone():%d %b %Y %H:%M}",
        "is_wanted": release.release == wanted,
        "num_running": sum(_runs(cell, release) for cell in state.cells),
        "before": before,
        "after": after,
        "gates": gates_of(run),
        "compared_run": run.run_id if run and (Path(run.directory) / RESULTS_NAME).exists() else "",
        "lineage": _lineage(release, run, state.snapshots),
        "rollout": next(
            (_rollout(view) for view in state.rollouts if view.rollout.release == release.release),
            None,
        ),
    }


def _runs(cell: Cell, release: Release) -> bool:
    """Whether a cell runs it: a bundle that was installed by hand has no release number yet."""
    reported = reported_of(cell)
    model = reported.model if reported else None
    if model is None:
        return False
    return model.release == release.release or (
        model.release == 0 and model.bundle_id == release.bundle_id and not release.rollback_of
    )


def _origin(release: Release) -> str:
    if release.rollback_of:
        return f"brings r{release.rollback_of} back"
    return {"retraining": "retrained", "import": "imported"}.get(release.origin, release.origin)


def _lineage(
    release: Release, run: TrainingRun | None, snapshots: Mapping[str, Snapshot]
) -> list[Json]:
    """Stations from the pictures to the release, each with a heading and facts."""
    lineage = release.lineage
    snapshot_id = (run.snapshot_id if run else None) or lineage.get("snapshot_id")
    steps = []
    if snapshot_id:
        steps.append(
            {"name": "Snapshot", "id": snapshot_id, "facts": _snapshot(snapshots.get(snapshot_id))}
        )
    if run is not None:
        report = run.report or {}
        took = wording.duration_text(report.get("seconds"))
        steps.append(
            {
                "name": "Training run",
                "id": run.run_id,
                "href": f"/training?run={run.run_id}",
                "facts": [
                    f"{report.get('steps', '?')} steps in {took}",
                    f"Spark {report.get('master', '?')}, {report.get('workers', '?')} workers",
                ],
            }
        )
    parent = lineage.get("parent_bundle_id")
    steps.append(
        {
            "name": "Bundle",
            "id": release.bundle_id,
            "facts": [
                f"fine-tuned from {parent}"
                if parent
                else f"from {lineage.get('init') or 'import'}",
                f"code {lineage.get('code_version') or 'unknown'}",
            ],
        }
    )
    approved = f"approved by {release.approved_by}" if release.approved_by else "not approved yet"
    steps.append({"name": "Release", "id": f"r{release.release}", "facts": [approved]})
    return steps


def _file_name(path: object) -> str:
    return str(path).rstrip("/").rsplit("/", 1)[-1] if path else "an import"


def _snapshot(snapshot: Snapshot | None) -> list[str]:
    if snapshot is None:
        return []
    splits = snapshot.manifest.get("splits", {})
    counts = {name: split.get("num_images", 0) for name, split in splits.items()}
    facts = [f"{wording.count_text(sum(counts.values()))} pictures"]
    if counts:
        facts.append(", ".join(f"{count} {name}" for name, count in counts.items()))
    return facts


def _rollout(view: RolloutView) -> Json:
    rollout = view.rollout
    return {
        "rollout_id": rollout.rollout_id,
        "state": rollout.state.value,
        "error": rollout.error or "",
        "canary_parts": rollout.canary_parts,
        "num_waves": len(rollout.waves),
        "wave": rollout.wave,
        "cells": [
            {
                "cell": row.cell,
                "title": wording.cell_title(row.cell),
                "wave": "skipped"
                if row.phase is RolloutPhase.SKIPPED
                else ("canary" if row.wave == 0 else f"wave {row.wave + 1}"),
                "phase": row.phase.value,
                "reported": row.reported_phase or "",
                "from_release": row.from_release,
                "error": row.error or "",
            }
            for row in sorted(view.cells, key=lambda row: (row.wave, row.cell))
        ],
    }


def _cell(cell: Cell) -> Json:
    reported = cell.reported or {}
    model = reported.get("model") or {}
    return {
        "cell": cell.cell,
        "title": wording.cell_title(cell.cell),
        "runs": wording.model_text(model.get("name"), model.get("release")),
        "wanted": desired_release(cell),
        "mode": cell.mode.value,
        "is_following": cell.mode is FollowMode.FOLLOW,
        "phase": str(reported.get("phase") or ""),
    }


def _refused(run: TrainingRun | None) -> Json | None:
    if run is None:
        return None
    reasons = [gate["text"] for gate in gates_of(run) if not gate["passed"]]
    return {"run_id": run.run_id, "text": "; ".join(reasons) or run.error or "a gate refused it"}
