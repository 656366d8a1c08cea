"""A reserve on the disk that is there when the disk is full, and comes back afterwards."""

import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

from edge_agent.ballast import Ballast
from edge_agent.errors import StorageError
from edge_agent.outbox import SqliteOutbox
from edge_agent.outbox_rows import OutboxLimits
from models.contract.messages import IngestAck, StationEvent, Stream
from models.contract.topics import CellAddress

SIZE = 100_000
EVENT = StationEvent(code="test")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def set_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**9, 0, free))


def test_reserve_takes_real_space_and_is_given_only_to_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ballast = Ballast(tmp_path / "ballast", SIZE)
    assert ballast.restore()
    assert (tmp_path / "ballast").stat().st_blocks * 512 >= SIZE
    assert not ballast.release(), "the disk is not full: the file has reached its own limit"
    set_free(monkeypatch, 1_000)
    assert ballast.release()
    assert not ballast.release()
    assert not ballast.restore(), "not while there is no space for it"
    set_free(monkeypatch, 10 * SIZE)
    assert ballast.restore()


def test_record_is_taken_on_the_reserve_and_the_reserve_comes_back_after_draining(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot_id = uuid4()
    outbox = SqliteOutbox(
        tmp_path,
        cell=CellAddress("a", "b", "c", "d"),
        boot_id=boot_id,
        limits=OutboxLimits(ballast_bytes=SIZE),
    )
    told: list[bool] = []
    outbox.on_reserve = told.append
    set_free(monkeypatch, 0)
    append, path = outbox._append_record, tmp_path / "ballast"

    def on_a_full_disk(body: StationEvent, created_at: datetime) -> int:
        if path.exists():  # stands for a disk whose last blocks the reserve has
            raise StorageError("outbox: database or disk is full") from sqlite3.OperationalError()
        return append(body, created_at)

    monkeypatch.setattr(outbox, "_append_record", on_a_full_disk)
    assert outbox.append_record(EVENT, created_at=NOON) == 1
    assert not outbox.counts().has_ballast
    set_free(monkeypatch, 10**9)
    outbox.settle(IngestAck(stream=Stream.RECORDS, boot_id=boot_id, seqs=(1,)))
    assert outbox.counts().has_ballast
    assert told == [False, True]
    outbox.close()
