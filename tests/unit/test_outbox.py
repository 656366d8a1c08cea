"""The outbox: nothing that is not acknowledged is lost, nothing acknowledged comes back."""

import hashlib
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge_agent.errors import StorageError
from edge_agent.outbox import SqliteOutbox
from edge_agent.outbox_rows import OutboxLimits, OutboxRow
from edge_agent.ports import Picture
from models.contract.messages import (
    Event,
    HardReason,
    ImageHeader,
    IngestAck,
    Refusal,
    StationEvent,
    Stream,
)
from models.contract.topics import CellAddress

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CELL = CellAddress("plant", "hall", "line1", "cell1")
BODY = StationEvent(code="test", text="something happened")


def make_picture(data: bytes) -> Picture:
    return Picture(
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        width_px=640,
        height_px=512,
        result_id=uuid4(),
        part_id="P1",
        view="main",
        created_at=NOON,
        hard_reasons=(HardReason.AUDIT,),
    )


def open_outbox(folder: Path, **limits: int) -> SqliteOutbox:
    wanted = OutboxLimits(**{"free_disk_bytes": 0, **limits})
    return SqliteOutbox(folder, cell=CELL, boot_id=uuid4(), limits=wanted)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[SqliteOutbox]:
    box = open_outbox(tmp_path)
    yield box
    box.close()


def append_until_it_refuses(box: SqliteOutbox, body: StationEvent) -> None:
    for _ in range(1_000):
        box.append_record(body, created_at=NOON)


def acknowledge(box: SqliteOutbox, *rows: OutboxRow) -> int:
    return sum(
        box.settle(IngestAck(stream=row.stream, boot_id=row.boot_id, seqs=(row.seq,)))
        for row in rows
    )


def test_rows_carry_the_bytes_that_go_over_the_wire(outbox: SqliteOutbox) -> None:
    outbox.append_record(BODY, created_at=NOON)
    outbox.append_image(make_picture(b"jpeg"))
    (record,) = outbox.read(Stream.RECORDS)
    (image,) = outbox.read(Stream.IMAGES)
    assert Event.from_bytes(record.body).body == BODY
    assert ImageHeader.from_bytes(image.body).hard_reasons == (HardReason.AUDIT,)
    assert outbox.picture(image) == b"jpeg"


def test_each_stream_counts_on_its_own(outbox: SqliteOutbox) -> None:
    assert [outbox.append_record(BODY, created_at=NOON) for _ in range(3)] == [1, 2, 3]
    assert outbox.append_image(make_picture(b"a")) == 1


def test_an_acknowledgement_that_comes_twice_removes_nothing_more(outbox: SqliteOutbox) -> None:
    outbox.append_record(BODY, created_at=NOON)
    outbox.append_record(BODY, created_at=NOON)
    (first, _) = outbox.read(Stream.RECORDS)
    assert acknowledge(outbox, first) == 1
    assert acknowledge(outbox, first) == 0
    assert outbox.num_records() == 1


def test_sequence_and_row_id_go_on_after_everything_is_acknowledged(outbox: SqliteOutbox) -> None:
    outbox.append_record(BODY, created_at=NOON)
    (row,) = outbox.read(Stream.RECORDS)
    acknowledge(outbox, row)
    outbox.append_record(BODY, created_at=NOON)
    (later,) = outbox.read(Stream.RECORDS, after=row.row_id)
    assert later.seq == 2


def test_rows_of_an_earlier_boot_are_sent_under_their_own_boot_id(tmp_path: Path) -> None:
    first = open_outbox(tmp_path)
    first.append_record(BODY, created_at=NOON)
    second = open_outbox(tmp_path)
    second.append_record(BODY, created_at=NOON)
    old, new = second.read(Stream.RECORDS)
    assert (old.seq, new.seq) == (1, 1)
    assert old.boot_id != new.boot_id


def test_refused_row_is_set_aside_with_its_cause_and_not_sent_again(outbox: SqliteOutbox) -> None:
    outbox.append_image(make_picture(b"no jpeg"))
    (row,) = outbox.read(Stream.IMAGES)
    refusal = Refusal(seq=row.seq, cause="not a picture")
    outbox.settle(IngestAck(stream=row.stream, boot_id=row.boot_id, refused=(refusal,)))
    assert outbox.read(Stream.IMAGES) == []
    assert outbox.counts().quarantined == 1
    assert outbox.counts().image_bytes == 0


def test_picture_file_stays_while_another_row_needs_it(outbox: SqliteOutbox) -> None:
    outbox.append_image(make_picture(b"same"))
    outbox.append_image(make_picture(b"same"))
    first, second = outbox.read(Stream.IMAGES)
    acknowledge(outbox, first)
    assert outbox.picture(second) == b"same"
    acknowledge(outbox, second)
    with pytest.raises(StorageError, match="cannot be read"):
        outbox.picture(second)


def test_gaps_and_other_boots_stay_when_a_stretch_of_rows_leaves(outbox: SqliteOutbox) -> None:
    for _ in range(20):
        outbox.append_record(BODY, created_at=NOON)
    boot = outbox.read(Stream.RECORDS)[0].boot_id
    gone = (2, 3, 4, 9, 11, 12, 20)
    assert outbox.settle(IngestAck(stream=Stream.RECORDS, boot_id=uuid4(), seqs=gone)) == 0
    assert outbox.settle(IngestAck(stream=Stream.IMAGES, boot_id=boot, seqs=gone)) == 0
    # Not in order, and one of them twice.
    told = IngestAck(stream=Stream.RECORDS, boot_id=boot, seqs=(*reversed(gone), 9))
    assert outbox.settle(told) == len(gone)
    left = [row.seq for row in outbox.read(Stream.RECORDS)]
    assert left == [seq for seq in range(1, 21) if seq not in gone]
    assert outbox.num_records() == len(left)


def test_log_is_moved_into_the_file_in_pauses_of_the_line_alone(outbox: SqliteOutbox) -> None:
    moved: list[int] = []
    outbox.before_tidying = lambda: moved.append(outbox.num_records())
    while len(moved) < 2:
        outbox.append_records([(BODY, NOON)] * 32)
        assert outbox.num_records() < 3_000
    assert moved[0] > 300, "not with each commit"
    with sqlite3.connect(f"file:{outbox._folder}/outbox.sqlite3?immutable=1", uri=True) as alone:
        (count,) = alone.execute("SELECT count(*) FROM pending").fetchone()
    assert count == outbox.num_records(), "all of it is in the file itself"


def test_torn_picture_is_noticed(outbox: SqliteOutbox, tmp_path: Path) -> None:
    outbox.append_image(make_picture(b"whole"))
    (path,) = (tmp_path / "images").glob("*/*")
    path.write_bytes(b"who")
    with pytest.raises(StorageError, match="damaged"):
        outbox.picture(outbox.read(Stream.IMAGES)[0])


def test_full_images_are_thinned_over_their_whole_time_and_counted(tmp_path: Path) -> None:
    box = open_outbox(tmp_path, image_bytes=10_000)
    for number in range(100):
        box.append_image(make_picture(number.to_bytes(2, "big") * 500))
    kept = [row.seq for row in box.read(Stream.IMAGES)]
    counts = box.counts()
    assert counts.image_bytes <= 10_000
    assert counts.images + counts.images_dropped == 100
    assert kept[0] == 1, "the beginning is still there"
    newest = box.picture(box.read(Stream.IMAGES)[-1])[:2]
    assert int.from_bytes(newest, "big") > 80, "and so is the end"


def test_no_picture_is_taken_when_the_disk_is_nearly_full(tmp_path: Path) -> None:
    box = open_outbox(tmp_path, free_disk_bytes=2**62)
    assert box.append_image(make_picture(b"a")) is None
    assert box.append_record(BODY, created_at=NOON) == 1
    assert box.counts().images_dropped == 1


def test_full_database_refuses_records_but_lets_rows_go(tmp_path: Path) -> None:
    box = open_outbox(tmp_path, database_bytes=200_000)
    long = StationEvent(code="test", text="x" * 500)
    with pytest.raises(StorageError, match="full"):
        append_until_it_refuses(box, long)
    stored = box.num_records()
    assert len(box.read(Stream.RECORDS, limit=1_000)) == stored
    acknowledge(box, *box.read(Stream.RECORDS, limit=50))
    assert box.append_record(long, created_at=NOON) == stored + 1


def test_pictures_without_a_row_are_swept_at_start(tmp_path: Path) -> None:
    box = open_outbox(tmp_path)
    box.append_image(make_picture(b"kept"))
    orphan = tmp_path / "images" / "ab" / ("ab" * 32)
    orphan.parent.mkdir()
    orphan.write_bytes(b"left over")
    reopened = open_outbox(tmp_path)
    assert not orphan.exists()
    assert reopened.picture(reopened.read(Stream.IMAGES)[0]) == b"kept"


def test_file_that_is_no_outbox_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "outbox.sqlite3").write_bytes(b"something else entirely" * 100)
    with pytest.raises(StorageError, match="cannot be used"):
        open_outbox(tmp_path)


def test_process_killed_while_appending_loses_nothing_it_was_told_is_stored(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import os
        from datetime import UTC, datetime
        from pathlib import Path
        from uuid import uuid4
        from edge_agent.outbox import SqliteOutbox
        from models.contract.messages import StationEvent
        from models.contract.topics import CellAddress
        box = SqliteOutbox(Path({str(tmp_path)!r}), cell=CellAddress("a", "b", "c", "d"),
                           boot_id=uuid4())
        while True:
            seq = box.append_record(StationEvent(code="x"), created_at=datetime.now(UTC))
            os.write(1, b"%d\\n" % seq)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(37)]
    process.send_signal(signal.SIGKILL)
    told += process.stdout.readlines()
    process.stdout.close()
    process.wait(timeout=10)
    box = open_outbox(tmp_path)
    stored = [row.seq for row in box.read(Stream.RECORDS, limit=10_000)]
    assert stored == list(range(1, len(stored) + 1))
    assert len(stored) in (len(told), len(told) + 1), "at most the one it had no time to report"


class OutboxMachine(RuleBasedStateMachine):
    """Any order of appends, acknowledgements, refusals and crashes against a plain set."""

    @initialize()
    def start(self) -> None:
        in_memory = Path("/dev/shm")  # noqa: S108 - hundreds of databases: spare the disk
        self._folder = tempfile.TemporaryDirectory(dir=in_memory if in_memory.is_dir() else None)
        self.box = open_outbox(Path(self._folder.name))
        self.boot = self.box._boot_id
        self.waiting: set[tuple[Stream, UUID, int]] = set()
        self.gone: set[tuple[Stream, UUID, int]] = set()

    @rule()
    def append_record(self) -> None:
        seq = self.box.append_record(BODY, created_at=NOON)
        self.waiting.add((Stream.RECORDS, self.boot, seq))

    @rule(data=st.binary(min_size=1, max_size=3))
    def append_image(self, data: bytes) -> None:
        seq = self.box.append_image(make_picture(data))
        assert seq is not None
        self.waiting.add((Stream.IMAGES, self.boot, seq))

    @rule(chooser=st.randoms(use_true_random=False), refuse=st.booleans())
    def settle(self, chooser: random.Random, refuse: bool) -> None:
        known = sorted(self.waiting | self.gone)
        if not known:
            return
        stream, boot, seq = chooser.choice(known)
        ack = (
            IngestAck(stream=stream, boot_id=boot, refused=(Refusal(seq=seq, cause="bad"),))
            if refuse
            else IngestAck(stream=stream, boot_id=boot, seqs=(seq,))
        )
        self.box.settle(ack)
        self.waiting.discard((stream, boot, seq))
        self.gone.add((stream, boot, seq))

    @rule()
    def crash_and_start_again(self) -> None:
        self.box.close()
        self.box = open_outbox(Path(self._folder.name))
        self.boot = self.box._boot_id

    @invariant()
    def exactly_the_unacknowledged_rows_wait(self) -> None:
        rows = [row for stream in Stream for row in self.box.read(stream, limit=1_000)]
        assert {row.key for row in rows} == self.waiting
        assert len(rows) == len(self.waiting) == self.box.num_records() + self.box.num_images()
        for row in rows:
            if row.sha256:
                assert hashlib.sha256(self.box.picture(row)).hexdigest() == row.sha256

    def teardown(self) -> None:
        if hasattr(self, "box"):
            self.box.close()
            self._folder.cleanup()


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
