"""What the pages Quality, Fleet and Trace show, decided by pure functions."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from cloud.control_chart import Group, p_chart
from cloud.dashboard.fleet_view import FleetState, fleet_view, rollout_view, rules_text
from cloud.dashboard.quality_view import causes, groups_text, p_chart_options, rate_view
from cloud.dashboard.trace import search_of
from cloud.dashboard.wording import UNKNOWN, bytes_text
from cloud.db.tables import Cell, Rollout, RolloutCell, RolloutPhase, RolloutState
from cloud.fleet import RolloutView
from cloud.score_search import ScoreBand
from cloud.settings import PlantSettings, RolloutSettings
from cloud.shifts import stretch_of
from cloud.statistics import pareto_bars, wilson_rate
from models.contract.bundle import ModelRef
from models.contract.messages import (
    DesiredModel,
    FollowMode,
    ModelPhase,
    ReasonCode,
    Reported,
    Verdict,
)

NOW = datetime(2026, 3, 2, 10, 30, tzinfo=UTC)
CELL = "plant/assembly/line1/cell1"


def test_a_rate_without_cases_says_nothing_rather_than_zero() -> None:
    assert rate_view(wilson_rate(0, 0))["value"] == UNKNOWN
    seen = rate_view(wilson_rate(0, 300))
    assert (seen["value"], seen["n"]) == ("0.0 %", 300)
    assert seen["interval"] == "0.0 % to 1.3 %"


def test_the_small_causes_come_together_and_each_leads_to_its_parts() -> None:
    bars = pareto_bars([("defect", f"d{i}", 40 - i) for i in range(12)] + [("blurred", None, 50)])
    rows = causes(bars, {"cell": CELL})
    assert len(rows) == 10
    assert rows[0]["words"] == "Picture is blurred"
    assert rows[0]["href"].endswith("code=blurred")
    assert "category=d0" in rows[1]["href"]
    assert "cell=plant" in rows[1]["href"]
    assert (rows[-1]["words"], rows[-1]["href"]) == ("4 others", "")


def test_a_signal_is_told_by_its_shape_and_a_small_group_is_hollow() -> None:
    groups = [Group(NOW + timedelta(hours=i), bad, 400) for i, bad in enumerate((30, 30, 70))]
    chart = p_chart([*groups, Group(NOW, 1, 5)], bucket_s=3600)
    options = p_chart_options(chart)
    assert options is not None
    marks = options["series"][2]["data"]
    assert [mark["symbol"] for mark in marks] == ["circle", "circle", "diamond", "emptyCircle"]
    assert groups_text(chart) == "4 groups of 1 h; 1 of them (hollow) are too small to be judged"
    assert p_chart_options(p_chart([], bucket_s=60)) is None


def _cell(**reported: object) -> Cell:
    model = ModelRef(release=1, bundle_id="0" * 16, name="plate")
    said = Reported(cell=CELL, boot_id=uuid4(), agent_version="0.1.0", model=model, sent_at=NOW)
    wanted = ModelRef(release=2, bundle_id="1" * 16, name="plate")
    desired = DesiredModel(model=wanted, rollout_id="r2", issued_at=NOW)
    return Cell(
        cell=CELL,
        status={"connection": "online", "station_state": "ready", "num_overruns": 3},
        status_at=NOW,
        reported=said.model_dump(mode="json") | reported,
        mode=FollowMode.FOLLOW,
        desired=desired.model_dump(mode="json"),
    )


def _state(*cells: Cell) -> FleetState:
    return FleetState(NOW, cells, (), (), (), 0)


def test_a_cell_that_is_behind_says_how_far_it_has_come() -> None:
    cell = _cell(phase=ModelPhase.SHADOW, outbox_records=40, outbox_images=2, images_dropped=1)
    view = fleet_view(_state(cell), RolloutSettings())
    [row] = view["cells"]
    assert (row["runs"], row["wanted"], row["is_behind"]) == ("plate r1", "r2", True)
    assert (row["phase"], row["records"], row["dropped"]) == ("shadow", 40, 1)
    assert (view["online"], view["waiting"]) == (1, 42)


def test_a_cell_that_is_heard_looks_the_same_at_every_look() -> None:
    cell = _cell()
    later = FleetState(NOW + timedelta(seconds=3), [cell], (), (), (), 0)
    assert fleet_view(_state(cell), RolloutSettings()) == fleet_view(later, RolloutSettings())


def test_rollouts_say_when_they_go_on_and_when_they_stop() -> None:
    strict = rules_text(RolloutSettings())
    assert "all of a wave's cells" in strict
    assert "any cell fails" in strict
    lenient = rules_text(RolloutSettings(success_ratio=0.9, max_failed_cells=2))
    assert "90 %" in lenient
    assert "more than 2 cells fail" in lenient


def test_waves_are_told_apart_by_more_than_colour() -> None:
    rollout = Rollout(
        rollout_id="r2", release=2, state=RolloutState.RUNNING, waves=[["a"], ["b"]], wave=1,
        wave_started_at=NOW, canary_parts=20, shadow_parts=5, created_at=NOW, created_by="ann",
    )  # fmt: skip
    cells = tuple(
        RolloutCell(rollout_id="r2", cell=cell, wave=wave, phase=phase, updated_at=NOW)
        for cell, wave, phase in (
            ("a", 0, RolloutPhase.ACTIVE),
            ("b", 1, RolloutPhase.SENT),
            ("c", -1, RolloutPhase.SKIPPED),
        )
    )
    view = rollout_view(RolloutView(rollout, cells), NOW)
    assert [(wave["name"], wave["is_done"], wave["is_now"]) for wave in view["waves"]] == [
        ("Canary", True, False),
        ("Wave 2", False, True),
    ]
    assert view["skipped"] == ["c"]


def test_a_search_by_score_asks_for_every_box_of_the_class() -> None:
    search = search_of({"category": "scratch", "low": "0.3", "high": "9"}, NOW)
    assert search.band == ScoreBand("scratch", 0.3, 1.0)
    assert search.wanted.category is None
    plain = search_of({"category": "scratch", "verdict": "not_ok", "code": "defect"}, NOW)
    assert plain.band is None
    assert (plain.wanted.category, plain.wanted.verdict) == ("scratch", Verdict.NOT_OK)
    assert plain.wanted.reason is ReasonCode.DEFECT
    odd = search_of({"verdict": "perhaps", "low": "x", "from": "never", "period": "range"}, NOW)
    assert (odd.wanted.verdict, odd.band, odd.wanted.since) == (None, None, None)


@pytest.mark.parametrize(
    ("period", "since", "until"),
    [
        ("shift", 6, None),
        ("last-shift", -2, 6),
        ("1h", 9.5, None),
        ("", None, None),
    ],
)
def test_stretches_of_time_begin_where_people_expect(
    period: str, since: float | None, until: float | None
) -> None:
    midnight = NOW.replace(hour=0, minute=0)

    def at(hours: float | None) -> datetime | None:
        return None if hours is None else midnight + timedelta(hours=hours)

    assert stretch_of(period, NOW) == (at(since), at(until))


def test_the_plant_says_when_its_shifts_begin_and_in_which_zone() -> None:
    plant = PlantSettings(time_zone="Europe/Berlin", shift_starts=("05:30", "17:30"))
    now = datetime(2026, 3, 29, 8, tzinfo=UTC).astimezone(plant.clock.zone)
    assert plant.clock.shift_start(now) == datetime(2026, 3, 29, 3, 30, tzinfo=UTC)
    # That night the clocks went forward: the shift before it lasted eleven hours.
    last = stretch_of("last-shift", now, starts=plant.shift_starts)
    assert last == (
        datetime(2026, 3, 28, 16, 30, tzinfo=UTC),
        datetime(2026, 3, 29, 3, 30, tzinfo=UTC),
    )
    day, _ = stretch_of("24h", now)
    assert day == datetime(2026, 3, 28, 8, tzinfo=UTC)


def test_sizes_are_told_in_the_unit_that_keeps_them_short() -> None:
    sizes = (0, 999, 1_500, 123_456_789, 2_500_000_000_000)
    assert [bytes_text(size) for size in sizes] == ["0 B", "999 B", "1.5 KB", "123 MB", "2.5 TB"]
