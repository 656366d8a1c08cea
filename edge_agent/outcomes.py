"""Put together all there is to know about a judged view, for those who come after the verdict."""

from datetime import datetime
from uuid import uuid4

from edge_agent.clock import NS_PER_MS
from edge_agent.cycle import CycleReport
from edge_agent.picture_queue import PictureJob
from edge_agent.ports import CycleOutcome, LoadedModel
from models.contract.messages import PlcResult
from models.contract.recipe import Recipe, View


def outcome_of(
    result: PlcResult,
    report: CycleReport,
    *,
    recipe: Recipe,
    view: View,
    model: LoadedModel | None,
    decided_at: datetime,
) -> CycleOutcome:
    """A judged view: what was answered, what was seen, which model and recipe decided."""
    return CycleOutcome(
        result_id=result.result_id,
        job_id=result.job_id,
        trigger_id=result.trigger_id,
        part_id=result.part_id,
        recipe=recipe,
        view=view,
        verdict=report.decision.verdict,
        reasons=report.decision.reasons,
        decided_at=decided_at,
        model=model.ref if model else None,
        categories=model.detector.categories if model else (),
        thresholds=model.detector.thresholds if model else {},
        frame=report.frame,
        detections=report.detections,
        is_partial=result.is_partial,
        part_verdict=None if result.is_partial else result.verdict,
        part_reasons=() if result.is_partial else result.reasons,
        result_state=result.result_state,
        timings=report.timings._replace(processing_ms=result.processing_ms),
    )


def picture_result(
    job: PictureJob,
    report: CycleReport,
    *,
    model: LoadedModel,
    now_ns: int,
) -> PlcResult:
    """The result of a picture over HTTP, in the form that a PLC would get; a part of its own."""
    result_id = uuid4()
    return PlcResult(
        trigger_id=f"http-{result_id}",
        result_id=result_id,
        job_id=uuid4(),
        part_id=job.request.part_id,
        view=job.view.name,
        verdict=report.decision.verdict,
        result_state=report.decision.result_state,
        reasons=report.decision.reasons,
        recipe_id=job.recipe.recipe_id,
        recipe_version=job.recipe.version,
        model=model.ref,
        processing_ms=(now_ns - job.arrived_ns) / NS_PER_MS,
    )
