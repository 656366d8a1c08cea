"""What was promised to the PLC outlives the process, and what became durable the machine."""

import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from edge_agent.errors import StorageError
from edge_agent.journal import VerdictJournal
from edge_agent.journal_file import PREPARE_RATIO, JournalFile
from models.contract.messages import PlcResult, Rejection, ResultState, TriggerAck, Verdict

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SMALL = 4096


def result(trigger_id: str, verdict: Verdict = Verdict.NOT_DECIDABLE) -> PlcResult:
    return PlcResult(
        trigger_id=trigger_id,
        result_id=uuid4(),
        job_id=uuid4(),
        part_id=f"part of {trigger_id}",
        view="main",
        verdict=verdict,
        result_state=ResultState.ABORTED,
        recipe_id="plate",
        recipe_version=2,
        processing_ms=0,
    )


class Disk:
    """A disk whose power can be cut: it keeps what was synced, and syncs when it is let."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: dict[str, bytes] = {}
        self.may_sync = threading.Event()
        self.may_sync.set()
        self.num_syncs = 0

    def sync(self, file: int) -> None:
        assert self.may_sync.wait(5)
        name = Path(f"/proc/self/fd/{file}").readlink().name
        self.kept[name] = os.pread(file, os.fstat(file).st_size, 0)
        self.num_syncs += 1

    def cut_power(self, after: Path) -> None:
        after.mkdir()
        for name, content in self.kept.items():
            (after / name).write_bytes(content)


def open_journal(folder: Path, disk: Disk | None = None) -> VerdictJournal:
    sync = disk.sync if disk else os.fdatasync
    return VerdictJournal(JournalFile(folder / "journal", segment_bytes=SMALL, sync=sync))


def intend(journal: VerdictJournal, number: int) -> PlcResult:
    unknown = result(f"t{number}")
    ack = TriggerAck(trigger_id=unknown.trigger_id, acquisition_id=number)
    # A file of a few lines is full before a busy machine has made room in the other one.
    end = time.monotonic() + 5
    while not journal.intend(ack, unknown, at=NOW):
        assert time.monotonic() < end, "no room"
        time.sleep(0.001)
    return unknown


def wait_durable(journal: VerdictJournal, number: int) -> None:
    is_told = threading.Event()
    journal._on_durable = is_told.set
    while not journal.is_durable(number):
        assert is_told.wait(5)
        is_told.clear()


def test_verdict_that_was_given_is_known_after_the_process_died(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    unknown = intend(journal, 1)
    verdict = unknown.model_copy(update={"verdict": Verdict.NOT_OK, "processing_ms": 7.5})
    journal.write(verdict, decided_at=NOW)
    (entry,) = open_journal(tmp_path).entries
    assert (entry.result, entry.is_recorded) == (verdict, False)
    assert entry.ack is not None
    assert entry.ack.acquisition_id == 1


def test_part_without_a_verdict_is_known_as_aborted(tmp_path: Path) -> None:
    unknown = intend(open_journal(tmp_path), 1)
    (entry,) = open_journal(tmp_path).entries
    assert entry.inspection is not None
    assert entry.inspection.result_id == unknown.result_id
    assert entry.inspection.result_state is ResultState.ABORTED


def test_every_durable_intent_survives_a_power_cut_at_any_moment(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    journal = open_journal(tmp_path, disk)
    journal.start()
    answered = []
    for number in range(1, 30):
        unknown = intend(journal, number)
        wait_durable(journal, number)  # from here on the verdict may go out
        answered.append(unknown.result_id)
        after = tmp_path / f"cut{number}"
        disk.cut_power(after)
        known = {e.result.result_id for e in open_journal(after).entries if e.result}
        assert known >= set(answered[-3:])
        journal.write(unknown, decided_at=NOW)
        journal.settle(unknown.result_id)
    journal.close()


def test_intent_is_not_durable_before_the_disk_says_so(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    journal = open_journal(tmp_path, disk)
    journal.start()
    disk.may_sync.clear()
    intend(journal, 1)
    assert not journal.is_durable(1)
    disk.may_sync.set()
    wait_durable(journal, 1)
    journal.close()


def test_failing_disk_holds_no_verdict_up(tmp_path: Path) -> None:
    def refuse(_file: int) -> None:
        raise OSError(5, "Input/output error")

    journal = VerdictJournal(JournalFile(tmp_path / "journal", segment_bytes=SMALL, sync=refuse))
    journal.start()
    intend(journal, 1)
    wait_durable(journal, 1)
    journal.close()


def wait_prepared(journal: VerdictJournal) -> None:
    """As a line does with its pauses between two parts."""
    file, end_s = journal._file, time.monotonic() + 5
    while file._position > PREPARE_RATIO * SMALL and not file._is_spare_ready:
        assert time.monotonic() < end_s
        time.sleep(0.001)


def test_journal_goes_round_in_two_files_and_never_grows(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.start()
    for number in range(1, 101):
        unknown = intend(journal, number)
        wait_durable(journal, number)
        wait_prepared(journal)
        journal.write(unknown, decided_at=NOW)
        journal.settle(unknown.result_id)
    journal.close()
    assert {path.stat().st_size for path in tmp_path.iterdir()} == {SMALL}
    entries = open_journal(tmp_path).entries
    assert entries[-1].result == unknown
    assert len(entries) >= 2
    assert all(entry.is_recorded for entry in entries)


def test_no_verdict_waits_while_the_other_file_is_emptied(tmp_path: Path) -> None:
    is_emptied, goes_on = threading.Event(), threading.Event()

    def sync(file: int) -> None:
        if number > 1 and not os.pread(file, SMALL, 0).strip(b"\x00"):
            is_emptied.set()
            assert goes_on.wait(5)

    number = 0
    journal = VerdictJournal(JournalFile(tmp_path / "journal", segment_bytes=SMALL, sync=sync))
    journal.start()
    while not is_emptied.is_set():
        number += 1
        unknown = intend(journal, number)
        wait_durable(journal, number)  # also when the disk does not come back from emptying
        journal.settle(unknown.result_id)
        is_emptied.wait(0.01)
    goes_on.set()
    journal.close()


def test_what_is_not_recorded_is_never_overwritten(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.start()
    written: list[PlcResult] = []

    def write_on_and_on() -> None:
        while True:
            unknown = result(f"t{len(written)}")
            journal.write(unknown, decided_at=NOW)
            written.append(unknown)

    with pytest.raises(StorageError, match="full of verdicts"):
        write_on_and_on()
    journal.close()
    assert [entry.result for entry in open_journal(tmp_path).entries] == written


def test_refusal_is_remembered_for_its_part(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    ack = TriggerAck(trigger_id="t1", rejection=Rejection.BUSY)
    journal.refuse(ack, ("part-1", "main", "plate"), at=NOW)
    (entry,) = open_journal(tmp_path).entries
    assert (entry.ack, entry.request, entry.result) == (ack, ("part-1", "main", "plate"), None)
