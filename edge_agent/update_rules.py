"""When a new model may judge parts, and when it must go again. Pure rules, no I/O."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median

from models.contract.bundle import ModelRef
from models.contract.messages import DesiredModel, FollowMode, Reason, ReasonCode, Verdict

Z = 1.645
"""One-sided 95 %: a handful of parts must not condemn a model by chance."""


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

    Attributes:
        max_disagreement_ratio: share of parts with another verdict, over categories that both
            models know.
        max_reject_rise: by how much the share of rejects may rise, over the same categories.
        max_reject_ratio: share of rejects that no model may reach, whatever it has learned.
        max_latency_ratio: median time of an inference against the old model's.
        latency_slack_ms: on top of that, for models that are quick anyway.
        max_model_faults: parts that the model failed to judge.
    """

    max_disagreement_ratio: float = 0.3
    max_reject_rise: float = 0.15
    max_reject_ratio: float = 0.8
    max_latency_ratio: float = 2.0
    latency_slack_ms: float = 10.0
    max_model_faults: int = 0


@dataclass(frozen=True, slots=True)
class PartFacts:
    """What a window needs to know of one judged part.

    Attributes:
        found: categories that the model found, at their thresholds.
    """

    model: ModelRef | None
    verdict: Verdict
    reasons: tuple[Reason, ...]
    inference_ms: float = 0.0
    found: frozenset[str] = frozenset()


@dataclass(slots=True)
class ShadowWindow:
    """The new model looks at live parts beside the running one; nobody acts on what it says."""

    num_parts: int
    limits: WindowLimits = field(default_factory=WindowLimits)
    num_seen: int = 0
    num_disagreed: int = 0

    def add(self, *, disagrees: bool) -> None:
        """One part that both have judged."""
        self.num_seen += 1
        self.num_disagreed += disagrees

    @property
    def is_over(self) -> bool:
        """Whether it has seen enough."""
        return self.num_seen >= self.num_parts

    def fault(self) -> str | None:
        """Why the model may not take over; None when it may."""
        return _disagreement_fault(self.num_disagreed, self.num_seen, self.limits)


@dataclass(slots=True)
class CanaryWindow:
    """The new model judges; what it does is compared with the old one's record."""

    num_parts: int
    before: Sequence[PartFacts]
    known: Collection[str]
    """Categories that both models know: what was learned anew is no reason to go back."""
    limits: WindowLimits = field(default_factory=WindowLimits)
    num_compared: int = 0
    num_disagreed: int = 0
    _parts: list[PartFacts] = field(default_factory=list)

    def add(self, part: PartFacts) -> None:
        """One part that the new model has judged."""
        self._parts.append(part)

    def compare(self, *, disagrees: bool) -> None:
        """One part that the old model has looked at as well."""
        self.num_compared += 1
        self.num_disagreed += disagrees

    @property
    def num_seen(self) -> int:
        """Parts judged so far."""
        return len(self._parts)

    @property
    def is_over(self) -> bool:
        """Whether it has seen enough."""
        return self.num_seen >= self.num_parts

    def fault(self) -> str | None:
        """Why to go back; None while there is no reason. Asked after each part."""
        return (
            self._model_fault()
            or _disagreement_fault(self.num_disagreed, self.num_compared, self.limits)
            or self._reject_fault()
            or self._latency_fault()
        )

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

    def _reject_fault(self) -> str | None:
        now, before = _rejects(self._parts, self.known), _rejects(self.before, self.known)
        if not self.before or not self._parts:
            return None
        lowest = wilson(now, len(self._parts))[0]
        highest = wilson(before, len(self.before))[1]
        if lowest <= highest + self.limits.max_reject_rise:
            return self._flood_fault()
        return f"{now} of {len(self._parts)} parts rejected, {before} of {len(self.before)} before"

    def _flood_fault(self) -> str | None:
        # A model that sees its new defect everywhere would stop the line, and the windows above
        # look away from what only it can see.
        now = sum(part.verdict is Verdict.NOT_OK for part in self._parts)
        before = sum(part.verdict is Verdict.NOT_OK for part in self.before)
        limit = max(self.limits.max_reject_ratio, wilson(before, len(self.before))[1])
        if wilson(now, len(self._parts))[0] <= limit:
            return None
        return f"{now} of {len(self._parts)} parts rejected"

    def _latency_fault(self) -> str | None:
        now, before = _median_ms(self._parts), _median_ms(self.before)
        if now is None or before is None or len(self._parts) < min(self.num_parts, 5):
            return None
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


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Bounds of a share that was seen (Wilson 1927), each at 95 %; no trials: anything.

    Returns:
        Lowest and highest share that the figures allow.
    """
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    spread = Z * math.sqrt(share * (1 - share) / trials + Z**2 / (4 * trials**2))
    centre, scale = share + Z**2 / (2 * trials), 1 + Z**2 / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def _disagreement_fault(disagreed: int, seen: int, limits: WindowLimits) -> str | None:
    if seen == 0 or wilson(disagreed, seen)[0] <= limits.max_disagreement_ratio:
        return None
    return f"disagrees with the model before on {disagreed} of {seen} parts"


def _rejects(parts: Iterable[PartFacts], known: Collection[str]) -> int:
    # What only the new model can see explains every other reason on the same part: where it finds
    # a torn label it misses the label.
    return sum(
        part.verdict is Verdict.NOT_OK
        and part.found <= set(known)
        and bool(counted_reasons(part.reasons, known))
        for part in parts
    )


def _median_ms(parts: Iterable[PartFacts]) -> float | None:
    times = [part.inference_ms for part in parts if part.inference_ms > 0]
    return median(times) if times else None
