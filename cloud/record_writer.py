"""Records into their tables and counters, in one transaction, each exactly once.

Those that are there already are left out first; what two processes write at the same moment the
unique keys refuse, and the batch is tried again. So each row that goes in is new, and counts.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from cloud.arrivals import RecordArrival
from cloud.ingest_rows import RecordRows, table_name
from cloud.record_driver import Pair, RecordDriver, RecordKey, record_driver
from cloud.tallies import (
    ResultFacts,
    Tallies,
    TallyKey,
    of_reasons,
    of_results,
    of_truth,
    quarter_of,
)
from cloud.tally_store import add_tallies, late_looks
from models.contract.messages import Event, Inspection, Truth


def write_records(
    session: Session, arrivals: Iterable[RecordArrival], *, is_thorough: bool = False
) -> None:
    """Add the records that are not there yet, and count them.

    Args:
        session: The transaction.
        arrivals: What came.
        is_thorough: Look for each record, even those that number higher than all before them.

    Raises:
        IntegrityError: another process wrote some of them at the same moment: try again.
    """
    driver = record_driver(session.connection())
    fresh = _fresh(driver, arrivals, is_thorough=is_thorough)
    if not fresh:
        return
    tallies = Tallies()
    firsts = _choose_firsts(driver, fresh, tallies)
    rows, results, hard = RecordRows(driver.moment), [], []
    for arrival in fresh:
        event, body = arrival.event, arrival.event.body
        cell, at = event.cell, event.created_at.astimezone(UTC)
        is_first = False
        if isinstance(body, Inspection):
            is_first = firsts.get((body.part_id, cell)) is arrival
            results.append(
                ResultFacts(
                    cell, quarter_of(at), body.recipe_id, body.verdict.value,
                    body.is_partial, is_first,
                )
            )  # fmt: skip
            if body.reasons:
                tallies.update(of_reasons(cell, at, body))
            if body.hard_reasons:
                hard.append(body.result_id)
        elif isinstance(body, Truth):
            tallies[of_truth(cell, at, body)] += 1
        rows.add(arrival, at, is_first=is_first)
    for table, table_rows in rows.tables.items():
        if table_rows:
            driver.add(table, table_rows)
    driver.count_boots(fresh)
    tallies.update(of_results(results))
    if hard:
        tallies.update(late_looks(session, hard))
    add_tallies(session, tallies)


def _key(event: Event) -> RecordKey:
    return event.cell, event.boot_id.int, event.seq


def _fresh(
    driver: RecordDriver, arrivals: Iterable[RecordArrival], *, is_thorough: bool
) -> list[RecordArrival]:
    tables: dict[str, dict[RecordKey, RecordArrival]] = defaultdict(dict)
    for arrival in arrivals:
        tables[table_name(arrival.event.body)].setdefault(_key(arrival.event), arrival)
    boots = {key[:2] for sent in tables.values() for key in sent}
    last_seqs = {} if is_thorough else driver.last_seqs(boots)
    fresh: list[RecordArrival] = []
    for table, sent in tables.items():
        # What numbers higher than all that came before it cannot be there.
        maybe = [key for key in sent if is_thorough or key[2] <= last_seqs.get(key[:2], 0)]
        known = driver.known(table, maybe) if maybe else set()
        fresh += [arrival for key, arrival in sent.items() if key not in known]
    # Two processes that insert the same rows in different orders would deadlock.
    return sorted(fresh, key=lambda arrival: _key(arrival.event))


def _choose_firsts(
    driver: RecordDriver, fresh: Sequence[RecordArrival], tallies: Tallies
) -> dict[Pair, RecordArrival]:
    """Which of these are the first of their parts; one that was and is no longer is taken back."""
    chosen: dict[Pair, RecordArrival] = {}
    for arrival in fresh:
        body = arrival.event.body
        if isinstance(body, Inspection) and not body.is_partial:
            pair = body.part_id, arrival.event.cell
            other = chosen.setdefault(pair, arrival)
            if other is not arrival and _order(arrival) < _order(other):
                chosen[pair] = arrival
    known = driver.firsts(chosen) if chosen else {}
    later = []
    for pair, first in known.items():
        if _order(chosen[pair]) < first[:3]:
            later.append(first.row_id)
            start_s = quarter_of(first.created_at)
            tallies[TallyKey("first", pair[1], start_s, first.recipe_id, first.verdict)] -= 1
        else:
            del chosen[pair]
    driver.take_back(later)
    return chosen


def _order(arrival: RecordArrival) -> tuple[datetime, str, int]:
    event = arrival.event
    return event.created_at, str(event.boot_id), event.seq
