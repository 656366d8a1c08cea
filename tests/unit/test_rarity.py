"""The strongest few in a hundred, whatever the numbers mean."""

import pytest

from edge_agent.rarity import MIN_SEEN, Rarity


def filled(*strengths: float) -> Rarity:
    rarity = Rarity()
    for strength in strengths:
        rarity.take_in(strength, share=0.05)
    return rarity


@pytest.mark.parametrize(
    ("strength", "is_rare"),
    [
        pytest.param(99.5, True, id="stronger than all"),
        pytest.param(96.0, True, id="among the strongest five"),
        pytest.param(95.0, False, id="the sixth strongest"),
    ],
)
def test_share_of_the_last_pictures_decides(strength: float, is_rare: bool) -> None:
    assert filled(*range(100)).take_in(strength, share=0.05) is is_rare


def test_what_everybody_has_is_not_rare() -> None:
    assert not filled(*[0.0] * 100).take_in(0.0, share=0.9)


def test_few_pictures_say_nothing_about_shares() -> None:
    assert filled(*[1.0] * (MIN_SEEN - 1)).take_in(1.0, share=0.05)


def test_strengths_of_long_ago_are_forgotten() -> None:
    assert filled(*[9.0] * 100, *[1.0] * 500).take_in(2.0, share=0.01)
