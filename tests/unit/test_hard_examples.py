"""Which pictures a person gets to see, and why."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from uuid import UUID

import numpy as np
import pytest

from edge_agent.agreement import counted_boxes, disagree, mirrored
from edge_agent.hard_examples import has_low_score_under_ok, is_uncertain, is_weak, weakness
from edge_agent.miner import HardExampleRules, Miner
from edge_agent.ports import CycleOutcome, Frame, Image
from models.contract.bundle import ModelRef
from models.contract.messages import HardReason, Verdict
from models.contract.recipe import ExpectedObject, ForbiddenDefect, Recipe, View, Zone
from models.detector.detections import Detections

CATEGORIES = ("bolt", "label", "missing_bolt", "scratch")
BOLT, LABEL, MISSING_BOLT, SCRATCH = range(4)
THRESHOLDS = dict.fromkeys(CATEGORIES, 0.5)
LIMITS = (0.5, 0.5, 0.5, 0.5)
IS_DEFECT = (False, False, True, True)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
VIEW = View(
    expected=(
        ExpectedObject(name="bolts", category="bolt", count=2),
        ExpectedObject(
            name="label", category="label", zone=Zone(x=100, y=100, width=100, height=50)
        ),
    ),
    forbidden=(ForbiddenDefect(category="missing_bolt"), ForbiddenDefect(category="scratch")),
)
RECIPE = Recipe(
    recipe_id="plate",
    version=1,
    part_type="plate",
    image_width_px=320,
    image_height_px=256,
    views=(VIEW,),
)
BOLT_BOXES = ((20, 20, 40, 40), (280, 20, 300, 40))
LABEL_BOX = (110, 105, 190, 145)
SURE_PART = ((BOLT, 0.95, BOLT_BOXES[0]), (BOLT, 0.94, BOLT_BOXES[1]), (LABEL, 0.93, LABEL_BOX))
QUIET = HardExampleRules(audit_ratio=0.0, reject_ratio=0.0)
Found = tuple[int, float, tuple[float, float, float, float]]


class ManualClock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def detections(found: Sequence[Found], embedding: Sequence[float] = (1.0, 2.0)) -> Detections:
    ranked = sorted(found, key=lambda item: -item[1])
    return Detections(
        boxes=np.array([box for *_, box in ranked], np.float32).reshape(-1, 4),
        scores=np.array([score for _, score, _ in ranked], np.float32),
        class_ids=np.array([class_id for class_id, *_ in ranked], np.int64),
        embedding=np.array(embedding, np.float32),
    )


@cache
def plate(seed: int = 0) -> Image:
    """A noisy picture with two bright bolts and a striped label."""
    rng = np.random.default_rng(seed)
    image = rng.normal(90, 6, (256, 320, 3))
    for x1, y1, x2, y2 in BOLT_BOXES:
        image[y1:y2, x1:x2] += 60
    image[105:145, 110:190] += 100
    image[110:140:6, 115:185] -= 120
    image[int(rng.integers(60, 90)) :, :] += rng.normal(0, 8)
    image[200:240, 40 + 2 * (seed % 100) :][:, :30] += 50  # never in the same place twice
    return image.clip(0, 255).astype(np.uint8)


def cycle(
    found: Sequence[Found] = SURE_PART,
    verdict: Verdict = Verdict.OK,
    *,
    image: Image | None = None,
    bundle_id: str = "0" * 16,
) -> CycleOutcome:
    return CycleOutcome(
        result_id=UUID(int=1),
        job_id=UUID(int=2),
        trigger_id="T1",
        part_id="P1",
        recipe=RECIPE,
        view=VIEW,
        verdict=verdict,
        reasons=(),
        decided_at=NOON,
        model=ModelRef(release=1, bundle_id=bundle_id, name="plate"),
        categories=CATEGORIES,
        thresholds=THRESHOLDS,
        frame=Frame(plate() if image is None else image, frame_id=1, captured_at=NOON),
        detections=detections(found),
    )


def make_miner(rules: HardExampleRules = QUIET, clock: ManualClock | None = None) -> Miner:
    return Miner(rules, monotonic_ns=clock or ManualClock(), seed=7)


# --- reasons ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "uncertain"),
    [
        pytest.param((), False, id="nothing found"),
        pytest.param((0.95, 0.02), False, id="sure, and noise"),
        pytest.param((0.6,), True, id="just above its threshold"),
        pytest.param((0.35,), True, id="just below its threshold"),
        pytest.param((0.99,) * 9 + (0.45,), True, id="one doubtful box among nine sure ones"),
    ],
)
def test_one_box_near_its_threshold_is_enough(scores: Sequence[float], uncertain: bool) -> None:
    found = detections([(BOLT, score, BOLT_BOXES[0]) for score in scores])
    assert is_uncertain(found, LIMITS, band=0.2, low_score=0.1) is uncertain


@pytest.mark.parametrize(
    ("verdict", "found", "suspicious"),
    [
        pytest.param(Verdict.OK, [(SCRATCH, 0.15, LABEL_BOX)], True, id="weak scratch, passed"),
        pytest.param(Verdict.OK, [(BOLT, 0.15, LABEL_BOX)], False, id="weak bolt is no suspicion"),
        pytest.param(Verdict.OK, [(SCRATCH, 0.05, LABEL_BOX)], False, id="noise"),
        pytest.param(Verdict.NOT_OK, [(SCRATCH, 0.15, LABEL_BOX)], False, id="rejected anyway"),
    ],
)
def test_suspicion_of_a_defect_under_an_ok_is_kept(
    verdict: Verdict, found: list[Found], suspicious: bool
) -> None:
    found_low = has_low_score_under_ok(
        verdict, detections(found), LIMITS, is_defect=IS_DEFECT, low_score=0.1
    )
    assert found_low is suspicious


@pytest.mark.parametrize(
    ("found", "weak"),
    [
        pytest.param([(LABEL, 0.93, LABEL_BOX)], False, id="clearly there"),
        pytest.param([(LABEL, 0.6, LABEL_BOX)], True, id="counts, but only just"),
        pytest.param([(LABEL, 0.93, (0, 0, 50, 50))], True, id="clear, but somewhere else"),
        pytest.param([], True, id="an empty answer looks easy and is not"),
    ],
)
def test_expected_object_with_a_low_score_or_none_is_kept(found: list[Found], weak: bool) -> None:
    label = VIEW.expected[1]
    strength = weakness(label, detections(found), LABEL, threshold=0.5)
    assert is_weak(strength, band=0.2) is weak


def test_the_weakest_of_several_expected_objects_decides() -> None:
    found = detections([(BOLT, 0.95, BOLT_BOXES[0]), (BOLT, 0.55, BOLT_BOXES[1])])
    strength = weakness(VIEW.expected[0], found, BOLT, threshold=0.5)
    assert strength == pytest.approx(-0.05)
    assert is_weak(strength, band=0.2)


def test_two_looks_disagree_when_one_sees_a_box_that_the_other_does_not() -> None:
    with_scratch = [*SURE_PART, (SCRATCH, 0.8, (200.0, 200.0, 240.0, 210.0))]
    first = counted_boxes(detections(SURE_PART), CATEGORIES, THRESHOLDS)
    second = counted_boxes(detections(with_scratch), CATEGORIES, THRESHOLDS)
    assert not disagree(first, first)
    assert disagree(first, second)
    assert disagree(second, first)


def test_a_newly_learned_category_is_no_disagreement() -> None:
    old = counted_boxes(detections(SURE_PART), CATEGORIES, THRESHOLDS)
    new = {**old, "torn_label": old["label"]}
    assert not disagree(old, new, known_to_both=CATEGORIES)


def test_mirror_image_is_put_back_before_it_is_compared() -> None:
    flipped = [(c, s, (320 - x2, y1, 320 - x1, y2)) for c, s, (x1, y1, x2, y2) in SURE_PART]
    back = mirrored(detections(flipped), 320)
    here = counted_boxes(detections(SURE_PART), CATEGORIES, THRESHOLDS)
    assert not disagree(here, counted_boxes(back, CATEGORIES, THRESHOLDS))


# --- the miner -------------------------------------------------------------------------------


def test_sure_and_ordinary_part_sends_no_picture() -> None:
    assert make_miner().choose(cycle()) == ()


def test_empty_answer_on_a_defective_part_is_kept() -> None:
    assert make_miner().choose(cycle([], Verdict.OK)) == (HardReason.WEAK_EXPECTED,)


def test_doubtful_box_among_sure_ones_is_kept() -> None:
    doubtful = [*SURE_PART, (BOLT, 0.45, (60.0, 200.0, 80.0, 220.0))]
    assert make_miner().choose(cycle(doubtful)) == (HardReason.UNCERTAIN,)


def test_absence_that_a_sure_defect_explains_is_not_kept() -> None:
    found = [SURE_PART[0], SURE_PART[2], (MISSING_BOLT, 0.9, BOLT_BOXES[1])]
    assert make_miner().choose(cycle(found, Verdict.NOT_OK)) == ()


def test_reasons_come_strongest_first() -> None:
    found = [SURE_PART[0], (BOLT, 0.55, BOLT_BOXES[1]), SURE_PART[2], (SCRATCH, 0.2, LABEL_BOX)]
    assert make_miner().choose(cycle(found)) == (
        HardReason.LOW_SCORE_UNDER_OK,
        HardReason.WEAK_EXPECTED,
        HardReason.UNCERTAIN,
    )


def test_torn_label_that_the_model_calls_a_sure_label_is_new() -> None:
    miner = make_miner()
    for seed in range(80):
        assert miner.choose(cycle(image=plate(seed))) == ()
    torn = plate(1000).copy()
    torn[105:145, 160:190] = 90
    assert miner.choose(cycle(image=torn)) == (HardReason.NOVELTY,)


def test_novelty_starts_again_with_another_model() -> None:
    miner = make_miner()
    for seed in range(80):
        miner.choose(cycle(image=plate(seed)))
    torn = plate(1000).copy()
    torn[105:145, 160:190] = 90
    assert miner.choose(cycle(image=torn, bundle_id="1" * 16)) == ()


def test_audit_draws_its_share_of_ok_parts_whatever_the_model_thinks() -> None:
    rules = HardExampleRules(audit_ratio=0.1, reject_ratio=0.0, max_per_hour=100_000)
    miner = make_miner(rules)
    chosen = [HardReason.AUDIT in miner.choose(cycle()) for _ in range(500)]
    assert 30 <= sum(chosen) <= 70


def test_audit_draws_the_same_parts_whether_they_look_doubtful_or_not() -> None:
    rules = HardExampleRules(audit_ratio=0.2, reject_ratio=0.0, max_per_hour=100_000)
    sure, doubtful = make_miner(rules), make_miner(rules)
    weak: list[Found] = [*SURE_PART, (SCRATCH, 0.3, LABEL_BOX)]
    drawn = [HardReason.AUDIT in sure.choose(cycle()) for _ in range(100)]
    assert drawn == [HardReason.AUDIT in doubtful.choose(cycle(weak)) for _ in range(100)]


def test_a_share_of_rejects_is_looked_at() -> None:
    miner = make_miner(HardExampleRules(audit_ratio=0.0, reject_ratio=1.0))
    found = [*SURE_PART, (SCRATCH, 0.95, (200.0, 200.0, 240.0, 210.0))]
    assert miner.choose(cycle(found, Verdict.NOT_OK)) == (HardReason.REJECT,)


def test_the_same_part_again_is_dropped_and_a_different_one_is_not() -> None:
    miner = make_miner()
    rng = np.random.default_rng(3)
    image = plate(1)
    again = (image.astype(int) + rng.normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8)
    other = image.copy()
    other[150:170, 100:120] = 255
    assert miner.choose(cycle([], image=image))
    assert miner.choose(cycle([], image=again)) == ()
    assert miner.choose(cycle([], image=other))


def test_quota_of_a_reason_fills_up_again_with_time() -> None:
    clock = ManualClock()
    miner = make_miner(HardExampleRules(audit_ratio=0, reject_ratio=0, max_per_hour=20), clock)
    kept = sum(bool(miner.choose(cycle([], image=plate(seed)))) for seed in range(10))
    assert kept == 2
    clock.now_ns += 3600 * 10**9 // 20
    assert miner.choose(cycle([], image=plate(11)))


def test_cycle_without_a_picture_gives_no_hard_example() -> None:
    blind = CycleOutcome(
        result_id=UUID(int=1),
        job_id=UUID(int=2),
        trigger_id="T1",
        part_id="P1",
        recipe=RECIPE,
        view=VIEW,
        verdict=Verdict.NOT_DECIDABLE,
        reasons=(),
        decided_at=NOON,
    )
    assert make_miner().choose(blind) == ()


def test_model_that_suspects_everything_sends_only_its_strongest_suspicions() -> None:
    rng = np.random.default_rng(5)
    rules = HardExampleRules(audit_ratio=0, reject_ratio=0, max_ratio=0.05, max_per_hour=10**6)
    miner = make_miner(rules)
    scores = [float(score) for score in rng.uniform(0.15, 0.25, 600)]
    scores[400:600:20] = [0.45] * 10
    kept = []
    for number, score in enumerate(scores):
        found = [*SURE_PART, (SCRATCH, score, LABEL_BOX)]
        image = np.roll(plate(number % 90), number, axis=1)
        if miner.choose(cycle(found, image=image)):
            kept.append(number)
    strong = set(range(400, 600, 20))
    assert strong <= set(kept)
    assert len([number for number in kept if number >= 50]) <= 0.05 * 550 + 20
