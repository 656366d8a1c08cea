"""``sightline-edge monitor``: the handshake between PLC and cell, live in the terminal.

It only listens: nothing that it does reaches PLC or cell.
"""

import queue
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any
from uuid import uuid4

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge_agent.adapters.mqtt_connection import (
    BrokerAccess,
    Connected,
    ConnectionEvent,
    Disconnected,
    MqttConnection,
    Received,
)
from edge_agent.signal_book import PARSERS, SignalBook
from models.contract.topics import CellAddress

REFRESH_S = 0.25
VERDICT_STYLES = {"ok": "green", "not_ok": "bold red", "not_decidable": "yellow"}


class Monitor:
    """Listens to one cell's channels.

    Args:
        access: the cell's broker; the client id is one of our own.
        cell: whose channels.

    Raises:
        ConfigurationError: a TLS file cannot be used.
    """

    def __init__(self, access: BrokerAccess, cell: CellAddress) -> None:
        self.book = SignalBook()
        self.connection_text = "connecting"
        self._cell = cell
        self._channels = {cell.topic(channel): channel for channel in PARSERS}
        self._events: queue.SimpleQueue[tuple[int, ConnectionEvent]] = queue.SimpleQueue()
        self._connection = MqttConnection(
            access,
            listener=lambda event: self._events.put((time.monotonic_ns(), event)),
            subscriptions=tuple(self._channels),
        )

    def start(self) -> None:
        """Connect in the background, for as long as it takes."""
        self._connection.start()

    def stop(self) -> None:
        """Disconnect."""
        self._connection.stop()

    def listen(self, until: float) -> None:
        """Take in what is said until that time of the monotonic clock."""
        while (left_s := until - time.monotonic()) > 0:
            try:
                now_ns, event = self._events.get(timeout=left_s)
            except queue.Empty:
                return
            match event:
                case Received(topic, payload) if topic in self._channels:
                    self.book.take_in(self._channels[topic], payload, now_ns)
                case Connected():
                    self.connection_text = "connected"
                case Disconnected(cause):
                    self.connection_text = f"broker: {cause}"
                case _:
                    pass

    def wait_for_status(self, timeout_s: float) -> bool:
        """Listen until the cell's retained status is in; whether it came."""
        until = time.monotonic() + timeout_s
        while self.book.status is None and time.monotonic() < until:
            self.listen(min(until, time.monotonic() + REFRESH_S))
        return self.book.status is not None

    def as_dict(self) -> dict[str, Any]:
        """Everything, for machines."""
        head = {"cell": str(self._cell), "connection": self.connection_text}
        return head | self.book.as_dict(time.monotonic_ns())

    def frames(self) -> Iterator[Group]:
        """What to show, four times a second, without end."""
        while True:
            self.listen(time.monotonic() + REFRESH_S)
            yield self._frame(time.monotonic_ns())

    def _frame(self, now_ns: int) -> Group:
        book = self.book
        return Group(
            _head(str(self._cell), self.connection_text, book, now_ns),
            _signal_row(book, now_ns),
            _parts(book),
            Text("  ".join(f"{name} {count}" for name, count in sorted(book.counters.items()))),
            Text(book.last_fault, style="red"),
        )


def listening_access(access: BrokerAccess) -> BrokerAccess:
    """The same broker and account under a client id that throws nobody out."""
    return replace(access, client_id=f"monitor-{uuid4().hex[:12]}", session_expiry_s=0)


def show(monitor: Monitor, console: Console) -> None:
    """Draw until Ctrl-C."""
    frames = monitor.frames()
    with Live(next(frames), console=console, auto_refresh=False, screen=console.is_terminal) as it:
        for frame in frames:
            it.update(frame, refresh=True)


def _head(cell: str, connection: str, book: SignalBook, now_ns: int) -> Table:
    table = Table.grid(padding=(0, 2))
    status, age_s = book.status, book.age_s(now_ns)
    table.add_row(Text(cell, style="bold"), connection)
    if status is None or age_s is None:
        table.add_row("state", Text("never heard of", style="yellow"))
        return table
    is_live = book.is_live(now_ns)
    state = Text(str(status.station_state) if is_live else f"STALE: {status.connection}")
    state.stylize("green" if is_live else "bold red")
    table.add_row("state", state, f"heartbeat {status.heartbeat}, {age_s:.1f} s ago")
    recipe = f"{status.recipe_id} v{status.recipe_version}" if status.recipe_id else "none"
    model = f"{status.model.name} r{status.model.release}" if status.model else "none"
    table.add_row("recipe", recipe, f"model {model}")
    for alarm in status.alarms:
        table.add_row(Text(alarm.code, style="bold red"), alarm.cause, alarm.action)
    return table


def _signal_row(book: SignalBook, now_ns: int) -> Table:
    values = asdict(book.signals(now_ns))
    table = Table(*values, show_edge=False)
    table.add_row(*(_lamp(value) for value in values.values()))
    return table


def _lamp(value: object) -> Text:
    if isinstance(value, bool):
        return Text("● 1" if value else "○ 0", style="green" if value else "dim")
    return Text("-" if value is None else str(value))


def _parts(book: SignalBook) -> Table:
    table = Table("part", "view", "trigger_id", "ack ms", "acquired ms", "result ms", "answer", "")
    for line in reversed(book.lines):
        extra = f" x{line.num_triggers}" if line.num_triggers > 1 else ""
        style = VERDICT_STYLES.get(line.answer.split(" ", 1)[0], "")
        is_open = line.num_results and not line.is_acknowledged
        answer = Text(line.answer + (" (not acknowledged)" if is_open else ""), style=style)
        times = (line.ack_ms, line.acquired_ms, line.result_ms)
        table.add_row(
            line.part_id,
            line.view,
            line.trigger_id[-12:] + extra,
            *("" if value is None else f"{value:.1f}" for value in times),
            answer,
            line.reasons,
        )
    return table
