"""From what is known of a cell to what its card shows: pure functions, plain JSON out."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from cloud.dashboard import wording
from cloud.dashboard.legend import Legend
from cloud.dashboard.line_monitor import CellMemory, LineState, Picture, Reject
from cloud.dashboard.links import image_url, part_url, thumbnail_url
from cloud.db.tables import Cell, Result
from models.contract.messages import Connection, ModelPhase, StationState, Verdict

STALE_AFTER = timedelta(seconds=15)
"""A cell sends a heartbeat every few seconds; after this long what it said last is old news."""
NUM_REASONS = 3

Json = dict[str, Any]


def percentile(values: Sequence[float], ratio: float) -> float | None:
    """Nearest-rank percentile; None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(ratio * len(values)) - 1)]


def yield_ratio(counts: Mapping[Verdict, int]) -> float | None:
    """Share of parts that were OK the first time; None before the first part."""
    total = sum(counts.values())
    return counts.get(Verdict.OK, 0) / total if total else None


def connection_of(cell: Cell, now: datetime) -> str:
    """``online``, ``stopped``, ``offline``, or ``stale`` when the heartbeat stays away."""
    if cell.status is None or cell.status_at is None:
        return "stale" if cell.reported_at else Connection.OFFLINE
    connection = str(cell.status.get("connection", Connection.OFFLINE))
    if connection == Connection.ONLINE and now - cell.status_at > STALE_AFTER:
        return "stale"
    return connection


def alarms_of(cell: Cell, connection: str) -> list[Json]:
    """What a person must see to: the cell's own alarms, and those only the cloud can see."""
    status, reported = cell.status or {}, cell.reported or {}
    alarms: list[Json] = []
    if connection == "stale":
        alarms.append(
            _alarm(
                "stale",
                "No heartbeat from this cell.",
                "What you see is old. Check the cell's PC and its network.",
                level="stale",
            )
        )
    elif connection == Connection.OFFLINE:
        alarms.append(
            _alarm(
                "offline",
                "The cell's agent is offline.",
                "Check the cell's PC, its network and the broker; it reconnects by itself.",
            )
        )
    alarms += [
        _alarm(alarm["code"], _stop(alarm["cause"]), _stop(alarm["action"]))
        for alarm in status.get("alarms", ())
    ]
    if not status.get("alarms") and status.get("station_state") in {
        StationState.ERROR,
        StationState.HALTED,
    }:
        state = wording.plain(str(status["station_state"]))
        alarms.append(_alarm("state", f"Station is in {state}.", "Reset it at the PLC."))
    if reported.get("phase") in {ModelPhase.FAILED, ModelPhase.ROLLED_BACK}:
        cause = str(reported.get("error") or "no cause given")
        alarms.append(
            _alarm(
                "update",
                "The last model update did not stay.",
                f"{_stop(wording.sentence(cause))} The cell goes on with the model before.",
                level="unsure",
            )
        )
    return alarms


def cell_card(cell: Cell, state: LineState, legend: Legend) -> Json:
    """Properties of one card."""
    memory = state.memories[cell.cell]
    connection = connection_of(cell, state.at)
    status = cell.status or {}
    return {
        "cell": cell.cell,
        "title": wording.cell_title(cell.cell),
        "place": wording.cell_place(cell.cell),
        "connection": connection,
        "status_ms": wording.milliseconds(cell.status_at) if cell.status_at else None,
        "station": str(status.get("station_state", "")),
        "station_words": wording.sentence(wording.plain(str(status.get("station_state", "")))),
        "alarms": alarms_of(cell, connection),
        "last": _result(memory.last) if memory.last else None,
        "last_ok": _reference(memory.last_ok),
        "last_reject": _reference(
            next((row for row in reversed(memory.rejects) if row.verdict is Verdict.NOT_OK), None)
        ),
        "counts": _counts(memory),
        "latency": _latency(memory),
        "picture": _picture(state.newest.get(cell.cell), legend),
        "rejects": [_reject(shot, legend) for shot in state.shots.get(cell.cell, ())],
        "rejects_href": f"/trace?cell={quote(cell.cell)}&verdict=not_ok",
        "model": _model(cell, memory),
        "recipe": _recipe(cell, memory),
        "update": _update(cell),
    }


def summary(state: LineState) -> Json:
    """Figures of all cells together."""
    counts: dict[Verdict, int] = dict.fromkeys(Verdict, 0)
    for memory in state.memories.values():
        for verdict, number in memory.counts.items():
            counts[verdict] += number
    return {
        "parts": sum(counts.values()),
        "ok": counts[Verdict.OK],
        "not_ok": counts[Verdict.NOT_OK],
        "not_decidable": counts[Verdict.NOT_DECIDABLE],
        "yield_ratio": yield_ratio(counts),
        "pending": state.num_pending,
        "shift_since": f"{state.shift_since:%H:%M}",
    }


def are_all_silent(state: LineState) -> bool:
    """Whether no cell at all is heard: then the fault is here, not at the cells."""
    return bool(state.cells) and all(
        connection_of(cell, state.at) in {"stale", Connection.OFFLINE} for cell in state.cells
    )


def _alarm(code: str, cause: str, action: str, level: str = "") -> Json:
    return {"code": code, "cause": cause, "action": action, "level": level}


def _stop(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _result(row: Result) -> Json:
    return {
        "result_id": str(row.result_id),
        "part_id": row.part_id,
        "verdict": row.verdict.value,
        "reasons": _reasons(row),
        "details": "; ".join(wording.reason_text(reason) for reason in row.reasons),
        "created_ms": wording.milliseconds(row.created_at),
        "latency_ms": row.processing_ms,
        "href": part_url(row.part_id),
    }


def _reasons(row: Result) -> list[str]:
    """In as few words as can be read from two metres away; the trace has the whole text."""
    shorts = dict.fromkeys(wording.sentence(wording.reason_short(item)) for item in row.reasons)
    texts = list(shorts)
    more = len(texts) - NUM_REASONS
    return texts[:NUM_REASONS] + ([f"and {more} more"] if more > 0 else [])


def _reference(row: Result | None) -> Json | None:
    return {"result_id": str(row.result_id), "part_id": row.part_id} if row else None


def _counts(memory: CellMemory) -> Json:
    return {
        "ok": memory.counts[Verdict.OK],
        "not_ok": memory.counts[Verdict.NOT_OK],
        "not_decidable": memory.counts[Verdict.NOT_DECIDABLE],
        "yield_ratio": yield_ratio(memory.counts),
    }


def _latency(memory: CellMemory) -> Json:
    values = list(memory.latencies_ms)
    return {"p50": percentile(values, 0.5), "p99": percentile(values, 0.99), "n": len(values)}


def _picture(picture: Picture | None, legend: Legend) -> Json | None:
    if picture is None:
        return None
    image, result = picture.image, picture.result
    return {
        "url": image_url(image.sha256),
        "width": image.width_px,
        "height": image.height_px,
        "boxes": legend.boxes(result.detections, result.bundle_id) if result else [],
        "part_id": image.part_id,
        "href": part_url(image.part_id),
        "verdict": result.verdict.value if result else "",
        "created_ms": wording.milliseconds(image.created_at),
        "why": ", ".join(wording.hard_reason_text(reason) for reason in image.hard_reasons),
    }


def _reject(shot: Reject, legend: Legend) -> Json:
    row, image = shot.result, shot.image
    reasons = _reasons(row)
    boxes = legend.boxes(row.detections, row.bundle_id) if image else []
    return {
        "result_id": str(row.result_id),
        "part_id": row.part_id,
        "verdict": row.verdict.value,
        "short": ", ".join(reasons) or row.part_id,
        "reasons": reasons,
        "created_ms": wording.milliseconds(row.created_at),
        "url": thumbnail_url(image.sha256) if image else "",
        "width": (image.width_px if image else row.image_width_px) or 5,
        "height": (image.height_px if image else row.image_height_px) or 4,
        "boxes": [box for box in boxes if box["kind"] != "object"],
    }


def _model(cell: Cell, memory: CellMemory) -> str:
    model = (cell.status or {}).get("model") or (cell.reported or {}).get("model")
    if model:
        return wording.model_text(model.get("name"), model.get("release"))
    last = memory.last
    return wording.model_text(last.model_name, last.release) if last else ""


def _recipe(cell: Cell, memory: CellMemory) -> str:
    status = cell.status or {}
    if status.get("recipe_id"):
        return f"{status['recipe_id']} v{status.get('recipe_version', '?')}"
    return f"{memory.last.recipe_id} v{memory.last.recipe_version}" if memory.last else ""


def _update(cell: Cell) -> str:
    reported = cell.reported or {}
    phase, desired = reported.get("phase"), reported.get("desired") or cell.desired
    quiet = {None, ModelPhase.ACTIVE, ModelPhase.FAILED, ModelPhase.ROLLED_BACK}
    if phase in quiet or not desired:
        return ""
    model = desired.get("model", desired)
    return f"Update to r{model.get('release', '?')}: {wording.plain(str(phase))}"
