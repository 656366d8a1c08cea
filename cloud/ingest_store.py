"""Committing what arrived: one transaction a batch, the same row never twice."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Table, bindparam, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import StatementError
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
from cloud.image_store import ImageStore
from cloud.ingest_rows import UNIQUE_KEYS, Row, rows_of, table_of
from models.contract.messages import FollowMode
from models.contract.topics import CellAddress


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
            self._commit(arrivals)
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

    def _commit(self, arrivals: Sequence[Arrival]) -> None:
        rows: dict[Table, list[Row]] = {}
        for arrival in arrivals:
            for table, row in rows_of(arrival):
                rows.setdefault(table, []).append(row)
        cells = self._new_cells(arrivals)
        with self._database.write() as session:
            self._insert(session, table_of(tables.Cell), cells)
            for table, table_rows in rows.items():
                self._insert(session, table, table_rows)
            _update_cells(session, arrivals)
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

    def _insert(self, session: Session, table: Table, rows: list[Row]) -> None:
        if not rows:
            return
        key = UNIQUE_KEYS[table.name]
        dialect = sqlite if self._database.is_sqlite else postgresql
        # Two processes that insert the same rows in different orders would deadlock.
        rows.sort(key=lambda row: tuple(str(row[name]) for name in key))
        statement = dialect.insert(table).on_conflict_do_nothing(index_elements=key)
        session.execute(statement, rows)


def _cell_of(arrival: Arrival) -> CellAddress | None:
    if isinstance(arrival, RecordArrival | ImageArrival):
        return arrival.key.cell
    if isinstance(arrival, StatusArrival | ReportedArrival):
        return arrival.cell
    return None  # whoever sends only rubbish does not become a cell


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
