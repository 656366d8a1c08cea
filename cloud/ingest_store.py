"""Committing what arrived: one transaction a batch, the same row never twice."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.orm import Session

from cloud.arrivals import (
    Arrival,
    ImageArrival,
    RecordArrival,
    RefusedArrival,
    ReportedArrival,
    StatusArrival,
)
from cloud.db import tables
from cloud.db.session import Database
from cloud.db.types import Base
from cloud.image_store import ImageStore
from cloud.ingest_rows import UNIQUE_KEYS, Row, dead_letter_row, image_row, table_of
from cloud.likeness import look_at
from cloud.near_duplicates import NewPicture, keep_likenesses
from cloud.record_writer import write_records
from cloud.tallies import PictureFacts, Tallies, of_picture
from cloud.tally_store import add_tallies
from models.contract.messages import FollowMode
from models.contract.topics import CellAddress

MAX_RACES = 3
"""Processes that write the same rows at once: a second look finds them written."""


class IngestStore:
    """Writes batches of arrivals; sending the same batch again changes nothing."""

    def __init__(self, database: Database, images: ImageStore) -> None:
        self._database = database
        self._images = images
        self._known_cells: set[CellAddress] = set()

    def write(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Commit a batch.

        Returns:
            The batch as it was taken: what the database could not hold is refused in it.

        Raises:
            UnavailableError: nothing was committed; trying the batch again later may work.
        """
        for arrival in arrivals:
            if isinstance(arrival, ImageArrival):
                self._images.put(arrival.delivery.payload)
        try:
            self._commit_at_last(arrivals)
        except (StatementError, ValueError, OverflowError) as error:
            if len(arrivals) == 1:
                return [self._set_aside(arrivals[0], error)]
            return [taken for arrival in arrivals for taken in self.write([arrival])]
        return list(arrivals)

    def _set_aside(self, arrival: Arrival, error: Exception) -> Arrival:
        if isinstance(arrival, RefusedArrival):
            raise error  # not even its dead letter can be written: a fault of ours
        cause = error.orig if isinstance(error, StatementError) else error
        reason = (str(cause).strip().splitlines() or ["no cause given"])[0]
        refused = RefusedArrival(
            f"the database cannot hold it: {reason}",
            arrival.delivery,
            _cell_of(arrival),
            arrival.key if isinstance(arrival, RecordArrival | ImageArrival) else None,
        )
        self._commit([refused])
        return refused

    def _commit_at_last(self, arrivals: Sequence[Arrival]) -> None:
        """Commit; where another process wrote some of it at the same moment, see what is left."""
        for attempt in range(MAX_RACES):
            try:
                self._commit(arrivals, is_thorough=attempt > 0)
            except IntegrityError:
                continue
            return
        self._commit(arrivals, is_thorough=True)

    def _commit(self, arrivals: Sequence[Arrival], *, is_thorough: bool = False) -> None:
        records = [arrival for arrival in arrivals if isinstance(arrival, RecordArrival)]
        images = [image_row(arrival) for arrival in arrivals if isinstance(arrival, ImageArrival)]
        letters = [
            dead_letter_row(arrival) for arrival in arrivals if isinstance(arrival, RefusedArrival)
        ]
        cells = self._new_cells(arrivals)
        looks = _looks(arrivals)
        with self._database.write() as session:
            self._insert(session, tables.Cell, cells)
            self._insert(session, tables.DeadLetter, letters)
            _update_cells(session, arrivals)
            self._add_images(session, images, looks)
            if records:
                write_records(session, records, is_thorough=is_thorough)
        self._known_cells.update(CellAddress.parse(row["cell"]) for row in cells)

    def _new_cells(self, arrivals: Sequence[Arrival]) -> list[Row]:
        seen: dict[CellAddress, datetime] = {}
        for arrival in arrivals:
            cell = _cell_of(arrival)
            if cell is not None and cell not in self._known_cells:
                seen.setdefault(cell, arrival.delivery.received_at)
        return [
            {"cell": str(cell), "first_seen_at": at, "mode": FollowMode.FOLLOW}
            for cell, at in sorted(seen.items())
        ]

    def _add_images(self, session: Session, images: list[Row], looks: Sequence[NewPicture]) -> None:
        new = self._insert(session, tables.Image, images)
        tallies = Tallies()
        for row in images:
            if row["sha256"] in new:
                new.discard(row["sha256"])  # sent twice in one batch it still is one picture
                status = row["status"].value
                facts = PictureFacts(
                    row["cell"],
                    row["created_at"],
                    row["hard_reasons"],
                    status,
                    num_bytes=row["num_bytes"],
                )
                tallies.update(of_picture(facts))
        keep_likenesses(session, looks)
        add_tallies(session, tallies)

    def _insert(self, session: Session, model: type[Base], rows: list[Row]) -> set[str]:
        """Add rows that are not there yet; gives the keys of those that were not."""
        if not rows:
            return set()
        table = table_of(model)
        (key,) = UNIQUE_KEYS[table.name]
        dialect = sqlite if self._database.is_sqlite else postgresql
        # Two processes that insert the same rows in different orders would deadlock.
        rows.sort(key=lambda row: str(row[key]))
        statement = dialect.insert(table).on_conflict_do_nothing(index_elements=[key])
        return set(session.scalars(statement.returning(table.c[key]), rows))


def _cell_of(arrival: Arrival) -> CellAddress | None:
    if isinstance(arrival, RecordArrival | ImageArrival):
        return arrival.key.cell
    if isinstance(arrival, StatusArrival | ReportedArrival):
        return arrival.cell
    return None  # whoever sends only rubbish does not become a cell


def _looks(arrivals: Sequence[Arrival]) -> list[NewPicture]:
    found = []
    for arrival in arrivals:
        if isinstance(arrival, ImageArrival):
            header = arrival.header
            seen = look_at(arrival.delivery.payload)
            if seen is not None:
                cell, moment = str(arrival.key.cell), header.created_at
                found.append(NewPicture(header.sha256, cell, header.view, moment, seen))
    return found


def _update_cells(session: Session, arrivals: Sequence[Arrival]) -> None:
    statuses: dict[str, Row] = {}
    reports: dict[str, Row] = {}
    for arrival in arrivals:
        if isinstance(arrival, StatusArrival):
            content = arrival.status.model_dump(mode="json")
            statuses[str(arrival.cell)] = _change(arrival, content)
        elif isinstance(arrival, ReportedArrival):
            content = arrival.reported.model_dump(mode="json")
            reports[str(arrival.cell)] = _change(arrival, content)
    cells = table_of(tables.Cell)
    for columns, changes in (
        (("status", "status_at"), statuses),
        (("reported", "reported_at"), reports),
    ):
        if changes:
            statement = (
                update(cells)
                .where(cells.c.cell == bindparam("which"))
                .values({columns[0]: bindparam("content"), columns[1]: bindparam("at")})
            )
            session.connection().execute(statement, [changes[cell] for cell in sorted(changes)])


def _change(arrival: StatusArrival | ReportedArrival, content: Row) -> Row:
    return {
        "which": str(arrival.cell),
        "content": content,
        "at": arrival.delivery.received_at,
    }
