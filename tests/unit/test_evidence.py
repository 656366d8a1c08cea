"""A share is proven to be above a limit, and chance alone hardly ever proves it."""

import numpy as np
import pytest

from edge_agent.evidence import ALPHA, evidence, is_above


@pytest.mark.parametrize(
    ("seen", "trials", "limit", "expected"),
    [
        pytest.param(0, 100, 0.3, False, id="none"),
        pytest.param(3, 5, 0.3, False, id="three of five may be chance"),
        pytest.param(4, 4, 0.3, True, id="four of four are not"),
        pytest.param(30, 100, 0.3, False, id="right at the limit"),
        pytest.param(55, 100, 0.3, True, id="far above it"),
        pytest.param(20, 20, 0.8, True, id="all of twenty against four fifths"),
    ],
)
def test_proof_needs_enough_parts(seen: int, trials: int, limit: float, expected: bool) -> None:
    assert is_above(seen, trials, limit) is expected


def test_evidence_is_the_closed_form_where_there_is_one() -> None:
    # All of n seen: the mean of (p / limit)^n over p from the limit to 1.
    n, limit = 5, 0.3
    exact = (1 - limit ** (n + 1)) / (n + 1) / limit**n / (1 - limit)
    assert evidence(n, n, limit) == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("limit", [0.15, 0.3, 0.8])
def test_asked_after_each_of_100_parts_chance_condemns_at_most_one_in_twenty(limit: float) -> None:
    rng = np.random.default_rng(3)
    seen = np.cumsum(rng.random((400, 100)) < limit, axis=1)
    condemned = sum(
        any(is_above(int(count), number, limit) for number, count in enumerate(row, start=1))
        for row in seen
    )
    # The bound, and three standard errors of 400 tries.
    assert condemned / len(seen) <= ALPHA + 3 * (ALPHA * (1 - ALPHA) / len(seen)) ** 0.5
