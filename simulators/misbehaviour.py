"""Every way in which a PLC can break the handshake, and what the cell must do about each.

``sightline-sim plc --misbehave all`` plays them against a running cell, between well behaved parts.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from uuid import uuid4

from models.contract.messages import Command, CommandKind, PlcResult, Rejection, Verdict
from models.contract.topics import Channel
from simulators.probe import PlcProbe

PATIENCE_S = 15.0
"""A result that nobody acknowledges is held 5 s by default; a loaded machine adds to it."""
SILENCE_S = 1.2
"""Longer than a held result takes to be sent again."""
HEARTBEAT_S = 3.0
OVERRUNS = {Rejection.BUSY, Rejection.RESULT_PENDING}
NUM_FLOOD = 300
"""At once; a broker keeps 1,000 for each client by default, and drops what is beyond that."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one misbehaviour."""

    name: str
    must: str
    """What the cell must do."""
    faults: tuple[str, ...]
    """What it did not do; empty: it did all of it."""


class Cell:
    """The cell under test: what it owes is noted when it does not come."""

    def __init__(self, plc: PlcProbe) -> None:
        self.plc = plc
        self.faults: list[str] = []

    def owes(self, text: str, *, kept: bool) -> None:
        """Note a debt that was not paid."""
        if not kept:
            self.faults.append(text)

    def takes(self, trigger_id: str) -> None:
        """It accepts the trigger."""
        self.owes("an ack that accepts", kept=self._rejection(trigger_id) is None)

    def refuses(self, trigger_id: str, *rejections: Rejection) -> None:
        """It refuses the trigger for one of these reasons, and judges nothing."""
        said = self._rejection(trigger_id)
        self.owes(f"a refusal ({' or '.join(rejections)}), not {said}", kept=said in rejections)

    def answers(self, trigger_id: str, *, times: int = 1) -> PlcResult | None:
        """It sends the result so often, always the same one."""
        came = self.plc.wait(lambda: len(self._results(trigger_id)) >= times, PATIENCE_S)
        results = self._results(trigger_id)
        self.owes(f"a result {times} times, not {len(results)}", kept=came)
        self.owes("the very same result each time", kept=len(set(results)) <= 1)
        return results[0] if results else None

    def is_silent_about(self, trigger_id: str) -> None:
        """It sends no more results."""
        before = len(self._results(trigger_id))
        came = self.plc.wait(lambda: len(self._results(trigger_id)) > before, SILENCE_S)
        self.owes("silence after result_ack", kept=not came)

    def is_ready(self) -> None:
        """It takes the next part."""
        self.owes("Ready", kept=self.plc.wait_ready(PATIENCE_S))

    def judges_a_part(self) -> PlcResult | None:
        """A well behaved part goes through."""
        self.is_ready()
        trigger_id = self.plc.trigger()
        self.takes(trigger_id)
        result = self.answers(trigger_id)
        self.plc.acknowledge(trigger_id)
        self.is_ready()
        return result

    def _rejection(self, trigger_id: str) -> Rejection | str | None:
        self.plc.wait(lambda: bool(self.plc.answers(trigger_id).acks), PATIENCE_S)
        acks = self.plc.answers(trigger_id).acks
        return acks[0].rejection if acks else "no ack"

    def _results(self, trigger_id: str) -> list[PlcResult]:
        return self.plc.answers(trigger_id).results


Play = Callable[[Cell, PlcProbe], None]


def misbehave(plc: PlcProbe, names: Iterable[str]) -> Iterator[Finding]:
    """Play them one after the other; each begins and ends with a good part."""
    for name in names:
        must, play = MISBEHAVIOURS[name]
        cell = Cell(plc)
        cell.judges_a_part()
        play(cell, plc)
        cell.judges_a_part()
        yield Finding(name, must, tuple(cell.faults))


def _never_acks(cell: Cell, plc: PlcProbe) -> None:
    trigger_id = plc.trigger()
    cell.answers(trigger_id, times=3)
    cell.refuses(plc.trigger(), Rejection.RESULT_PENDING)
    alarmed = plc.wait(lambda: "no_result_ack" in plc.alarm_codes, PATIENCE_S)
    cell.owes("the alarm no_result_ack", kept=alarmed)


def _acks_late(cell: Cell, plc: PlcProbe) -> None:
    trigger_id = plc.trigger()
    cell.answers(trigger_id, times=2)
    plc.acknowledge(trigger_id)
    cell.is_ready()
    cell.is_silent_about(trigger_id)


def _acks_another(cell: Cell, plc: PlcProbe) -> None:
    trigger_id = plc.trigger()
    cell.answers(trigger_id)
    plc.acknowledge(uuid4().hex)
    cell.answers(trigger_id, times=len(plc.answers(trigger_id).results) + 1)
    plc.acknowledge(trigger_id)


def _acks_twice(cell: Cell, plc: PlcProbe) -> None:
    trigger_id = plc.trigger()
    cell.answers(trigger_id)
    plc.acknowledge(trigger_id)
    plc.acknowledge(trigger_id)
    cell.is_silent_about(trigger_id)


def _acks_early(cell: Cell, plc: PlcProbe) -> None:
    trigger_id = uuid4().hex
    plc.acknowledge(trigger_id)
    plc.trigger(trigger_id)
    cell.answers(trigger_id)
    plc.acknowledge(trigger_id)


def _repeats_at_once(cell: Cell, plc: PlcProbe) -> None:
    trigger_id = uuid4().hex
    for _ in range(3):
        plc.trigger(trigger_id, part_id="repeated")
    cell.answers(trigger_id)
    cell.owes(
        "three acks with one acquisition_id",
        kept=plc.wait(lambda: len(plc.answers(trigger_id).acks) == 3, PATIENCE_S)
        and len({ack.acquisition_id for ack in plc.answers(trigger_id).acks}) == 1,
    )
    plc.acknowledge(trigger_id)


def _repeats_later(cell: Cell, plc: PlcProbe) -> None:
    trigger_id = plc.trigger(part_id="repeated")
    cell.answers(trigger_id)
    plc.acknowledge(trigger_id)
    cell.is_ready()
    before = plc.status.num_triggers if plc.status else 0
    plc.trigger(trigger_id, part_id="repeated")
    cell.answers(trigger_id, times=2)
    again = cell.judges_a_part()
    after = plc.status.num_triggers if plc.status else 0
    cell.owes("no second capture", kept=again is None or after == before + 1)


def _triggers_while_busy(cell: Cell, plc: PlcProbe) -> None:
    before = plc.status.num_overruns if plc.status else 0
    first, second = plc.trigger(), plc.trigger()
    cell.takes(first)
    cell.refuses(second, *OVERRUNS)
    cell.answers(first)
    plc.acknowledge(first)
    counted = plc.wait(lambda: bool(plc.status and plc.status.num_overruns > before), PATIENCE_S)
    cell.owes("the overrun counted", kept=counted)


def _floods(cell: Cell, plc: PlcProbe) -> None:
    first = plc.trigger()
    for _ in range(NUM_FLOOD):
        plc.trigger()
    cell.answers(first)
    plc.acknowledge(first)


def _reuses_an_id(cell: Cell, plc: PlcProbe) -> None:
    trigger_id = plc.trigger(part_id="first")
    cell.answers(trigger_id)
    plc.acknowledge(trigger_id)
    cell.is_ready()
    plc.trigger(trigger_id, part_id="second")
    refused = plc.wait(
        lambda: any(a.rejection is Rejection.ID_REUSED for a in plc.answers(trigger_id).acks),
        PATIENCE_S,
    )
    cell.owes("a refusal (id_reused)", kept=refused)
    named = {result.part_id for result in plc.answers(trigger_id).results}
    cell.owes("no verdict for the second part", kept=named == {"first"})


def _names_another_recipe(cell: Cell, plc: PlcProbe) -> None:
    cell.refuses(plc.trigger(recipe_id="not-selected"), Rejection.UNKNOWN_RECIPE)


def _names_another_view(cell: Cell, plc: PlcProbe) -> None:
    cell.refuses(plc.trigger(view="no-such-view"), Rejection.UNKNOWN_VIEW)


def _sends_garbage(cell: Cell, plc: PlcProbe) -> None:
    for payload in (b"", b"\xff\xfe{", b"[" * 5_000, b'{"trigger_id": NaN}'):
        for channel in (Channel.TRIGGER, Channel.RESULT_ACK, Channel.COMMAND):
            plc.send(channel, payload)
    trigger_id = uuid4().hex
    plc.send(Channel.TRIGGER, b'{"trigger_id": "%s", "part_id": 7}' % trigger_id.encode())
    cell.refuses(trigger_id, Rejection.MALFORMED)


def _gives_no_time(cell: Cell, plc: PlcProbe) -> None:
    sent_at = time.monotonic()
    trigger_id = plc.trigger(deadline_ms=10)
    result = cell.answers(trigger_id)
    late_ms = (time.monotonic() - sent_at) * 1000
    plc.acknowledge(trigger_id)
    is_late_ok = result is not None and result.verdict is Verdict.OK and result.processing_ms > 10
    cell.owes(f"no OK after its deadline ({late_ms:.0f} ms)", kept=not is_late_ok)


def _loses_its_connection(cell: Cell, plc: PlcProbe) -> None:
    trigger_id = plc.trigger()
    plc.reconnect()
    cell.answers(trigger_id)
    plc.acknowledge(trigger_id)


def _selects_during_a_part(cell: Cell, plc: PlcProbe) -> None:
    trigger_id = plc.trigger()
    command_id = uuid4().hex
    plc.command(
        Command(command_id=command_id, kind=CommandKind.SELECT_RECIPE, recipe_id=plc.recipe_id)
    )
    came = plc.wait(lambda: bool(plc.command_acks(command_id)), PATIENCE_S)
    refused = came and not plc.command_acks(command_id)[0].accepted
    cell.owes("a command_ack that refuses", kept=refused)
    cell.answers(trigger_id)
    plc.acknowledge(trigger_id)


def _repeats_a_command(cell: Cell, plc: PlcProbe) -> None:
    command = Command(command_id=uuid4().hex, kind=CommandKind.RESET)
    for _ in range(2):
        plc.command(command)
    answered = plc.wait(lambda: len(plc.command_acks(command.command_id)) == 2, PATIENCE_S)
    cell.owes("two command_acks", kept=answered)
    cell.owes("the same command_ack", kept=len(set(plc.command_acks(command.command_id))) == 1)


def _listens_for_the_heartbeat(cell: Cell, plc: PlcProbe) -> None:
    before = len(plc.heard_at)
    came = plc.wait(lambda: len(plc.heard_at) >= before + 3, 3 * HEARTBEAT_S)
    cell.owes("a state message at least every 3 s", kept=came)


MISBEHAVIOURS: dict[str, tuple[str, Play]] = {
    "never_acks": ("resend, hold, refuse other triggers, then give up and alarm", _never_acks),
    "acks_late": ("resend until result_ack, then be silent", _acks_late),
    "acks_another": ("go on resending", _acks_another),
    "acks_twice": ("ignore the second result_ack", _acks_twice),
    "acks_early": ("ignore a result_ack that comes before its result", _acks_early),
    "repeats_at_once": ("the same ack each time, one capture, one result", _repeats_at_once),
    "repeats_later": ("the stored answer, no second capture", _repeats_later),
    "triggers_while_busy": ("refuse at once, count an overrun", _triggers_while_busy),
    "floods": ("answer the first trigger all the same", _floods),
    "reuses_an_id": ("refuse (id_reused), never the first part's verdict", _reuses_an_id),
    "names_another_recipe": ("refuse (unknown_recipe)", _names_another_recipe),
    "names_another_view": ("refuse (unknown_view)", _names_another_view),
    "sends_garbage": ("refuse (malformed) where an id can be read, else ignore", _sends_garbage),
    "gives_no_time": ("NOT_DECIDABLE rather than a late OK", _gives_no_time),
    "loses_its_connection": ("hold the result until the PLC is back", _loses_its_connection),
    "selects_during_a_part": ("refuse the command, finish the part", _selects_during_a_part),
    "repeats_a_command": ("the same command_ack, done once", _repeats_a_command),
    "listens": ("a heartbeat on the state topic", _listens_for_the_heartbeat),
}
