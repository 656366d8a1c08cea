"""Rules of the station: who may trigger when, what a repeat gets, how views are joined."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import NS_PER_MS
from edge_agent.jobs import Admission, ViewDecision, join_views
from edge_agent.station import Station
from models.contract.messages import (
    Alarm,
    Reason,
    ReasonCode,
    Rejection,
    ResultState,
    StationState,
    Trigger,
    Verdict,
)
from models.contract.recipe import Recipe, View

OK = ViewDecision(Verdict.OK)
BAD = ViewDecision(Verdict.NOT_OK, (Reason(code=ReasonCode.DEFECT, category="scratch"),))
UNSEEN = ViewDecision(Verdict.NOT_DECIDABLE, (Reason(code=ReasonCode.BLACK),))
ALARM = Alarm(code="camera", cause="unplugged", action="plug it in")
MS = NS_PER_MS


def recipe(*views: str) -> Recipe:
    return Recipe(
        recipe_id="plate",
        version=3,
        part_type="plate",
        image_width_px=640,
        image_height_px=512,
        deadline_ms=400,
        views=tuple(View(name=name) for name in views or ("main",)),
    )


def station(*views: str) -> Station:
    made = Station(
        resend_ns=100 * MS, hold_ns=1000 * MS, job_timeout_ns=5000 * MS, num_remembered=10
    )
    made.recipe = recipe(*views)
    return made


def admit(it: Station, trigger_id: str, *, part: str = "p1", view: str = "main") -> Admission:
    trigger = Trigger(trigger_id=trigger_id, part_id=part, recipe_id="plate", view=view)
    return it.admit(trigger, arrived_ns=0)


def inspect(it: Station, trigger_id: str, decision: ViewDecision, **where: str) -> Verdict:
    """One view through the whole handshake."""
    assert admit(it, trigger_id, **where).ack.rejection is None
    result = it.decide(decision, model=None, now_ns=MS)
    assert it.acknowledge(trigger_id)
    return result.verdict


def test_ready_only_between_two_parts() -> None:
    it = station()
    states = [it.state]
    admit(it, "t1")
    states.append(it.state)
    it.decide(OK, model=None, now_ns=0)
    states.append(it.state)
    it.acknowledge("t1")
    states.append(it.state)
    busy = StationState.SINGLE_EXECUTION
    assert states == [StationState.READY, busy, busy, StationState.READY]


def test_station_without_a_recipe_is_preoperational() -> None:
    it = Station(resend_ns=1, hold_ns=1, job_timeout_ns=1)
    assert it.state is StationState.PREOPERATIONAL
    assert admit(it, "t1").ack.rejection is Rejection.NOT_READY


def test_overruns_are_refused_and_counted() -> None:
    it = station()
    admit(it, "t1")
    assert admit(it, "t2").ack.rejection is Rejection.BUSY
    it.decide(OK, model=None, now_ns=0)
    assert admit(it, "t3").ack.rejection is Rejection.RESULT_PENDING
    assert it.num_overruns == 2
    assert it.num_triggers == 1


def test_repeat_before_the_verdict_gets_the_ack_and_starts_nothing() -> None:
    it = station()
    first = admit(it, "t1")
    again = admit(it, "t1")
    assert again.ack == first.ack
    assert again.execution is None
    assert again.result is None
    assert it.num_overruns == 0


def test_repeat_after_the_verdict_gets_the_very_same_result() -> None:
    it = station()
    admit(it, "t1")
    acquired = it.mark_acquired(1)
    result = it.decide(BAD, model=None, now_ns=7 * MS)
    it.acknowledge("t1")
    again = admit(it, "t1")
    assert (again.acquired, again.result) == (acquired, result)
    assert it.state is StationState.READY


def test_refusal_is_for_good_so_that_a_late_duplicate_starts_no_job() -> None:
    it = station()
    admit(it, "t1")
    admit(it, "t2")
    it.decide(OK, model=None, now_ns=0)
    it.acknowledge("t1")
    assert admit(it, "t2").ack.rejection is Rejection.BUSY


@pytest.mark.parametrize(
    ("changes", "rejection"),
    [
        pytest.param({"recipe_id": "cover"}, Rejection.UNKNOWN_RECIPE, id="another recipe"),
        pytest.param({"view": "back"}, Rejection.UNKNOWN_VIEW, id="no such view"),
    ],
)
def test_trigger_must_name_the_selected_recipe_and_its_view(
    changes: dict[str, str], rejection: Rejection
) -> None:
    fields = {"trigger_id": "t1", "part_id": "p1", "recipe_id": "plate"} | changes
    ack = station().admit(Trigger.model_validate(fields), arrived_ns=0).ack
    assert ack.rejection is rejection


def test_deadline_counts_from_the_arrival_and_the_trigger_may_set_its_own() -> None:
    it = station()
    trigger = Trigger(trigger_id="t1", part_id="p1", recipe_id="plate", deadline_ms=50)
    execution = it.admit(trigger, arrived_ns=1000 * MS).execution
    assert execution is not None
    assert execution.deadline_ns == 1050 * MS


def test_fault_drops_ready_and_a_warning_does_not() -> None:
    it = station()
    it.raise_warning(ALARM)
    states = [it.state]
    assert it.raise_fault(ALARM)
    assert not it.raise_fault(ALARM), "the same alarm is not new"
    states.append(it.state)
    assert admit(it, "t1").ack.rejection is Rejection.NOT_READY
    it.clear_fault(ALARM.code)
    states.append(it.state)
    assert states == [StationState.READY, StationState.ERROR, StationState.READY]


def test_halted_station_finishes_its_part_but_takes_no_other() -> None:
    it = station()
    admit(it, "t1")
    it.halt()
    assert it.decide(OK, model=None, now_ns=0).verdict is Verdict.OK
    assert admit(it, "t2").ack.rejection is Rejection.NOT_READY
    it.start()
    it.acknowledge("t1")
    assert it.state is StationState.READY


def test_unacknowledged_result_is_resent_then_given_up() -> None:
    it = station()
    admit(it, "t1")
    result = it.decide(OK, model=None, now_ns=0)
    assert it.due(99 * MS).resend is None
    assert it.due(100 * MS).resend == result
    assert it.due(150 * MS).resend is None, "not again before its time"
    assert it.next_due_ns() == 200 * MS
    assert it.due(850 * MS, may_send=False).resend is None, "not while nobody can hear it"
    assert it.next_due_ns() == 950 * MS
    assert it.due(1000 * MS).given_up == result
    assert it.state is StationState.READY
    assert not it.acknowledge("t1"), "too late"


def test_an_ok_is_not_said_again_after_the_deadline_but_a_rejection_is() -> None:
    for decision, said in ((OK, False), (BAD, True)):
        it = Station(
            resend_ns=100 * MS, hold_ns=10**6 * MS, job_timeout_ns=10**6 * MS, num_remembered=10
        )
        it.recipe = recipe()
        admission = admit(it, "t1")
        assert admission.execution is not None
        it.decide(decision, model=None, now_ns=0)
        assert it.due(100 * MS).resend is not None
        after = admission.execution.deadline_ns + 1
        assert (it.due(after).resend is not None) is said


def test_last_view_carries_the_verdict_on_the_part() -> None:
    it = station("front", "back")
    admit(it, "t1", view="front")
    first = it.decide(BAD, model=None, now_ns=0)
    it.acknowledge("t1")
    admit(it, "t2", view="back")
    last = it.decide(OK, model=None, now_ns=0)
    assert (first.is_partial, last.is_partial) == (True, False)
    assert (last.verdict, last.reasons) == (Verdict.NOT_OK, BAD.reasons)
    assert first.job_id == last.job_id


def test_view_taken_again_counts_in_place_of_the_first() -> None:
    it = station("front", "back")
    inspect(it, "t1", UNSEEN, view="front")
    inspect(it, "t2", OK, view="front")
    assert inspect(it, "t3", OK, view="back") is Verdict.OK


def test_part_without_all_its_views_is_given_up_when_another_comes() -> None:
    it = station("front", "back")
    inspect(it, "t1", OK, view="front")
    assert not it.is_between_jobs
    admission = admit(it, "t2", part="p2", view="front")
    assert admission.aborted is not None
    assert admission.aborted.part_id == "p1"
    assert admission.aborted.missing_views == ("back",)
    assert admission.execution is not None
    assert admission.execution.job.part_id == "p2"


def test_part_whose_views_do_not_come_is_given_up_in_time() -> None:
    it = station("front", "back")
    inspect(it, "t1", OK, view="front")
    assert it.due(4999 * MS).aborted is None
    aborted = it.due(5000 * MS).aborted
    assert aborted is not None
    assert it.is_between_jobs


def test_same_part_may_come_again_as_a_new_job() -> None:
    it = station()
    admit(it, "t1")
    first = it.decide(BAD, model=None, now_ns=0)
    it.acknowledge("t1")
    admit(it, "t2")
    assert it.decide(OK, model=None, now_ns=0).job_id != first.job_id


@pytest.mark.parametrize("where", [{"part": "p2"}, {"view": "back"}])
def test_id_that_stands_for_another_part_or_view_is_refused(where: dict[str, str]) -> None:
    it = station("main", "back")
    inspect(it, "t1", OK)
    admission = admit(it, "t1", **where)
    assert (admission.ack.rejection, admission.result) == (Rejection.ID_REUSED, None)
    assert admit(it, "t1").result is not None, "the right repeat still gets its answer"


def test_id_may_stand_for_another_part_after_its_lifetime() -> None:
    it = Station(resend_ns=1, hold_ns=1, job_timeout_ns=1, remember_ns=100)
    it.recipe = recipe()
    inspect(it, "t1", OK)
    trigger = Trigger(trigger_id="t1", part_id="p2", recipe_id="plate")
    assert it.admit(trigger, arrived_ns=99).ack.rejection is Rejection.ID_REUSED
    assert it.admit(trigger, arrived_ns=100).execution is not None


def test_answer_of_an_earlier_process_is_given_again() -> None:
    before, after = station(), station()
    ack = admit(before, "t1").ack
    acquired = before.mark_acquired(1)
    result = before.decide(BAD, model=None, now_ns=0)
    after.recall(("p1", "main", "plate"), ack, result, at_ns=-50 * MS)
    again = admit(after, "t1")
    assert (again.ack, again.acquired, again.result) == (ack, acquired, result)
    assert again.is_repeat
    assert after.state is StationState.READY


def test_flood_of_refused_triggers_does_not_make_the_running_one_forgotten() -> None:
    it = station()
    admit(it, "t1")
    for number in range(50):
        assert admit(it, f"flood{number}").ack.rejection is Rejection.BUSY
    assert it.decide(OK, model=None, now_ns=0).trigger_id == "t1"
    assert admit(it, "t1").result is not None


def test_memory_of_answers_is_bounded() -> None:
    it = station()
    for number in range(12):
        inspect(it, f"t{number}", OK)
    assert admit(it, "t0").execution is not None, "forgotten: an old id is a new trigger"


VIEW_DECISIONS = st.sampled_from([OK, BAD, UNSEEN])


@given(st.lists(VIEW_DECISIONS, min_size=1, max_size=5))
def test_part_is_ok_only_if_every_view_is(decisions: list[ViewDecision]) -> None:
    joined = join_views(decisions)
    assert (joined.verdict is Verdict.OK) == all(d.verdict is Verdict.OK for d in decisions)
    assert (joined.verdict is Verdict.NOT_OK) == (BAD in decisions)
    assert joined == join_views(decisions[:]), "no hidden state"


def test_failed_view_fails_the_result() -> None:
    failed = ViewDecision(Verdict.NOT_DECIDABLE, (), ResultState.FAILED)
    assert join_views([OK, failed]).result_state is ResultState.FAILED


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["trigger", "decide", "ack", "wait", "halt", "start", "reset", "fault"]),
        st.integers(0, 5),
    ),
    max_size=60,
)


@given(EVENTS)
def test_every_trigger_gets_one_answer_whatever_happens(events: list[tuple[str, int]]) -> None:
    it = station("front", "back")
    acks: dict[str, object] = {}
    results: dict[str, object] = {}
    clock = itertools.count(0, 50 * MS)
    for event, number in events:
        now_ns, trigger_id = next(clock), f"t{number}"
        if event == "trigger":
            view = "front" if number % 2 else "back"
            admission = admit(it, trigger_id, part=f"p{number // 2}", view=view)
            assert acks.setdefault(trigger_id, admission.ack) == admission.ack
            assert admission.result == results.get(trigger_id)
        elif event == "decide" and it.execution is not None:
            result = it.decide(OK, model=None, now_ns=now_ns)
            assert result.trigger_id not in results
            results[result.trigger_id] = result
        elif event == "ack":
            it.acknowledge(trigger_id)
        elif event == "wait":
            it.due(now_ns)
        elif event == "halt":
            it.halt()
        elif event == "start":
            it.start()
        elif event == "reset":
            it.reset()
        elif event == "fault":
            (it.raise_fault(ALARM) if number % 2 else it.clear_fault(ALARM.code))
        assert it.state is not StationState.READY or it.execution is None
