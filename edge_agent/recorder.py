"""The recorder thread: everything that happens to a cycle after its verdict.

No record is ever dropped. A verdict is noted in the journal before the PLC is told, handed to
this thread's bounded queue after, and leaves the journal once the outbox has it. While the disk
takes nothing verdicts go on, their records wait in memory and in the journal, and are tried again.
When as many wait as the journal holds, or the queue is full, the station drops Ready: the line
waits rather than lose a record.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from edge_agent.errors import StorageError
from edge_agent.journal import VerdictJournal
from edge_agent.ports import (
    CycleObserver,
    CycleOutcome,
    HardExampleMiner,
    Outbox,
    Picture,
    RecentCycles,
    RecordBody,
)
from edge_agent.priority import be_patient
from edge_agent.records import encode_picture, inspection_of
from models.contract.messages import Alarm, HardReason, Inspection, StationEvent, Truth, Verdict

logger = logging.getLogger(__name__)

RETRY_S = 0.5
STOP_TIMEOUT_S = 20.0
STORAGE = "storage"
MAX_BATCH = 32
COMMIT_PERIOD_S = 0.05
"""Where parts come faster several share a commit: each costs a sync of the disk, and wakes the
uplink. It is made with the next part's record, or when none comes for so long; the verdicts are in
the journal meanwhile."""
MAX_CALM = 4
"""Items that may wait while it keeps up."""
MAX_HELD = 2_000
"""Records, without pictures, that wait for a disk that takes none; the journal holds as many."""
RETRY = object()


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Somebody found a part to be other than the station said, or the same."""

    part_id: str
    actual: Verdict
    reported_at: datetime


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A station event and when it happened."""

    event: StationEvent
    happened_at: datetime


@dataclass(frozen=True, slots=True, eq=False)
class HardPicture:
    """A cycle, recorded already, whose picture turned out to be worth a look."""

    cycle: CycleOutcome
    reason: HardReason


Item = CycleOutcome | Contradiction | Occurrence | HardPicture


@dataclass(frozen=True, slots=True)
class Learning:
    """Who looks at each cycle after its verdict."""

    miner: HardExampleMiner
    recent: RecentCycles
    observers: list[CycleObserver] = field(default_factory=list)
    """Added before the recorder starts."""


class Recorder:
    """Takes finished cycles, chooses hard examples, writes the outbox."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        journal: VerdictJournal,
        learning: Learning,
        queue_size: int = 64,
        max_held: int = MAX_HELD,
        jpeg_quality: int = 92,
        is_simulated: bool = False,
        give_way: Callable[[], None] = lambda: None,
        on_room: Callable[[], None] = lambda: None,
        on_storage: Callable[[Alarm | None], None] = lambda _alarm: None,
    ) -> None:
        self.num_pictures_lost = 0
        """Pictures that the disk did not take; their records are kept."""
        self._outbox = outbox
        self._journal = journal
        self._learning = learning
        self._queue_size = queue_size
        self._max_held = max_held
        self._jpeg_quality = jpeg_quality
        self._is_simulated = is_simulated
        self._give_way = give_way
        self._on_room = on_room
        self._on_storage = on_storage
        self._items: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._batch: list[tuple[RecordBody, datetime]] = []
        """Records that are made and not in the outbox yet."""
        self._stopping = threading.Event()
        self._has_trouble = False
        self._retry_s = 0.0
        self._next_commit_s = 0.0
        self._monotonic_s = time.monotonic
        self._is_recovered = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Start the thread, which first writes what an earlier process left in the journal."""
        self._journal.start()
        self._thread.start()

    def stop(self) -> None:
        """Record what is queued, then end; what the disk refuses stays in the journal."""
        self._stopping.set()
        self._items.put(None)
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT_S)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def has_room(self) -> bool:
        """Whether one more cycle may be made."""
        return self._items.qsize() < self._queue_size and len(self._batch) < self._max_held

    @property
    def is_calm(self) -> bool:
        """Whether it keeps up: what can wait is begun only then."""
        return self._items.qsize() <= MAX_CALM and len(self._batch) <= self._queue_size // 2

    def post_cycle(self, cycle: CycleOutcome) -> None:
        """Hand over a cycle whose verdict is out and in the journal; never blocks or drops.

        The caller makes no new cycle while `has_room` is false, which bounds the queue.
        """
        self._items.put(cycle)

    def post_contradiction(self, contradiction: Contradiction) -> None:
        """Hand over what somebody reported about a part."""
        self._items.put(contradiction)

    def post_event(self, occurrence: Occurrence) -> None:
        """Hand over an event of the station."""
        self._items.put(occurrence)

    def post_picture(self, picture: HardPicture) -> None:
        """Hand over a picture that somebody found to be hard; left out over its quota."""
        self._items.put(picture)

    def _run(self) -> None:
        be_patient()
        self._commit()
        while (item := self._next()) is not None:
            had_room = self.has_room
            self._give_way()
            if item is not RETRY:
                self._make(item)
            if self._is_commit_due():
                self._commit()
            if self.has_room and not had_room:
                self._on_room()
        self._commit()

    def _next(self) -> "Item | object | None":
        """What is to be recorded, or `RETRY` when it is time to commit what is made already."""
        timeout_s = None
        if self._has_trouble:
            timeout_s = RETRY_S
        elif self._batch:
            timeout_s = COMMIT_PERIOD_S
        try:
            return self._items.get(timeout=timeout_s)
        except queue.Empty:
            return RETRY

    def _is_commit_due(self) -> bool:
        if self._has_trouble:
            return self._items.empty()
        if len(self._batch) >= MAX_BATCH:
            return True
        return self._items.empty() and self._monotonic_s() >= self._next_commit_s

    def _make(self, item: "Item | object") -> None:
        try:
            self._record(item)
        except Exception:
            # The thread's boundary. The verdict is in the journal: the next start records it.
            logger.exception("cycle not recorded")

    def _record(self, item: object) -> None:
        if isinstance(item, CycleOutcome):
            self._record_cycle(item)
        elif isinstance(item, Contradiction):
            self._record_truth(item)
        elif isinstance(item, HardPicture):
            self._keep_if_admitted(item.cycle, item.reason)
        elif isinstance(item, Occurrence):
            self._batch.append((item.event, item.happened_at))

    def _record_cycle(self, cycle: CycleOutcome) -> None:
        self._batch.append((self._inspection_of(cycle), cycle.decided_at))
        self._learning.recent.add(cycle)
        for observer in self._learning.observers:
            try:
                observer.observe(cycle)
            except Exception:
                logger.exception("observer failed")

    def _inspection_of(self, cycle: CycleOutcome) -> Inspection:
        try:
            reasons = self._choose(cycle)
            sha256 = self._keep_picture(cycle, reasons) if reasons else None
            return inspection_of(
                cycle, image_sha256=sha256, hard_reasons=reasons, is_simulated=self._is_simulated
            )
        except Exception:
            # The journal keeps a verdict until it is recorded: one that never was would fill it.
            logger.exception("recorded without picture and boxes")
            bare = replace(cycle, frame=None, detections=None)
            return inspection_of(bare, is_simulated=self._is_simulated)

    def _choose(self, cycle: CycleOutcome) -> tuple[HardReason, ...]:
        if cycle.frame is None:
            return ()
        try:
            return self._learning.miner.choose(cycle)
        except Exception:
            # The choice is a bonus, the record is not: keep it whatever the miner does.
            logger.exception("hard example choice failed")
            return ()

    def _record_truth(self, contradiction: Contradiction) -> None:
        known = self._learning.recent.find(contradiction.part_id)
        last = known[0] if known else None
        said = (last.part_verdict or last.verdict) if last else None
        truth = Truth(
            part_id=contradiction.part_id,
            actual=contradiction.actual,
            said=said,
            result_id=last.result_id if last else None,
        )
        self._batch.append((truth, contradiction.reported_at))
        if said is None or said is contradiction.actual:
            return
        for cycle in known:
            self._keep_if_admitted(cycle, HardReason.CONTRADICTION)

    def _keep_if_admitted(self, cycle: CycleOutcome, reason: HardReason) -> None:
        if cycle.frame is not None and self._learning.miner.admit(reason):
            self._keep_picture(cycle, (reason,))

    def _keep_picture(self, cycle: CycleOutcome, reasons: Iterable[HardReason]) -> str | None:
        """Put a cycle's picture into the outbox; None when there is none or no place for it."""
        picture: Picture | None = None
        try:
            picture = encode_picture(cycle, tuple(reasons), quality=self._jpeg_quality)
            if picture is None or self._outbox.append_image(picture) is None:
                return None
        except StorageError as error:
            self.num_pictures_lost += 1
            logger.warning("picture dropped: %s", error)
            return None
        return picture.sha256

    def _commit(self) -> None:
        """Put what was made into the outbox; what the disk refuses waits for the next try."""
        if not self._batch and self._is_recovered:
            return
        if self._has_trouble and self._monotonic_s() < self._retry_s:
            return
        try:
            self._recover()
            self._outbox.append_records(self._batch)
        except StorageError as error:
            self._retry_s = self._monotonic_s() + RETRY_S
            self._report_trouble(str(error))
            return
        self._report_trouble(None)
        self._next_commit_s = self._monotonic_s() + COMMIT_PERIOD_S
        stored, self._batch = self._batch, []
        for body, _ in stored:
            if isinstance(body, Inspection):
                self._journal.settle(body.result_id)

    def _recover(self) -> None:
        """Once: record what earlier processes answered and did not record."""
        if self._is_recovered:
            return
        for entry in self._journal.entries:
            inspection = entry.inspection
            if inspection is None or entry.is_recorded:
                continue
            if not self._outbox.contains_result(inspection.result_id):
                self._outbox.append_record(inspection, created_at=entry.at)
                logger.info("record recovered", extra={"result_id": str(inspection.result_id)})
            self._journal.settle(inspection.result_id)
        self._is_recovered = True

    def _report_trouble(self, cause: str | None) -> None:
        if (cause is not None) == self._has_trouble:
            return
        self._has_trouble = cause is not None
        if cause is None:
            self._on_storage(None)
            return
        logger.error("outbox refuses records: %s", cause)
        action = "Free disk space; records wait and the line stops when too many do"
        self._on_storage(Alarm(code=STORAGE, cause=cause[:200], action=action))
