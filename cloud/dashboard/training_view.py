"""What the Training page shows of a run: pure functions, plain JSON out."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cloud.dashboard import wording
from cloud.dashboard.models_view import evaluation, gates_of
from cloud.db.tables import RunState, TrainingRun
from cloud.policy import Decision, LearningState
from cloud.retraining import RunDetails
from cloud.settings import RetrainingSettings

Json = dict[str, Any]

STATE_WORDS = {
    RunState.QUEUED: ("queued", "", "none"),
    RunState.RUNNING: ("running", "accent", "none"),
    RunState.SUCCEEDED: ("released", "ok", "ok"),
    RunState.REFUSED: ("refused", "unsure", "not_decidable"),
    RunState.FAILED: ("failed", "bad", "not_ok"),
    RunState.CANCELLED: ("cancelled", "", ""),
}
"""Words, tone and sign of a run's state."""

STAGES = (
    ("queue", "Snapshot"),
    ("start", "Start Spark"),
    ("fit", "Fit"),
    ("export", "Quantize"),
    ("evaluate", "Evaluate"),
    ("gates", "Gates"),
)
"""A run's way, in its order; the middle ones are stages of ``sightline-train run``."""

TRIGGER_WORDS = {
    "labels": "enough new labels",
    "schedule": "the schedule",
    "drift": "a drift alarm",
    "button": "the button",
}

OPEN = (RunState.QUEUED, RunState.RUNNING)


def run_line(run: TrainingRun) -> Json:
    """A run in the list."""
    words, tone, sign = STATE_WORDS[run.state]
    report = run.report or {}
    candidate = evaluation(report.get("candidate"))
    return {
        "run_id": run.run_id,
        "words": words,
        "tone": tone,
        "sign": sign,
        "is_open": run.state in OPEN,
        "created": f"{run.created_at.astimezone():%d %b %Y %H:%M}",
        "trigger": TRIGGER_WORDS.get(run.trigger, run.trigger),
        "map50": wording.score_text(candidate["map50"]) if candidate else "",
        "release": run.release,
    }


def run_view(details: RunDetails) -> Json:
    """Everything about the chosen run."""
    run = details.run
    report = run.report or {}
    return run_line(run) | {
        "error": run.error or "",
        "stages": stages_of(run),
        "progress": progress_of(run),
        "curve": [
            {key: event.get(key) for key in ("step", "loss", "map50")}
            for event in details.history
            if event.get("stage", "fit") == "fit"
        ],
        "log": details.log_tail,
        "facts": _facts(run, report),
        "before": evaluation(report.get("running")),
        "after": evaluation(report.get("candidate")),
        "gates": gates_of(run),
    }


def stages_of(run: TrainingRun) -> list[Json]:
    """Each stage as ``done``, ``now``, ``todo`` or ``stopped``."""
    names = [name for name, _ in STAGES]
    if run.state in {RunState.SUCCEEDED, RunState.REFUSED}:
        reached = len(names)
    else:
        stage = str((run.progress or {}).get("stage", ""))
        reached = names.index(stage) if stage in names else (1 if run.started_at else 0)
    stages = []
    for number, (name, title) in enumerate(STAGES):
        state = "done" if number < reached else "now" if number == reached else "todo"
        if state == "now" and run.state not in OPEN:
            state = "stopped"
        if name == "gates" and run.state is RunState.REFUSED:
            state = "stopped"
        stages.append({"name": name, "title": title, "state": state})
    return stages


def progress_of(run: TrainingRun) -> Json:
    """How far the present stage is; ``ratio`` is None where nobody knows."""
    progress: Mapping[str, Any] = run.progress or {}
    step, steps = progress.get("step"), progress.get("steps")
    words = [str(progress["text"])] if progress.get("text") else []
    if step is not None and steps:
        words.append(f"step {step} of {steps}")
    if progress.get("rate"):
        words.append(f"{progress['rate']:.1f} pictures/s")
    if progress.get("loss") is not None:
        words.append(f"loss {progress['loss']:.3f}")
    if progress.get("map50") is not None:
        words.append(f"mAP@0.5 {progress['map50']:.3f}")
    left = progress.get("seconds_left")
    return {
        "ratio": min(1.0, step / steps) if step is not None and steps else None,
        "words": words,
        "left": wording.duration_text(left) if left is not None else "",
    }


def outlook_view(decision: Decision, state: LearningState, min_new_labels: int) -> Json:
    """What would start the next run."""
    return {
        "reason": decision.reason,
        "num_new_labels": state.num_new_labels,
        "min_new_labels": min_new_labels,
        "ratio": min(1.0, state.num_new_labels / min_new_labels) if min_new_labels else None,
        "boxes": [
            f"{wording.plain(name)} {count}"
            for name, count in sorted(state.boxes_per_new_category.items())
        ],
        "may_start": state.has_base and not state.is_running,
    }


def policy_words(settings: RetrainingSettings) -> str:
    """When a run starts by itself, what it may cost, and what becomes of its candidate."""
    starts = []
    if settings.enabled and settings.min_new_labels:
        starts.append(f"from {settings.min_new_labels} new labels on")
    if settings.enabled and settings.cron:
        starts.append(f"on schedule ({settings.cron}, UTC)")
    if settings.enabled and settings.on_drift:
        starts.append(f"when a cell drifts, from {settings.min_drift_labels} labels on")
    begins = "Starts by itself " + ", ".join(starts) if starts else "Starts by the button only"
    ends = (
        "a candidate that passes every gate goes out by itself"
        if settings.auto_promote
        else "a candidate that passes every gate waits for a person"
    )
    return f"{begins}. One run at a time, {settings.budget} each; {ends}."


def curve_chart(curve: Sequence[Json]) -> Json:
    """ECharts options: loss on the left axis, mAP on the validation split on the right one."""
    ink, faint = "#7c8b99", "rgba(128,144,160,.22)"
    axis = {"type": "value", "axisLabel": {"color": ink}, "nameTextStyle": {"color": ink}}
    loss = [[p["step"], p["loss"]] for p in curve if p.get("loss") is not None]
    scores = [[p["step"], p["map50"]] for p in curve if p.get("map50") is not None]
    return {
        "animation": False,
        "textStyle": {"fontFamily": "Roboto, sans-serif"},
        "grid": {"left": 8, "right": 8, "top": 34, "bottom": 4, "containLabel": True},
        "legend": {"top": 0, "left": 0, "textStyle": {"color": ink}},
        "tooltip": {"trigger": "axis", "confine": True},
        "xAxis": axis
        | {
            "splitLine": {"show": False},
            "axisLine": {"lineStyle": {"color": faint}},
            "max": "dataMax",
        },
        "yAxis": [
            axis | {"splitLine": {"lineStyle": {"color": faint}}, "scale": True},
            axis | {"min": 0, "max": 1, "splitLine": {"show": False}},
        ],
        "series": [
            _line("Loss", loss, "#8796a5", axis=0, dots=False),
            _line("mAP@0.5 (validation)", scores, "#2f7fc4", axis=1, dots=True),
        ],
    }


def _line(name: str, points: list[list[float]], colour: str, *, axis: int, dots: bool) -> Json:
    return {
        "type": "line",
        "name": name,
        "data": points,
        "yAxisIndex": axis,
        "showSymbol": dots,
        "symbolSize": 6,
        "lineStyle": {"width": 2, "color": colour},
        "itemStyle": {"color": colour},
    }


def _facts(run: TrainingRun, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    parameters = run.parameters or {}
    end = run.finished_at or datetime.now(UTC)
    # Not live: the block would be built again each second only for this.
    took = wording.duration_text((end - run.started_at).total_seconds()) if run.started_at else ""
    facts = [
        ("Started by", f"{TRIGGER_WORDS.get(run.trigger, run.trigger)} ({run.requested_by})"),
        ("Snapshot", run.snapshot_id or "being built"),
        ("From bundle", run.init_bundle_id or wording.UNKNOWN),
        ("Spark", str(parameters.get("master") or report.get("master") or wording.UNKNOWN)),
        ("Workers", str(parameters.get("workers") or report.get("workers") or wording.UNKNOWN)),
        ("Budget", str(parameters.get("budget") or wording.UNKNOWN)),
    ]
    if run.finished_at is not None:
        facts.append(("Took", took))
    if report.get("steps"):
        facts.append(("Steps", str(report["steps"])))
    return facts
