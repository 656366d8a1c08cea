"""Operating points: what each score would give on the locked set, and what people propose."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from cloud import audit
from cloud.db.recipe_tables import ProposalState, RecipeProposal
from cloud.db.session import Database
from cloud.db.tables import Release, TrainingRun
from cloud.errors import ConflictError, InvalidError, NotFoundError
from cloud.statistics import Rate, wilson_rate


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What one score would give."""

    threshold: float
    recall: float | None
    precision: float | None
    false_alarms_per_image: float


@dataclass(frozen=True, slots=True)
class ClassCurve:
    """Every score of one category, measured on pictures that no fit has seen."""

    category: str
    kind: str
    num_boxes: int
    num_images: int
    chosen: float
    """Where the release has its operating point."""
    points: tuple[CurvePoint, ...]

    def at(self, threshold: float) -> CurvePoint:
        """The point nearest to a score."""
        return min(self.points, key=lambda point: abs(point.threshold - threshold))

    def found(self, threshold: float) -> Rate:
        """Share of the labelled boxes that count from this score on, with its interval."""
        recall = self.at(threshold).recall or 0.0
        return wilson_rate(round(recall * self.num_boxes), self.num_boxes)


def read_curves(database: Database, release: int) -> list[ClassCurve]:
    """The curves of a release, defects first; empty where nothing measured them.

    Raises:
        NotFoundError: there is no such release.
    """
    with database.read() as session:
        row = session.get(Release, release)
        if row is None:
            raise NotFoundError("release", release)
        run = session.get(TrainingRun, row.run_id) if row.run_id else None
    report = (run.report if run else None) or {}
    documents = [report, report.get("candidate") or {}, row.metrics]
    kinds = {str(item["name"]): str(item["kind"]) for item in row.categories}
    measured = next((found for document in documents if (found := _curves(document))), {})
    curves = [
        _class_curve(name, curve, kinds.get(name, "defect"), images, row.thresholds)
        for name, (curve, images) in measured.items()
    ]
    return sorted(curves, key=lambda curve: (curve.kind == "object", curve.category))


def _curves(document: Mapping[str, Any]) -> dict[str, tuple[Mapping[str, Any], int]]:
    """Curves in an evaluation, and over how many pictures each was made."""
    analysis = document.get("analysis") or document
    images = analysis.get("num_pictures") or document.get("num_images") or 0
    per_class = analysis.get("per_class") or {}
    return {
        name: (facts["curve"], images)
        for name, facts in per_class.items()
        if isinstance(facts, Mapping) and facts.get("curve")
    }


def _class_curve(
    name: str, curve: Mapping[str, Any], kind: str, num_images: int, chosen: Mapping[str, float]
) -> ClassCurve:
    columns = (curve["thresholds"], curve["recall"], curve["precision"])
    points = zip(*columns, curve["false_alarms_per_image"], strict=True)
    return ClassCurve(
        category=name,
        kind=kind,
        num_boxes=int(curve.get("num_boxes", 0)),
        num_images=num_images,
        chosen=float(chosen.get(name, curve.get("chosen", 0.4))),
        points=tuple(CurvePoint(*point) for point in points),
    )


class Proposals:
    """What people propose for recipes, and what was decided about it.

    Args:
        database: Holds proposals, releases and the audit log.
        now: The wall clock.
    """

    def __init__(
        self, database: Database, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._now = now

    def propose(
        self,
        release: int,
        thresholds: Mapping[str, float],
        *,
        actor: str,
        recipe_id: str | None = None,
        note: str = "",
    ) -> RecipeProposal:
        """Propose scores from which categories should count.

        Raises:
            NotFoundError: there is no such release.
            InvalidError: nothing is proposed, or for a category that the release does not know.
        """
        curves = {curve.category: curve for curve in read_curves(self._database, release)}
        with self._database.write() as session:
            row = session.get_one(Release, release)
            known = {str(item["name"]) for item in row.categories}
            unknown = sorted(set(thresholds) - known)
            if unknown:
                raise InvalidError(f"release {release} knows no {', '.join(unknown)}")
            changed = {
                name: round(value, 3)
                for name, value in thresholds.items()
                if round(value, 3) != round(float(row.thresholds.get(name, -1.0)), 3)
            }
            if not changed:
                raise InvalidError("no operating point differs from the release's own")
            proposal = RecipeProposal(
                release=release,
                recipe_id=recipe_id,
                thresholds=changed,
                expected={n: _expected(curves[n], v) for n, v in changed.items() if n in curves},
                note=note,
                state=ProposalState.OPEN,
                created_at=self._now(),
                created_by=actor,
            )
            session.add(proposal)
            session.flush()
            audit.record(
                session, actor, "propose recipe", proposal.id, release=release, thresholds=changed
            )
            return proposal

    def decide(self, proposal_id: int, *, accept: bool, actor: str) -> RecipeProposal:
        """Say whether a proposal goes into the recipe.

        Raises:
            NotFoundError: there is no such proposal.
            ConflictError: it was decided before.
        """
        with self._database.write() as session:
            proposal = session.get(RecipeProposal, proposal_id, with_for_update=True)
            if proposal is None:
                raise NotFoundError("proposal", proposal_id)
            if proposal.state is not ProposalState.OPEN:
                raise ConflictError(f"proposal {proposal_id} was {proposal.state} already")
            proposal.state = ProposalState.ACCEPTED if accept else ProposalState.DECLINED
            proposal.decided_at, proposal.decided_by = self._now(), actor
            deed = "accept proposal" if accept else "decline proposal"
            audit.record(session, actor, deed, proposal_id)
            return proposal

    def get(self, proposal_id: int) -> RecipeProposal:
        """One proposal.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.read() as session:
            proposal = session.get(RecipeProposal, proposal_id)
        if proposal is None:
            raise NotFoundError("proposal", proposal_id)
        return proposal

    def recent(self, *, limit: int, before: int | None = None) -> Sequence[RecipeProposal]:
        """Newest first; ``before`` is the id that the page before ended with."""
        query = select(RecipeProposal).order_by(RecipeProposal.id.desc()).limit(limit)
        if before is not None:
            query = query.where(RecipeProposal.id < before)
        with self._database.read() as session:
            return session.scalars(query).all()


def _expected(curve: ClassCurve, threshold: float) -> dict[str, Any]:
    point = curve.at(threshold)
    return {
        "recall": point.recall,
        "precision": point.precision,
        "false_alarms_per_image": point.false_alarms_per_image,
        "num_boxes": curve.num_boxes,
        "before": _point_facts(curve.at(curve.chosen)),
    }


def _point_facts(point: CurvePoint) -> dict[str, Any]:
    return {"threshold": point.threshold, "recall": point.recall, "precision": point.precision}
