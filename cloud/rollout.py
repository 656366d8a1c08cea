"""How a release spreads over the cells: pure rules for waves.

The first wave is the canary. A wave is done when enough of its cells report the release as active;
then the next one starts. Too many failed cells, or a wave that takes too long, stop the rollout:
cells that run the release well keep it, cells that failed have gone back by themselves, the others
were never told.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cloud.db.tables import RolloutPhase, RolloutState
from models.contract.messages import ModelPhase, Reported

Waves = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class WaveLimits:
    """When a wave is good enough, and when the rollout has gone wrong."""

    success_ratio: float = 1.0
    """Share of a wave's cells that must be active before the next wave starts."""
    max_failed_cells: int = 0
    """More failed cells than this, in all waves together, stop the rollout."""
    wave_timeout_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class CellProgress:
    """Where one cell stands."""

    cell: str
    wave: int
    phase: RolloutPhase
    error: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """What happens next.

    Attributes:
        state: Of the whole rollout.
        wave: The wave that runs from now on.
        send: Cells that must be told now.
        error: Why it stopped.
    """

    state: RolloutState
    wave: int
    send: tuple[str, ...] = ()
    error: str = ""


def plan_waves(
    cells: Sequence[str], *, canary_cells: int, wave_ratio: float, canary: Iterable[str] = ()
) -> Waves:
    """Divide cells into waves.

    Args:
        cells: All cells that follow, the preferred canaries first.
        canary_cells: Size of the first wave.
        wave_ratio: Share of the cells after the canary in each further wave, ``(0, 1]``.
        canary: Cells that form the first wave instead; others than ``cells`` are ignored.
    """
    chosen = tuple(cell for cell in cells if cell in set(canary)) or tuple(cells[:canary_cells])
    rest = [cell for cell in cells if cell not in chosen]
    size = max(1, math.ceil(len(rest) * wave_ratio))
    later = (tuple(rest[start : start + size]) for start in range(0, len(rest), size))
    return tuple(wave for wave in (chosen, *later) if wave)


def observe(
    known: RolloutPhase, reported: Reported | None, *, rollout_id: str, release: int
) -> tuple[RolloutPhase, str]:
    """What a cell's report says about one rollout.

    A report that speaks of another rollout says nothing about this one; a cell that runs the
    release already is done, whoever brought it there.

    Returns:
        The phase and, for a failure, the cell's own words.
    """
    if known in {RolloutPhase.WAITING, RolloutPhase.SKIPPED} or reported is None:
        return known, ""
    runs = reported.model.release if reported.model else None
    if runs == release and reported.phase is ModelPhase.ACTIVE:
        return RolloutPhase.ACTIVE, ""
    wanted = reported.desired.release if reported.desired else None
    is_about_this = reported.rollout_id == rollout_id if reported.rollout_id else wanted == release
    if is_about_this and reported.phase in {ModelPhase.FAILED, ModelPhase.ROLLED_BACK}:
        return RolloutPhase.FAILED, reported.error or str(reported.phase)
    return (known if known is RolloutPhase.ACTIVE else RolloutPhase.SENT), ""


def next_step(
    cells: Sequence[CellProgress], *, wave: int, wave_age_s: float, limits: WaveLimits
) -> Step:
    """Decide how a running rollout goes on.

    Args:
        cells: Every cell of the rollout.
        wave: Index of the wave that runs.
        wave_age_s: Time since it started.
        limits: When it is good enough, and when not.
    """
    failed = [cell for cell in cells if cell.phase is RolloutPhase.FAILED]
    if len(failed) > limits.max_failed_cells:
        causes = "; ".join(f"{cell.cell}: {cell.error}" for cell in failed)
        return Step(RolloutState.STOPPED, wave, error=f"failed on {causes}")
    own = [cell for cell in cells if cell.wave == wave and cell.phase is not RolloutPhase.SKIPPED]
    waiting = _waiting(cells, wave)
    if waiting:
        return Step(RolloutState.RUNNING, wave, send=waiting)
    num_active = sum(cell.phase is RolloutPhase.ACTIVE for cell in own)
    if num_active >= limits.success_ratio * len(own):
        if wave >= max((cell.wave for cell in cells), default=0):
            return Step(RolloutState.SUCCEEDED, wave)
        return Step(RolloutState.RUNNING, wave + 1, send=_waiting(cells, wave + 1))
    error = _why_stuck(own, wave, wave_age_s, limits)
    return Step(RolloutState.STOPPED if error else RolloutState.RUNNING, wave, error=error)


def _waiting(cells: Iterable[CellProgress], wave: int) -> tuple[str, ...]:
    return tuple(
        cell.cell for cell in cells if cell.wave == wave and cell.phase is RolloutPhase.WAITING
    )


def _why_stuck(
    own: Sequence[CellProgress], wave: int, wave_age_s: float, limits: WaveLimits
) -> str:
    pending = [cell.cell for cell in own if cell.phase is RolloutPhase.SENT]
    if not pending:
        num_active = sum(cell.phase is RolloutPhase.ACTIVE for cell in own)
        return f"wave {wave + 1}: only {num_active} of {len(own)} cells run the release"
    if wave_age_s > limits.wave_timeout_s:
        return (
            f"wave {wave + 1} took longer than {limits.wave_timeout_s:g} s:"
            f" no success from {', '.join(pending)}"
        )
    return ""
