"""What the Line page knows of each cell: counted once for everybody, then kept up to date.

The first look counts the shift; after that only rows that are new are read, by their rising key.
Rows of several ingest processes may become visible out of order, so the shift is counted afresh
every `RECOUNT_S`.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.dashboard.shift import shift_start
from cloud.db.session import Database
from cloud.db.tables import Cell, Image, Result, ReviewStatus
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


@dataclass(frozen=True, slots=True)
class Picture:
    """A stored picture and the result it belongs to, where that has arrived."""

    image: Image
    result: Result | None


@dataclass(frozen=True, slots=True)
class LineState:
    """Everything that the Line page shows, at one moment."""

    at: datetime
    shift_since: datetime
    cells: tuple[Cell, ...]
    memories: dict[str, CellMemory]
    newest: dict[str, Picture]
    """Newest picture of each cell."""
    reject_images: dict[Any, Image]
    """By result_id."""
    num_pending: int


class LineMonitor:
    """Keeps the state of every cell; one thread at a time calls it (see `Feed`)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._memories: dict[str, CellMemory] = {}
        self._last_id = 0
        self._recount_at: datetime | None = None
        self._shift: datetime | None = None

    def look(self) -> LineState:
        """Read what is new.

        Raises:
            UnavailableError: the database cannot be read.
        """
        now = datetime.now().astimezone()
        shift = shift_start(now)
        with self._database.read() as session:
            cells = tuple(session.scalars(select(Cell).order_by(Cell.cell)))
            is_due = self._recount_at is None or now >= self._recount_at or shift != self._shift
            if is_due or not self._read_new(session):
                self._recount(session, [cell.cell for cell in cells], shift, now)
            for cell in cells:
                self._memories.setdefault(cell.cell, CellMemory())
            return LineState(
                at=now,
                shift_since=shift,
                cells=cells,
                memories=self._memories,
                newest={cell.cell: p for cell in cells if (p := _newest(session, cell.cell))},
                reject_images=_images_of(session, self._rejects()),
                num_pending=_count_pending(session),
            )

    def _rejects(self) -> Iterable[Result]:
        return [reject for memory in self._memories.values() for reject in memory.rejects]

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
        counted = session.execute(
            select(Result.cell, Result.verdict, func.count())
            .where(Result.created_at >= shift, Result.is_partial.is_(False))
            .group_by(Result.cell, Result.verdict)
        )
        counts: dict[str, Counter[Verdict]] = {cell: Counter() for cell in cells}
        for cell, verdict, number in counted:
            counts.setdefault(cell, Counter())[verdict] = number
        for cell, found in counts.items():
            if cell not in self._memories:
                self._memories[cell] = _recall(session, cell, now)
            self._memories[cell].counts = found
        self._shift = shift
        self._recount_at = now + timedelta(seconds=RECOUNT_S)


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


def _newest(session: Session, cell: str) -> Picture | None:
    image = session.scalar(
        select(Image).where(Image.cell == cell).order_by(Image.created_at.desc()).limit(1)
    )
    if image is None:
        return None
    return Picture(image, result_of(session, image))


def result_of(session: Session, image: Image) -> Result | None:
    """The result that a picture belongs to, where it has arrived."""
    return session.scalar(select(Result).where(Result.result_id == image.result_id).limit(1))


def _images_of(session: Session, results: Iterable[Result]) -> dict[Any, Image]:
    wanted = [result.result_id for result in results]
    if not wanted:
        return {}
    found = session.scalars(select(Image).where(Image.result_id.in_(wanted)))
    return {image.result_id: image for image in found}


def _count_pending(session: Session) -> int:
    query = select(func.count()).select_from(Image).where(Image.status == ReviewStatus.PENDING)
    return session.scalar(query) or 0
