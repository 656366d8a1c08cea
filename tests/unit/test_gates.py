"""Which candidates become releases."""

import json
from pathlib import Path

import pytest

from cloud.gates import (
    Evaluation,
    GateReport,
    RunReport,
    judge,
    lowest_drop,
    read_report,
)
from cloud.settings import GateSettings
from models.contract.model import ContractError
from models.contract.proportions import wilson_interval


def evaluation(
    scores: dict[str, tuple[float, float]], *, boxes: int = 40, p50: float = 8.0
) -> Evaluation:
    """A model measured on 100 pictures; scores are (AP, recall) by category."""
    return Evaluation.model_validate(
        {
            "map50": sum(ap for ap, _ in scores.values()) / len(scores),
            "num_images": 100,
            "per_class": {
                name: {"ap50": ap, "recall": recall, "num_boxes": boxes}
                for name, (ap, recall) in scores.items()
            },
            "latency_ms": {"p50": p50, "p99": 3 * p50},
        }
    )


RUNNING = evaluation({"bolt": (0.98, 0.98), "scratch": (0.90, 0.92), "torn_label": (0.0, 0.0)})
BETTER = evaluation({"bolt": (0.98, 0.97), "scratch": (0.89, 0.90), "torn_label": (0.85, 0.9)})


def gates_for(
    candidate: Evaluation,
    *,
    running: Evaluation | None = RUNNING,
    float_model: Evaluation | None = None,
    limits: GateSettings | None = None,
) -> GateReport:
    report = RunReport.model_validate(
        {"candidate": candidate, "running": running, "float": float_model or candidate}
    )
    return judge(report, limits or GateSettings(), num_golden=3)


def refusing(report: GateReport) -> list[str]:
    return [finding.name for finding in report.findings if not finding.passed]


def test_a_candidate_that_learned_the_new_defect_passes_every_gate() -> None:
    report = gates_for(BETTER)
    assert report.passed
    assert report.reason == ""


def test_first_model_needs_no_running_one() -> None:
    assert gates_for(BETTER, running=None).passed


def test_a_worse_candidate_is_refused_with_both_figures() -> None:
    worse = evaluation({"bolt": (0.98, 0.98), "scratch": (0.5, 0.9), "torn_label": (0.1, 0.1)})
    report = gates_for(worse)
    assert "better overall" in refusing(report)
    assert "mAP@0.5 0.527 against 0.627" in report.reason


@pytest.mark.parametrize(
    ("scratch_ap", "passed"),
    [
        pytest.param(0.88, True, id="mean of old classes down by exactly a hundredth"),
        pytest.param(0.87, False, id="mean of old classes down by more"),
    ],
)
def test_old_classes_may_lose_a_hundredth_on_average(scratch_ap: float, passed: bool) -> None:
    candidate = evaluation(
        {"bolt": (0.98, 0.98), "scratch": (scratch_ap, 0.92), "torn_label": (0.9, 0.9)}
    )
    assert gates_for(candidate).passed is passed


def test_a_drop_in_recall_on_few_boxes_is_sampling_but_on_many_it_is_not() -> None:
    before = {"bolt": (0.98, 0.98), "scratch": (0.90, 0.92), "torn_label": (0.0, 0.0)}
    after = {"bolt": (0.98, 0.98), "scratch": (0.90, 0.80), "torn_label": (0.9, 0.9)}
    few, many = (
        gates_for(evaluation(after, boxes=boxes), running=evaluation(before, boxes=boxes))
        for boxes in (25, 400)
    )
    assert few.passed
    assert refusing(many) == ["recall"]


def test_lowest_drop_counts_the_doubt_in_both_proportions() -> None:
    # Newcombe 1998, table II, method 10: 56/70 against 48/80 gives 0.0524 to 0.3339.
    assert lowest_drop(56 / 70, 70, 48 / 80, 80) == pytest.approx(0.0524, abs=5e-5)
    assert lowest_drop(26 / 27, 27, 24 / 27, 27) < 0


def test_a_candidate_that_forgot_a_category_is_refused() -> None:
    candidate = evaluation({"bolt": (0.99, 0.99), "torn_label": (0.99, 0.99)})
    assert "no longer finds scratch" in gates_for(candidate).reason


def test_quantization_is_judged_per_class_too() -> None:
    float_model = evaluation(
        {"bolt": (0.98, 0.97), "scratch": (0.96, 0.90), "torn_label": (0.80, 0.9)}
    )
    report = gates_for(BETTER, float_model=float_model)
    assert refusing(report) == ["int8"]
    assert "scratch" in report.reason


def test_one_box_lost_to_quantization_is_forgiven_but_not_two() -> None:
    float_model = evaluation({"bolt": (1.0, 1.0), "torn_label": (1.0, 1.0)}, boxes=10)
    one = evaluation({"bolt": (1.0, 1.0), "torn_label": (0.9, 0.9)}, boxes=10)
    two = evaluation({"bolt": (1.0, 1.0), "torn_label": (0.8, 0.8)}, boxes=10)
    assert gates_for(one, running=None, float_model=float_model).passed
    assert refusing(gates_for(two, running=None, float_model=float_model)) == ["int8"]


def test_a_run_that_was_not_judged_on_the_locked_split_is_refused() -> None:
    report = RunReport(candidate=BETTER, float=BETTER, split="val")
    assert refusing(judge(report, GateSettings(), num_golden=1)) == ["enough pictures"]


def test_what_was_not_measured_does_not_pass() -> None:
    report = judge(RunReport(candidate=BETTER), GateSettings(), num_golden=0)
    assert refusing(report) == ["int8", "golden"]


def test_a_slow_model_and_a_tiny_locked_split_are_refused() -> None:
    slow = evaluation({"bolt": (0.99, 0.99)}, p50=80.0)
    report = gates_for(slow, running=None, limits=GateSettings(min_locked_images=101))
    assert refusing(report) == ["enough pictures", "latency"]


def test_wilson_interval_stays_between_zero_and_one() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    low, high = wilson_interval(10, 10)
    assert 0.72 < low < 0.73
    assert high == pytest.approx(1.0)
    assert high <= 1.0


def test_report_is_read_by_its_names_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    body = {"master": "local[2]", "candidate": BETTER.model_dump(), "float": BETTER.model_dump()}
    path.write_text(json.dumps(body))
    assert read_report(path).float_model == BETTER


def test_a_missing_or_broken_report_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"no readable report\.json"):
        read_report(tmp_path / "report.json")
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(ContractError, match="candidate: Field required"):
        read_report(tmp_path / "report.json")


def test_a_candidate_that_ships_in_float_says_so() -> None:
    report = RunReport.model_validate(
        {"candidate": BETTER, "running": RUNNING, "float": BETTER, "precision": "f32"}
    )
    (finding,) = (
        own for own in judge(report, GateSettings(), num_golden=3).findings if own.name == "int8"
    )
    assert finding.passed
    assert "ships in float" in finding.text
