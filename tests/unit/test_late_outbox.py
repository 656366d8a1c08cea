"""A disk that is full at the start stops no line."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from edge_agent.errors import StorageError
from edge_agent.late_outbox import LateOutbox
from edge_agent.outbox import SqliteOutbox
from models.contract.messages import StationEvent, Stream
from models.contract.topics import CellAddress

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CELL = CellAddress("plant", "hall", "line1", "cell1")
BOOT = UUID("00000000-0000-4000-8000-000000000001")
EVENT = StationEvent(code="test", text="one")


class Disk:
    """Full until somebody makes room."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_full = True

    def open_outbox(self) -> SqliteOutbox:
        if self.is_full:
            raise StorageError("outbox cannot be used: database or disk is full")
        return SqliteOutbox(self.folder, cell=CELL, boot_id=BOOT)


def test_outbox_is_opened_by_the_first_append_that_the_disk_allows(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    outbox = LateOutbox(disk.open_outbox)
    told: list[str] = []
    outbox.on_append = lambda: told.append("append")
    with pytest.raises(StorageError, match="full"):
        outbox.append_records([(EVENT, NOON)])
    assert outbox.counts().records == outbox.num_records() == 0
    disk.is_full = False
    outbox.append_records([(EVENT, NOON), (EVENT, NOON)])
    assert outbox.counts().records == 2
    assert [row.seq for row in outbox.read(Stream.RECORDS)] == [1, 2]
    assert told == ["append"]
    outbox.close()


def test_nothing_is_sent_and_nothing_let_go_before_there_is_an_outbox(tmp_path: Path) -> None:
    outbox = LateOutbox(Disk(tmp_path).open_outbox)
    assert outbox.read(Stream.RECORDS) == []
    assert outbox.newest_row_id() == 0
    assert outbox.settle() == 0
    with pytest.raises(StorageError):
        outbox.contains_result(uuid4())
    outbox.close()
