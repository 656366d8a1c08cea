"""When poor pictures are no longer a matter of one part."""

import pytest

from edge_agent.picture_watch import ACTIONS, MAX_POOR, PictureWatch
from models.contract.messages import Reason, ReasonCode


def reason(code: ReasonCode) -> tuple[Reason, ...]:
    return (Reason(code=code, text=f"{code} it is"),)


@pytest.mark.parametrize("code", ACTIONS, ids=str)
def test_third_poor_picture_in_a_row_is_an_alarm_with_cause_and_action(code: ReasonCode) -> None:
    watch = PictureWatch()
    alarms = [watch.take_in(reason(code)) for _ in range(MAX_POOR + 1)]
    assert alarms[: MAX_POOR - 1] == [None] * (MAX_POOR - 1)
    assert all(alarm and alarm.cause == f"{code} it is" for alarm in alarms[MAX_POOR - 1 :])
    assert not watch.is_well
    assert watch.is_frozen(reason(code)) is (code is ReasonCode.FROZEN)


def test_picture_that_could_be_judged_starts_the_count_again() -> None:
    watch = PictureWatch()
    for _ in range(MAX_POOR - 1):
        watch.take_in(reason(ReasonCode.BLACK))
    assert watch.take_in(reason(ReasonCode.NO_FRAME)) is None
    assert not watch.is_well, "a part that nobody saw proves nothing"
    assert watch.take_in(reason(ReasonCode.DEFECT)) is None
    assert watch.is_well
    assert watch.take_in(reason(ReasonCode.BLACK)) is None
