"""What a person's look at a picture is worth: the order of the review queue. Pure."""

from collections.abc import Iterable, Mapping

from models.contract.messages import HardReason

VALUE: Mapping[HardReason, int] = {
    HardReason.CONTRADICTION: 0,  # a known error of the model
    HardReason.WEAK_EXPECTED: 1,
    HardReason.NOVELTY: 1,
    HardReason.UNCERTAIN: 1,
    HardReason.SHADOW_DISAGREEMENT: 1,
    HardReason.FLIP_DISAGREEMENT: 1,
    HardReason.LOW_SCORE_UNDER_OK: 1,
    HardReason.REJECT: 2,
    HardReason.AUDIT: 3,  # mostly good parts: they measure the escape rate, they teach little
}
"""What a look at a picture is worth, by the reason that it was kept for; lower comes first."""
NO_VALUE = 4


def value_of(reasons: Iterable[str]) -> int:
    """What a picture with these reasons is worth; lower comes first."""
    known = {str(reason): value for reason, value in VALUE.items()}
    return min((known.get(reason, NO_VALUE) for reason in reasons), default=NO_VALUE)
