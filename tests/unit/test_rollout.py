"""How a release spreads over the cells."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from cloud.db.tables import RolloutPhase, RolloutState
from cloud.rollout import CellProgress, Step, WaveLimits, next_step, observe, plan_waves
from models.contract.bundle import ModelRef
from models.contract.messages import ModelPhase, Reported

LIMITS = WaveLimits(wave_timeout_s=60)


def progress(*waves: str) -> list[CellProgress]:
    """Cells by wave, a letter each: w(aiting) s(ent) a(ctive) f(ailed) k (skipped)."""
    phases = {
        "w": RolloutPhase.WAITING,
        "s": RolloutPhase.SENT,
        "a": RolloutPhase.ACTIVE,
        "f": RolloutPhase.FAILED,
        "k": RolloutPhase.SKIPPED,
    }
    return [
        CellProgress(f"c{wave}{place}", wave, phases[letter], "golden check")
        for wave, letters in enumerate(waves)
        for place, letter in enumerate(letters)
    ]


def step(*waves: str, wave: int = 0, age_s: float = 1.0, limits: WaveLimits = LIMITS) -> Step:
    return next_step(progress(*waves), wave=wave, wave_age_s=age_s, limits=limits)


def report(phase: ModelPhase, *, runs: int, wants: int, rollout_id: str | None = "r-1") -> Reported:
    def ref(release: int) -> ModelRef:
        return ModelRef(release=release, bundle_id=f"{release:016x}", name="plate")

    return Reported(
        cell="s/a/l/c",
        boot_id=UUID(int=1),
        agent_version="0.1.0",
        model=ref(runs),
        desired=ref(wants),
        rollout_id=rollout_id,
        phase=phase,
        error="golden check failed" if phase is ModelPhase.FAILED else "",
        sent_at=datetime(2026, 3, 2, tzinfo=UTC),
    )


def test_canary_goes_first_and_the_rest_in_shares() -> None:
    cells = ["c1", "c2", "c3", "c4", "c5"]
    assert plan_waves(cells, canary_cells=1, wave_ratio=1.0) == (("c1",), ("c2", "c3", "c4", "c5"))
    assert plan_waves(cells, canary_cells=1, wave_ratio=0.5) == (
        ("c1",),
        ("c2", "c3"),
        ("c4", "c5"),
    )
    assert plan_waves(cells, canary_cells=9, wave_ratio=0.5) == (tuple(cells),)
    assert plan_waves([], canary_cells=1, wave_ratio=1.0) == ()


def test_a_person_may_choose_the_canary() -> None:
    waves = plan_waves(["c1", "c2", "c3"], canary_cells=1, wave_ratio=1.0, canary=["c3", "gone"])
    assert waves == (("c3",), ("c1", "c2"))


@pytest.mark.parametrize(
    ("waves", "wave", "expected"),
    [
        pytest.param(("w", "ww"), 0, ("running", 0, ("c00",)), id="tell the canary"),
        pytest.param(("s", "ww"), 0, ("running", 0, ()), id="wait for the canary"),
        pytest.param(("a", "ww"), 0, ("running", 1, ("c10", "c11")), id="canary well, go on"),
        pytest.param(("f", "ww"), 0, ("stopped", 0, ()), id="canary failed, nobody else is told"),
        pytest.param(("a", "as"), 1, ("running", 1, ()), id="wait for the last cell"),
        pytest.param(("a", "aa"), 1, ("succeeded", 1, ()), id="all active"),
        pytest.param(("a", "af"), 1, ("stopped", 1, ()), id="late failure stops too"),
        pytest.param(("k", "ww"), 0, ("running", 1, ("c10", "c11")), id="canary was pinned"),
        pytest.param((), 0, ("succeeded", 0, ()), id="no cell follows"),
    ],
)
def test_a_rollout_goes_on_only_after_success(
    waves: tuple[str, ...], wave: int, expected: tuple[str, int, tuple[str, ...]]
) -> None:
    found = step(*waves, wave=wave)
    assert (found.state, found.wave, found.send) == expected


def test_a_stopped_rollout_says_which_cell_failed_and_why() -> None:
    assert step("f", "w").error == "failed on c00: golden check"


def test_tolerated_failures_still_need_the_share_of_active_cells() -> None:
    limits = WaveLimits(success_ratio=0.5, max_failed_cells=1)
    assert step("af", "w", limits=limits).send == ("c10",)
    strict = WaveLimits(success_ratio=1.0, max_failed_cells=1)
    assert step("af", "w", limits=strict).state is RolloutState.STOPPED


def test_a_silent_cell_stops_the_rollout_after_the_timeout() -> None:
    assert step("s", "w", age_s=60).state is RolloutState.RUNNING
    stopped = step("s", "w", age_s=61)
    assert stopped.state is RolloutState.STOPPED
    assert "no success from c00" in stopped.error


@pytest.mark.parametrize(
    ("known", "said", "phase"),
    [
        pytest.param("sent", None, "sent", id="silence"),
        pytest.param("sent", report(ModelPhase.ACTIVE, runs=2, wants=2), "active", id="runs it"),
        pytest.param("sent", report(ModelPhase.ACTIVE, runs=1, wants=1), "sent", id="not yet"),
        pytest.param("sent", report(ModelPhase.CANARY, runs=2, wants=2), "sent", id="on trial"),
        pytest.param("sent", report(ModelPhase.FAILED, runs=1, wants=2), "failed", id="failed"),
        pytest.param(
            "sent", report(ModelPhase.ROLLED_BACK, runs=1, wants=2), "failed", id="went back"
        ),
        pytest.param(
            "sent",
            report(ModelPhase.FAILED, runs=1, wants=2, rollout_id="r-0"),
            "sent",
            id="failure of an earlier try",
        ),
        pytest.param(
            "waiting", report(ModelPhase.FAILED, runs=1, wants=2), "waiting", id="not told yet"
        ),
        pytest.param(
            "active",
            report(ModelPhase.ROLLED_BACK, runs=1, wants=2),
            "failed",
            id="failed after it was active",
        ),
    ],
)
def test_a_report_counts_only_for_the_rollout_it_speaks_of(
    known: str, said: Reported | None, phase: str
) -> None:
    assert observe(RolloutPhase(known), said, rollout_id="r-1", release=2)[0] == phase
