"""What was promised to the PLC, on disk before the PLC is told, at no cost to the verdict.

The verdict goes out before the outbox is written, so a process or a machine that dies in between
would have told the PLC something that no record knows of. Therefore:

- When a trigger is accepted, its *intent* is appended here and made durable by this journal's own
  thread, while camera and model are at work. A verdict goes out once its intent is durable, which
  it is long before in the usual case (a sync takes 0.3 to 2 ms, grab and inference more).
- The verdict itself is appended right before it is sent: the kernel keeps it when the process
  dies, without waiting for the disk.
- Once the outbox has the record, so says a third line.

The next start records what has no third line: with its verdict, or, when only the intent survived
a power cut, as a part whose verdict is unknown: aborted, NOT_DECIDABLE. The answers are also what
a repeated trigger gets after a restart.

Lines, their fields separated by tabs (JSON and identifiers hold none)::

    I time ack result      trigger accepted; result as it is if nothing more is heard
    A time ack request     trigger refused
    V time result          verdict
    R result_id            recorded
"""

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from edge_agent.errors import StorageError
from edge_agent.jobs import Request
from edge_agent.journal_file import JournalFile
from models.contract.messages import Inspection, PlcResult, TriggerAck
from models.contract.model import ContractError

logger = logging.getLogger(__name__)

STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Entry:
    """What the journal knows of one trigger, or of one picture that came over HTTP."""

    at: datetime
    """When it was decided; of an unknown verdict: when the trigger was accepted."""
    request: Request
    ack: TriggerAck | None = None
    result: PlcResult | None = None
    """None: the trigger was refused."""
    is_recorded: bool = False

    @property
    def inspection(self) -> Inspection | None:
        """The record to make of it, without boxes and picture."""
        if self.result is None:
            return None
        return Inspection.model_validate(self.result.model_dump(exclude={"schema_version"}))


class VerdictJournal:
    """Intents and verdicts, with a thread that makes intents durable.

    Args:
        file: where the lines go.
        on_durable: called on the journal's thread when an intent that `is_durable` was asked
            about in vain is on the disk; must only enqueue.
    """

    def __init__(self, file: JournalFile, *, on_durable: Callable[[], None] = lambda: None) -> None:
        self.entries = _entries(file.read())
        """Left by earlier processes, oldest first."""
        self._file = file
        self._on_durable = on_durable
        self._lock = threading.Lock()
        self._open = {
            entry.result.result_id: 0
            for entry in self.entries
            if entry.result is not None and not entry.is_recorded
        }
        """Results that are not recorded, and the number of the file that holds their first line."""
        self._intended = self._durable = 0
        self._is_awaited = False
        self._is_failing = False
        self._is_wanted = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread and let go of the files."""
        self._stopping.set()
        self._is_wanted.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT_S)
        self._file.close()

    # --- the inspection thread's side --------------------------------------------------------

    def intend(self, ack: TriggerAck, unknown: PlcResult, *, at: datetime) -> bool:
        """Note that a trigger was accepted; returns at once, `is_durable` says when it is safe.

        Args:
            ack: the answer to the trigger, with its acquisition id.
            unknown: the result that stands if no other one is found at the next start.
            at: now.

        Returns:
            False when it could not be noted: nobody needs to wait for it.
        """
        try:
            number = self._append(b"I", _stamp(at), ack.to_bytes(), unknown.to_bytes())
        except StorageError as error:
            self._report(error)
            self._is_wanted.set()  # what is settled by now may be forgotten, and makes room
            return False
        with self._lock:
            self._open[unknown.result_id] = number
            self._intended = ack.acquisition_id or 0
        self._is_wanted.set()
        return True

    def is_durable(self, acquisition_id: int) -> bool:
        """Whether that intent survives a power cut by now; if not, `on_durable` will say so."""
        # Asked for before the look, so that a sync that ends in between is not missed.
        self._is_awaited = True
        if self._durable < acquisition_id:
            return False
        self._is_awaited = False
        return True

    def refuse(self, ack: TriggerAck, request: Request, *, at: datetime) -> None:
        """Note a refusal, which a repeat gets again; for what it is worth, without a promise."""
        try:
            self._append(b"A", _stamp(at), ack.to_bytes(), json.dumps(request).encode())
        except StorageError as error:
            self._report(error)

    def write(self, result: PlcResult, *, decided_at: datetime) -> None:
        """Note a result; call it before anybody is told.

        Raises:
            StorageError: the record is then safe only once the outbox has it.
        """
        number = self._append(b"V", _stamp(decided_at), result.to_bytes())
        with self._lock:
            self._open.setdefault(result.result_id, number)

    # --- the recorder's side -----------------------------------------------------------------

    def settle(self, result_id: UUID) -> None:
        """A result is in the outbox."""
        with self._lock:
            self._open.pop(result_id, None)
        try:
            self._append(b"R", str(result_id).encode())
        except StorageError as error:
            self._report(error)

    # --- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._is_wanted.wait()
            self._is_wanted.clear()
            if self._stopping.is_set():
                return
            with self._lock:
                intended = self._intended
            try:
                self._file.sync()
                is_well = True
            except OSError as error:
                # A disk that cannot be written holds no part up: records still have the outbox.
                self._report(error)
                is_well = False
            self._durable = intended
            if self._is_awaited:
                self._is_awaited = False
                self._on_durable()
            if is_well:
                self._prepare()

    def _prepare(self) -> None:
        # Now and then it writes and syncs two megabytes: no verdict waits for that.
        try:
            self._file.prepare(may_forget=self._is_settled)
            self._is_failing = False
        except OSError as error:
            self._report(error)

    def _is_settled(self, before: int) -> bool:
        with self._lock:
            return all(number >= before for number in self._open.values())

    def _append(self, *fields: bytes) -> int:
        return self._file.append(b"\t".join(fields))

    def _report(self, error: Exception) -> None:
        if not self._is_failing:
            logger.error("journal cannot be written: %s", error)
        self._is_failing = True


def _stamp(at: datetime) -> bytes:
    return at.isoformat().encode()


def _entries(lines: list[bytes]) -> list[Entry]:
    """Join the lines of each trigger; what a cut tore or a person changed is left out."""
    found: dict[object, Entry] = {}
    for line in lines:
        kind, *fields = line.split(b"\t")
        try:
            _take_in(found, kind, fields)
        except (ContractError, ValueError, KeyError, TypeError):
            continue
    return list(found.values())


def _take_in(found: dict[object, Entry], kind: bytes, fields: list[bytes]) -> None:
    if kind == b"I":
        stamp, ack, body = fields
        result = PlcResult.from_bytes(body)
        found[result.result_id] = Entry(
            _time(stamp), _request(result), TriggerAck.from_bytes(ack), result
        )
    elif kind == b"V":
        stamp, body = fields
        result = PlcResult.from_bytes(body)
        known = found.get(result.result_id) or Entry(_time(stamp), _request(result))
        found[result.result_id] = replace(known, at=_time(stamp), result=result)
    elif kind == b"R":
        result_id = UUID(fields[0].decode())
        found[result_id] = replace(found[result_id], is_recorded=True)
    elif kind == b"A":
        stamp, body, request = fields
        ack_ = TriggerAck.from_bytes(body)
        part_id, view, recipe_id = json.loads(request)
        found[ack_.trigger_id] = Entry(_time(stamp), (part_id, view, recipe_id), ack_)


def _time(stamp: bytes) -> datetime:
    return datetime.fromisoformat(stamp.decode())


def _request(result: PlcResult) -> Request:
    return result.part_id, result.view, result.recipe_id
