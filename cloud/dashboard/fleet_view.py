"""What the Fleet page shows: pure functions over rows, plain JSON out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cloud.cell_models import desired_release, reported_of
from cloud.dashboard import wording
from cloud.dashboard.line_view import alarms_of, connection_of
from cloud.db.tables import Cell, Release, StationLogEntry
from cloud.drift import DriftLevel, Shift
from cloud.drift_watch import CellDrift
from cloud.fleet import RolloutView
from cloud.settings import RolloutSettings
from models.contract.messages import Connection, FollowMode, ModelPhase

Json = dict[str, Any]

OUTBOX_LATE = 1_000
"""Records that wait in a cell beyond which its uplink falls behind."""
DRIFT_WORDS = {
    DriftLevel.UNKNOWN: ("too few parts", "", ""),
    DriftLevel.STABLE: ("stable", "ok", "ok"),
    DriftLevel.WATCH: ("watch", "unsure", "not_decidable"),
    DriftLevel.ALARM: ("drifted", "bad", "alarm"),
}
"""Words, tone and sign."""
CONNECTION_WORDS = {
    "online": ("online", "ok", "ok"),
    "stale": ("stale", "stale", "none"),
    Connection.STOPPED.value: ("stopped", "unsure", "none"),
    Connection.OFFLINE.value: ("offline", "bad", "offline"),
}
MODE_WORDS = {FollowMode.FOLLOW: "Follow", FollowMode.PIN: "Pin", FollowMode.PAUSE: "Pause"}


@dataclass(frozen=True, slots=True)
class FleetState:
    """Rows behind the page, read at one moment."""

    at: datetime
    cells: Sequence[Cell]
    releases: Sequence[Release]
    rollouts: Sequence[RolloutView]
    events: Sequence[StationLogEntry]
    num_dead_letters: int


def fleet_view(state: FleetState, rules: RolloutSettings) -> Json:
    """The whole page but drift, which is read less often."""
    cells = [_cell(cell, state.at) for cell in state.cells]
    return {
        "cells": cells,
        "online": sum(cell["connection"] == "online" for cell in cells),
        "alarms": sum(len(cell["alarms"]) for cell in cells),
        "waiting": sum(cell["records"] + cell["images"] for cell in cells),
        "dead_letters": state.num_dead_letters,
        "releases": [
            {"release": row.release, "title": f"{row.name} r{row.release}"}
            for row in state.releases
            if row.target_path or row.approved_at
        ],
        "rollout": rollout_view(state.rollouts[0], state.at) if state.rollouts else None,
        "rules": rules_text(rules),
        "events": [_event(entry) for entry in state.events],
    }


def rules_text(rules: RolloutSettings) -> str:
    """When a wave is good enough and when a rollout stops, in a sentence."""
    share = "all" if rules.success_ratio >= 1 else wording.ratio_text(rules.success_ratio, 0)
    failed = "any cell fails"
    if rules.max_failed_cells:
        failed = f"more than {rules.max_failed_cells} cells fail"
    return (
        f"The next wave starts when {share} of a wave's cells run the release. The rollout stops "
        f"when {failed}, or a wave takes longer than {wording.duration_text(rules.wave_timeout_s)}."
    )


def rollout_view(view: RolloutView, now: datetime) -> Json:
    """A rollout, wave by wave."""
    rollout = view.rollout
    names = ["Canary", *(f"Wave {number}" for number in range(2, len(rollout.waves) + 1))]
    waves = []
    for number, name in enumerate(names[: len(rollout.waves)]):
        rows = [row for row in view.cells if row.wave == number]
        waves.append(
            {
                "name": name,
                "is_now": number == rollout.wave and rollout.state.value == "running",
                "is_done": number < rollout.wave or rollout.state.value == "succeeded",
                "cells": [
                    {
                        "title": wording.cell_title(row.cell),
                        "phase": row.phase.value,
                        "words": wording.plain(row.reported_phase or row.phase.value),
                        "error": row.error or "",
                    }
                    for row in rows
                ],
            }
        )
    started = rollout.wave_started_at
    return {
        "rollout_id": rollout.rollout_id,
        "release": rollout.release,
        "state": rollout.state.value,
        "is_open": rollout.finished_at is None,
        "error": rollout.error or "",
        "by": f"{rollout.created_by}, {wording.ago_text(rollout.created_at, now)}",
        "wave_since": f"{started.astimezone():%H:%M}" if started else "",
        "canary_parts": rollout.canary_parts,
        "shadow_parts": rollout.shadow_parts,
        "waves": waves,
        "skipped": [
            f"{wording.cell_title(row.cell)} {row.error or ''}".strip()
            for row in view.cells
            if row.wave < 0
        ],
    }


def _cell(cell: Cell, now: datetime) -> Json:
    reported = reported_of(cell)
    status = cell.status or {}
    connection = connection_of(cell, now)
    model = reported.model if reported else None
    wanted = desired_release(cell)
    phase = reported.phase if reported else ModelPhase.ACTIVE
    return {
        "cell": cell.cell,
        "title": wording.cell_title(cell.cell),
        "place": wording.cell_place(cell.cell),
        "connection": connection,
        "station": wording.plain(str(status.get("station_state", ""))),
        # Of a cell that is heard it would change with every look, and say nothing.
        "heard": "" if connection == "online" else wording.ago_text(cell.status_at, now),
        "alarms": [f"{alarm['cause']} {alarm['action']}" for alarm in alarms_of(cell, connection)],
        "runs": wording.model_text(model.name, model.release) if model else wording.UNKNOWN,
        "wanted": f"r{wanted}" if wanted else wording.UNKNOWN,
        "is_behind": bool(wanted and model and model.release != wanted),
        "phase": "" if phase is ModelPhase.ACTIVE else wording.plain(phase.value),
        "recipe": f"{reported.recipe_id} v{reported.recipe_version}"
        if reported and reported.recipe_id
        else wording.UNKNOWN,
        "mode": cell.mode.value,
        "pinned": cell.pinned_release,
        "version": reported.agent_version if reported else wording.UNKNOWN,
        "records": reported.outbox_records if reported else 0,
        "images": reported.outbox_images if reported else 0,
        "dropped": reported.images_dropped if reported else 0,
        "overruns": int(status.get("num_overruns", 0)),
    }


def _event(entry: StationLogEntry) -> Json:
    return {
        "at": f"{entry.created_at.astimezone():%d %b %H:%M:%S}",
        "title": wording.cell_title(entry.cell),
        "code": wording.plain(entry.code),
        "text": entry.text,
    }


def drift_view(drifts: Sequence[CellDrift]) -> Mapping[str, Json]:
    """Drift of each cell by its path."""
    return {
        drift.cell: {
            "level": drift.level.value,
            "since": f"{drift.since.astimezone():%d %b %Y %H:%M}" if drift.since else "",
            "shifts": [_shift(shift) for shift in drift.shifts],
        }
        for drift in drifts
    }


def _shift(shift: Shift) -> Json:
    most = max((max(bar.reference, bar.current) for bar in shift.bins), default=0.0) or 1.0
    return {
        "name": shift.name,
        "level": shift.level.value,
        "psi": wording.UNKNOWN if shift.psi is None else f"{shift.psi:.2f}",
        "by_chance": f"{shift.by_chance:.2f}",
        "num_reference": shift.num_reference,
        "num_current": shift.num_current,
        "bins": [
            {
                "label": wording.plain(bar.label),
                "before": round(100 * bar.reference / most, 1),
                "now": round(100 * bar.current / most, 1),
                "words": f"{wording.plain(bar.label)}: {wording.ratio_text(bar.reference)} then, "
                f"{wording.ratio_text(bar.current)} now",
            }
            for bar in shift.bins
        ],
    }
