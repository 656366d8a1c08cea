import pytest

from cloud.agreement import NOTHING, NamedBox, SecondReview, cohens_kappa, compare

BOLT: NamedBox = ("bolt", (10, 10, 20, 20))
NEAR: NamedBox = ("bolt", (12, 10, 20, 20))
FAR: NamedBox = ("bolt", (60, 60, 20, 20))


@pytest.mark.parametrize(
    ("first", "second", "pairs"),
    [
        pytest.param([], [], [], id="both say that nothing is there"),
        pytest.param([BOLT], [NEAR], [("bolt", "bolt")], id="the same box"),
        pytest.param([BOLT], [("screw", BOLT[1])], [("bolt", "screw")], id="called something else"),
        pytest.param([BOLT], [FAR], [("bolt", NOTHING), (NOTHING, "bolt")], id="boxes far apart"),
        pytest.param([BOLT], [], [("bolt", NOTHING)], id="missed by the second"),
        pytest.param(
            [BOLT, ("scratch", BOLT[1])],
            [("scratch", BOLT[1]), BOLT],
            [("bolt", "bolt"), ("scratch", "scratch")],
            id="two boxes in one place go by their names",
        ),
        pytest.param([BOLT], [NEAR, BOLT], [("bolt", "bolt"), (NOTHING, "bolt")], id="drawn twice"),
    ],
)
def test_boxes_are_matched_one_to_one(
    first: list[NamedBox], second: list[NamedBox], pairs: list[tuple[str, str]]
) -> None:
    found = compare(first, second)
    assert sorted(found.pairs) == sorted(pairs)
    assert found.is_agreed == all(one == other for one, other in pairs)


def test_half_an_overlap_is_the_same_box_and_less_is_not() -> None:
    half = [("bolt", (0.0, 0.0, 10.0, 5.0))]
    assert compare([("bolt", (0, 0, 10, 10))], half).mean_iou == 0.5
    assert compare([("bolt", (0, 0, 10, 10.1))], half).mean_iou is None


def test_kappa_is_that_of_the_textbook() -> None:
    # Cohen 1960: 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert cohens_kappa(pairs) == pytest.approx(0.4)


def test_kappa_of_nothing_and_of_one_word_is_unknown() -> None:
    assert cohens_kappa([]) is None
    assert cohens_kappa([("bolt", "bolt")] * 9) is None


def test_the_share_of_second_looks_is_kept_and_stays_for_each_picture() -> None:
    policy = SecondReview(share=0.2)
    wanted = [policy.wanted(f"{number:064x}", ()) for number in range(2000)]
    assert 0.17 < sum(wanted) / 2000 < 0.23
    assert wanted == [policy.wanted(f"{number:064x}", ()) for number in range(2000)]


def test_a_class_of_the_policy_always_gets_a_second_look() -> None:
    policy = SecondReview(categories=frozenset({"torn_label"}))
    assert policy.wanted("ab", ["bolt", "torn_label"])
    assert not policy.wanted("ab", ["bolt"])
    assert not SecondReview().wanted("ab", ["bolt", "torn_label"])
