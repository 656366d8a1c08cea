"""What the Line page knows of each cell: counted once for everybody, then kept up to date.

The first look counts the shift; after that only rows that are new are read, by their rising key.
Rows of several ingest processes may become visible out of order, so the shift is counted afresh
every `RECOUNT_S`.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.db.session import Database
from cloud.db.tables import Cell, Image, Result, ReviewStatus
from cloud.shifts import PlantClock
from cloud.statistics import Window
from cloud.statistics_queries import count_pictures, read_parts_by_cell
from models.contract.messages import Verdict

RECOUNT_S = 60.0
NUM_LATENCIES = 200
NUM_REJECTS = 7
REJECTS_SINCE = timedelta(days=7)
BURST_ROWS = 2_000
"""More new rows than this between two looks are counted by the database, not here."""


@dataclass(slots=True)
class CellMemory:
    """What is remembered of one cell."""

    counts: Counter[Verdict] = field(default_factory=Counter)
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=NUM_LATENCIES))
    last: Result | None = None
    last_ok: Result | None = None
    rejects: deque[Result] = field(default_factory=lambda: deque(maxlen=NUM_REJECTS))
    """Newest last."""
    newest: "Picture | None" = None
    shots: "tuple[Reject, ...]" = ()
    shots_key: tuple[str, int] = ("", 0)
    """What `shots` was made from: newest picture and newest reject."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A stored picture and the result it belongs to, where that has arrived."""

    image: Image
    result: Result | None


@dataclass(frozen=True, slots=True)
class Reject:
    """A rejected part and its picture, where it was sent."""

    result: Result
    image: Image | None


@dataclass(frozen=True, slots=True)
class LineState:
    """Everything that the Line page shows, at one moment."""

    at: datetime
    shift_since: datetime
    cells: tuple[Cell, ...]
    memories: dict[str, CellMemory]
    newest: dict[str, Picture]
    """Newest picture of each cell."""
    shots: dict[str, tuple[Reject, ...]]
    """Last rejects of each cell, newest first; those with a picture before those without."""
    num_pending: int


class LineMonitor:
    """Keeps the state of every cell; one thread at a time calls it (see `Feed`)."""

    def __init__(self, database: Database, clock: PlantClock) -> None:
        self._database = database
        self._clock = clock
        self._memories: dict[str, CellMemory] = {}
        self._last_id = 0
        self._recount_at: datetime | None = None
        self._shift: datetime | None = None

    def look(self) -> LineState:
        """Read what is new.

        Raises:
            UnavailableError: the database cannot be read.
        """
        now = self._clock.now()
        shift = self._clock.shift_start(now)
        with self._database.read() as session:
            cells = tuple(session.scalars(select(Cell).order_by(Cell.cell)))
            is_due = self._recount_at is None or now >= self._recount_at or shift != self._shift
            if is_due or not self._read_new(session):
                self._recount(session, [cell.cell for cell in cells], shift, now)
            for cell in cells:
                _look_at_pictures(
                    session, cell.cell, self._memories.setdefault(cell.cell, CellMemory()), now
                )
            memories = self._memories
            return LineState(
                at=now,
                shift_since=shift,
                cells=cells,
                memories=memories,
                newest={name: memory.newest for name, memory in memories.items() if memory.newest},
                shots={name: memory.shots for name, memory in memories.items()},
                num_pending=count_pictures(session)[ReviewStatus.PENDING],
            )

    def _read_new(self, session: Session) -> bool:
        query = select(Result).where(Result.id > self._last_id).order_by(Result.id)
        rows = session.scalars(query.limit(BURST_ROWS)).all()
        for row in rows:
            memory = self._memories.setdefault(row.cell, CellMemory())
            if self._shift is not None and row.created_at >= self._shift and not row.is_partial:
                memory.counts[row.verdict] += 1
            _remember(memory, row)
        if rows:
            self._last_id = rows[-1].id
        return len(rows) < BURST_ROWS

    def _recount(self, session: Session, cells: list[str], shift: datetime, now: datetime) -> None:
        self._last_id = session.scalar(select(func.max(Result.id))) or 0
        counts: dict[str, Counter[Verdict]] = {cell: Counter() for cell in cells}
        for cell, numbers in read_parts_by_cell(session, Window(since=shift)).items():
            counts[cell] = Counter({Verdict(name): number for name, number in numbers.items()})
        for cell, found in counts.items():
            if cell not in self._memories:
                self._memories[cell] = _recall(session, cell, now)
            self._memories[cell].counts = found
        self._shift = shift
        self._recount_at = now.astimezone(UTC) + timedelta(seconds=RECOUNT_S)


def _remember(memory: CellMemory, row: Result) -> None:
    """Take one more result; an older one that arrives late does not become the last."""
    memory.latencies_ms.append(row.processing_ms)
    if memory.last is None or row.created_at >= memory.last.created_at:
        memory.last = row
    if row.verdict is Verdict.OK:
        memory.last_ok = row
    else:
        memory.rejects.append(row)


def _recall(session: Session, cell: str, now: datetime) -> CellMemory:
    """What the database still knows of a cell that is new to this process."""
    memory = CellMemory()
    of_cell = select(Result).where(Result.cell == cell).order_by(Result.created_at.desc())
    recent = session.scalars(of_cell.limit(NUM_LATENCIES)).all()
    for row in reversed(recent):
        _remember(memory, row)
    rejects = session.scalars(
        of_cell.where(Result.verdict != Verdict.OK, Result.created_at >= now - REJECTS_SINCE).limit(
            NUM_REJECTS
        )
    ).all()
    memory.rejects = deque(reversed(rejects), maxlen=NUM_REJECTS)
    return memory


def _look_at_pictures(session: Session, cell: str, memory: CellMemory, now: datetime) -> None:
    image = session.scalar(
        select(Image).where(Image.cell == cell).order_by(Image.created_at.desc()).limit(1)
    )
    key = (image.sha256 if image else "", memory.rejects[-1].id if memory.rejects else 0)
    if key == memory.shots_key and (memory.newest is None or memory.newest.result is not None):
        return
    memory.shots_key = key
    if image is not None:
        result = session.scalar(select(Result).where(Result.result_id == image.result_id).limit(1))
        memory.newest = Picture(image, result)
    memory.shots = _rejects(session, cell, memory, now)


def _rejects(session: Session, cell: str, memory: CellMemory, now: datetime) -> tuple[Reject, ...]:
    """The strip: people judge by pictures, so parts that sent none only fill what is left."""
    rows = session.execute(
        select(Result, Image)
        .join(Image, Image.result_id == Result.result_id)
        .where(
            Image.cell == cell,
            Image.created_at >= now - REJECTS_SINCE,
            Result.verdict != Verdict.OK,
        )
        .order_by(Image.created_at.desc())
        .limit(NUM_REJECTS)
    )
    seen = [Reject(result, image) for result, image in rows]
    known = {reject.result.result_id for reject in seen}
    unseen = [Reject(row, None) for row in reversed(memory.rejects) if row.result_id not in known]
    shown = [*seen, *unseen][:NUM_REJECTS]
    return tuple(sorted(shown, key=lambda reject: reject.result.created_at, reverse=True))
