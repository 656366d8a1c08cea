from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from models.contract.bundle import ModelRef
from models.contract.messages import ModelPhase, PlcResult, Reported, Trigger, Verdict
from simulators.demo.plan import DemoPlan
from simulators.demo.report import Facts, RecordCounts, build_report, unmet
from simulators.demo.swap_watch import SwapWatch
from simulators.demo.workshop import to_toml
from simulators.handshake import Exchange, PlcStatistics

CELL = "plant1/assembly/line1/cell1"
PLAN = DemoPlan()
SECOND_NS = 1_000_000_000
OLD = ModelRef(release=1, bundle_id="a" * 16, name="plate")
NEW = ModelRef(release=2, bundle_id="b" * 16, name="plate")


def plc(*latencies_ms: float) -> PlcStatistics:
    return PlcStatistics(
        triggers=len(latencies_ms),
        verdicts={},
        refused={},
        missed=0,
        missed_connected=0,
        late=0,
        late_ok=0,
        duplicates=0,
        contradictions=0,
        unknown=0,
        latencies_ms=latencies_ms,
    )


def evaluation(map50: float, **classes: float) -> dict[str, Any]:
    per_class = {name: {"ap50": ap, "num_boxes": 9} for name, ap in classes.items()}
    return {"map50": map50, "per_class": per_class}


def facts(**changes: Any) -> Facts:  # noqa: ANN401 - any of the fields
    run = {
        "snapshot_id": "f" * 16,
        "report": {
            "master": "local[2]",
            "workers": 1,
            "steps": 120,
            "seconds": 200.0,
            "running": evaluation(0.70, bolt=0.99, scratch=0.95, torn_label=0.0),
            "candidate": evaluation(0.90, bolt=0.99, scratch=0.94, torn_label=0.8),
        },
    }
    good = Facts(
        setup_s=3.0,
        first_verdict_s=20.0,
        parts=4,
        plcs={CELL: plc(5.0, 7.0), "other": plc(9.0, 30.0)},
        records=[RecordCounts(CELL, "boot", 6, 6)],
        duplicates=0,
        hard_images={"reject": 3},
        labels=3,
        run=run,
        model_before=OLD.model_dump(mode="json"),
        model_after=NEW.model_dump(mode="json"),
        missed_during_swap=0,
    )
    return replace(good, **changes)


def test_a_good_turn_misses_no_target() -> None:
    report = build_report(facts())
    assert unmet(report, PLAN) == []
    assert report["verdict_ms"] == {"p50": 7.0, "p99": 30.0}
    assert report["retraining"] == {
        "master": "local[2]",
        "workers": 1,
        "steps": 120,
        "seconds": 200.0,
    }


def test_old_classes_are_those_that_the_running_model_found() -> None:
    report = build_report(facts())
    assert report["old_classes_map50_before"] == pytest.approx(0.97)
    assert report["old_classes_map50_after"] == pytest.approx(0.965)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"first_verdict_s": 61.0}, "first verdict", id="slow start"),
        pytest.param({"first_verdict_s": None}, "first verdict", id="no verdict"),
        pytest.param(
            {"records": [RecordCounts(CELL, "boot", 6, 5)]}, "6 records made but 5", id="lost"
        ),
        pytest.param({"records": []}, "records", id="nothing counted is nothing proved"),
        pytest.param({"duplicates": 1}, "duplicates", id="twice"),
        pytest.param({"missed_during_swap": 2}, "2 triggers missed", id="missed"),
        pytest.param({"model_after": None}, "no new model", id="cells differ"),
        pytest.param({"run": None}, "no new model", id="no retraining"),
        pytest.param(
            {"model_after": OLD.model_dump(mode="json")}, "still run", id="nothing changed"
        ),
    ],
)
def test_a_missed_target_is_told_in_one_line(changes: dict[str, Any], words: str) -> None:
    (miss,) = unmet(build_report(facts(**changes)), PLAN)
    assert words in miss
    assert "\n" not in miss


def test_the_gain_counts_exactly_on_the_limit() -> None:
    run = facts().run
    assert run is not None
    run["report"]["candidate"] = evaluation(0.80, bolt=0.99, scratch=0.95, torn_label=0.5)
    assert unmet(build_report(facts(run=run)), PLAN) == []
    run["report"]["candidate"]["map50"] = 0.799
    assert "0.799" in unmet(build_report(facts(run=run)), PLAN)[0]


def reported(phase: ModelPhase, model: ModelRef = OLD) -> Reported:
    return Reported.model_validate(
        {
            "cell": CELL,
            "boot_id": uuid4(),
            "agent_version": "1",
            "model": model,
            "phase": phase,
            "sent_at": "2026-01-01T00:00:00Z",
        }
    )


def exchange(at_s: float, verdict: Verdict | None) -> Exchange:
    trigger = Trigger(trigger_id=f"t{at_s}", part_id="p", recipe_id="r")
    found = Exchange(trigger, int(at_s * SECOND_NS))
    if verdict is None:
        found.is_missed = True
        return found
    found.result = PlcResult(
        trigger_id=trigger.trigger_id,
        result_id=uuid4(),
        job_id=uuid4(),
        part_id="p",
        view="main",
        verdict=verdict,
        recipe_id="r",
        recipe_version=1,
        processing_ms=1,
    )
    return found


def test_only_what_falls_into_the_swap_is_its_doing() -> None:
    watch = SwapWatch()
    watch.on_reported(reported(ModelPhase.ACTIVE), 10 * SECOND_NS)
    watch.on_reported(reported(ModelPhase.DOWNLOADING), 100 * SECOND_NS)
    watch.on_reported(reported(ModelPhase.CANARY, NEW), 110 * SECOND_NS)
    watch.on_reported(reported(ModelPhase.ACTIVE, NEW), 120 * SECOND_NS)
    seen = [
        exchange(50, None),
        exchange(105, Verdict.OK),
        exchange(106, None),
        exchange(111, Verdict.NOT_DECIDABLE),
        exchange(130, None),
    ]
    assert watch.num_swaps(CELL) == 1
    assert watch.missed(CELL, seen) == 2


def test_a_broker_that_is_gone_is_not_the_swaps_doing() -> None:
    watch = SwapWatch()
    watch.on_reported(reported(ModelPhase.SHADOW), 100 * SECOND_NS)
    lost = exchange(105, None)
    lost.connected = False
    assert watch.missed(CELL, [lost]) == 0


def test_a_swap_between_two_reports_is_seen_by_the_model() -> None:
    watch = SwapWatch()
    watch.on_reported(reported(ModelPhase.ACTIVE), 100 * SECOND_NS)
    watch.on_reported(reported(ModelPhase.ACTIVE, NEW), 102 * SECOND_NS)
    assert watch.num_swaps(CELL) == 1


def test_configuration_is_written_as_toml() -> None:
    import tomllib

    document = {"a": {"b": 'x"y', "c": 3, "d": True, "e": ["f", "g"], "h": 0.5}}
    assert tomllib.loads(to_toml(document)) == document
