"""When a new model may judge parts, and when it must go again. Pure rules, no I/O."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median

from edge_agent.evidence import is_above
from models.contract.bundle import ModelRef
from models.contract.messages import DesiredModel, FollowMode, Reason, ReasonCode, Verdict

MAX_WINDOW_RATIO = 4
"""A canary window in which hardly any part was compared goes on for this many times its parts."""


class Move(StrEnum):
    """What the cloud's wish means for this cell."""

    KEEP = "keep"
    HOLD = "hold"
    REFUSE = "refuse"
    RELABEL = "relabel"
    INSTALL = "install"


@dataclass(frozen=True, slots=True)
class Decision:
    """A move and, where it is a refusal, the reason in one line."""

    move: Move
    cause: str = ""


def decide(
    desired: DesiredModel, active: ModelRef | None, quarantine_cause: str | None
) -> Decision:
    """Compare what should run with what runs.

    Args:
        desired: the cloud's wish.
        active: what runs; None: no model at all.
        quarantine_cause: why the wanted bundle may not run here; None when it may.
    """
    wanted = desired.model
    if wanted == active:
        return Decision(Move.KEEP)
    if desired.mode is FollowMode.PAUSE:
        return Decision(Move.HOLD)
    # A step back is a new, higher release of an older bundle. A lower number is an old message,
    # played back by mistake or on purpose.
    if active is not None and wanted.release <= active.release:
        text = f"release {wanted.release} is not newer than {active.release}, which runs"
        return Decision(Move.REFUSE, text)
    if quarantine_cause is not None:
        return Decision(Move.REFUSE, f"bundle is quarantined here: {quarantine_cause}")
    if active is not None and wanted.bundle_id == active.bundle_id:
        return Decision(Move.RELABEL)
    return Decision(Move.INSTALL)


# --- windows ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WindowLimits:
    """What a new model may do worse than the running one.

    Every share is of parts that both models have looked at: a run of parts that are really bad is
    rejected by both and says nothing against the new one.

    Attributes:
        max_disagreement_ratio: share of parts with another verdict, over categories that both
            models know.
        max_false_reject_ratio: share of parts that only the new model rejects, over the same.
        max_lost_reject_ratio: of the parts that the old model rejects, the share that the new one
            passes.
        max_flood_ratio: share of parts that the new model rejects for whatever it has learned, and
            the old one passes.
        max_latency_ratio: median time of an inference against the old model's.
        latency_slack_ms: on top of that, for models that are quick anyway.
        max_model_faults: parts that the model failed to judge.
    """

    max_disagreement_ratio: float = 0.3
    max_false_reject_ratio: float = 0.15
    max_lost_reject_ratio: float = 0.5
    max_flood_ratio: float = 0.8
    max_latency_ratio: float = 2.0
    latency_slack_ms: float = 10.0
    max_model_faults: int = 0


@dataclass(frozen=True, slots=True)
class PartFacts:
    """What a window needs to know of one judged part."""

    model: ModelRef | None
    verdict: Verdict
    reasons: tuple[Reason, ...]
    inference_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Pair:
    """One part as both models judge it.

    Attributes:
        old_rejects: over categories that both know.
        new_rejects: the same.
        is_flooded: the new model rejects it, for whatever reason, and the old one passes it.
        old_ms: what the old model's look took, at the same time and on the same machine.
    """

    old_rejects: bool = False
    new_rejects: bool = False
    is_flooded: bool = False
    old_ms: float = 0.0


@dataclass(slots=True)
class Comparison:
    """The two models beside each other, part by part."""

    limits: WindowLimits
    num_parts: int = 0
    num_disagreed: int = 0
    num_false_rejects: int = 0
    num_old_rejects: int = 0
    num_lost_rejects: int = 0
    num_flooded: int = 0
    old_ms: list[float] = field(default_factory=list)

    def add(self, pair: Pair) -> None:
        """One part that both have looked at."""
        self.num_parts += 1
        self.num_disagreed += pair.old_rejects != pair.new_rejects
        self.num_false_rejects += pair.new_rejects and not pair.old_rejects
        self.num_old_rejects += pair.old_rejects
        self.num_lost_rejects += pair.old_rejects and not pair.new_rejects
        self.num_flooded += pair.is_flooded
        if pair.old_ms > 0:
            self.old_ms.append(pair.old_ms)

    def fault(self) -> str | None:
        """Why the new model may not judge; may be asked after each part (`edge_agent.evidence`)."""
        limits, parts = self.limits, self.num_parts
        if is_above(self.num_disagreed, parts, limits.max_disagreement_ratio):
            return f"disagrees with the model before on {self.num_disagreed} of {parts} parts"
        if is_above(self.num_false_rejects, parts, limits.max_false_reject_ratio):
            count = self.num_false_rejects
            return f"rejects {count} of {parts} parts that the model before passes"
        if is_above(self.num_lost_rejects, self.num_old_rejects, limits.max_lost_reject_ratio):
            count, of = self.num_lost_rejects, self.num_old_rejects
            return f"passes {count} of {of} parts that the model before rejects"
        # A model that sees its new defect everywhere would stop the line, and the rules above
        # look away from what only it can see.
        if is_above(self.num_flooded, parts, limits.max_flood_ratio):
            return f"rejects {self.num_flooded} of {parts} parts for what only it knows"
        return None

    def __str__(self) -> str:
        """For the record."""
        return f"disagreed on {self.num_disagreed} of {self.num_parts} parts"


@dataclass(slots=True)
class ShadowWindow:
    """The new model looks at live parts beside the running one; nobody acts on what it says."""

    num_parts: int
    limits: WindowLimits = field(default_factory=WindowLimits)
    comparison: Comparison = field(init=False)

    def __post_init__(self) -> None:
        self.comparison = Comparison(self.limits)

    @property
    def is_over(self) -> bool:
        """Whether it has seen enough."""
        return self.comparison.num_parts >= self.num_parts

    def fault(self) -> str | None:
        """Why the model may not take over; None when it may."""
        return self.comparison.fault()


@dataclass(slots=True)
class CanaryWindow:
    """The new model judges; the old one looks over its shoulder."""

    num_parts: int
    before: Sequence[PartFacts]
    """What the old model did last, for the time that it took."""
    has_old: bool = True
    limits: WindowLimits = field(default_factory=WindowLimits)
    comparison: Comparison = field(init=False)
    _parts: list[PartFacts] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.comparison = Comparison(self.limits)

    def add(self, part: PartFacts) -> None:
        """One part that the new model has judged."""
        self._parts.append(part)

    @property
    def num_seen(self) -> int:
        """Parts judged so far."""
        return len(self._parts)

    @property
    def is_over(self) -> bool:
        """Whether it has seen enough: the parts, and half of them with the old model's eyes.

        A line that is too fast for the second look is not waited for without end.
        """
        wanted = self.num_parts / 2 if self.has_old else 0
        is_compared = self.comparison.num_parts >= wanted
        return self.num_seen >= self.num_parts * (1 if is_compared else MAX_WINDOW_RATIO)

    def fault(self) -> str | None:
        """Why to go back; None while there is no reason. Asked after each part."""
        return self._model_fault() or self.comparison.fault() or self._latency_fault()

    def _model_fault(self) -> str | None:
        faulty = [
            reason.text
            for part in self._parts
            for reason in part.reasons
            if reason.code is ReasonCode.MODEL_FAULT
        ]
        if len(faulty) <= self.limits.max_model_faults:
            return None
        return f"{len(faulty)} parts not judged: {faulty[-1]}"

    def _latency_fault(self) -> str | None:
        now, before = _median_ms(self._parts), _median_ms(self.before)
        if now is None or before is None or len(self._parts) < min(self.num_parts, 5):
            return None
        # Where everything has become slow since, the old model has, too.
        if self.comparison.old_ms:
            before = max(before, median(self.comparison.old_ms))
        limit_ms = before * self.limits.max_latency_ratio + self.limits.latency_slack_ms
        if now <= limit_ms:
            return None
        return f"inference takes {now:.1f} ms, {before:.1f} ms before"


def counted_reasons(
    reasons: Iterable[Reason], known: Collection[str]
) -> frozenset[tuple[ReasonCode, str | None]]:
    """Reasons to reject that both models could have given."""
    return frozenset(
        (reason.code, reason.category)
        for reason in reasons
        if reason.category is None or reason.category in known
    )


def _median_ms(parts: Iterable[PartFacts]) -> float | None:
    times = [part.inference_ms for part in parts if part.inference_ms > 0]
    return median(times) if times else None
