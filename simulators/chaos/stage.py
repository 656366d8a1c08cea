"""What a fault test is played on: brokers, an agent, an ingest and a line, all of them real."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from simulators.broker_link import BrokerAddress
from simulators.chaos.cloud import CloudIngest
from simulators.chaos.edge import CELL, EdgeAgent
from simulators.chaos.line import ToyLine
from simulators.chaos.processes import wait_for

IS_FULL = os.environ.get("SIGHTLINE_CHAOS") == "full"
"""Whether faults are injected as often and as long as `make chaos` wants."""
MAX_LOAD_PER_CPU = 1.5
READY_S = 90.0
"""A machine that runs other things beside starts an agent in 20 s instead of 2."""


class BrokerProcess(Protocol):
    """A broker that can be killed and started again on the same port."""

    port: int

    def start(self) -> None:
        """Listen again."""
        ...

    def kill(self) -> None:
        """SIGKILL."""
        ...


@dataclass
class Row:
    """One line of the report."""

    number: int
    fault: str
    times: int = 0
    invariant: str = ""
    figure: str = ""
    seconds: float = 0.0
    seed: int = 0


@dataclass
class Stage:
    """Everything that a fault test starts ends with it."""

    folder: Path
    is_full: bool
    seed: int
    bundle: Path
    new_broker: Callable[[], BrokerProcess]
    rows: list[Row] = field(default_factory=list)
    cleanups: list[Callable[[], object]] = field(default_factory=list)

    def times(self, *, short: int, full: int) -> int:
        """How often a fault is injected in this form of the test."""
        return full if self.is_full else short

    @property
    def is_timed(self) -> bool:
        """Whether times mean something: in full, on a machine that does little else."""
        return self.is_full and os.getloadavg()[0] <= MAX_LOAD_PER_CPU * (os.cpu_count() or 1)

    def row(self, number: int, fault: str, times: int, invariant: str, figure: str) -> None:
        """Write a line of the report, once everything that it says was asserted."""
        if not self.is_timed:
            figure += f" [load {os.getloadavg()[0]:.0f}: times not asserted]"
        self.rows.append(Row(number, fault, times, invariant, figure, seed=self.seed))

    def agent(
        self,
        port: int,
        *,
        name: str = "edge",
        uplink_port: int | None = None,
        is_started: bool = True,
        **settings: str,
    ) -> EdgeAgent:
        """An agent, which ends with the test."""
        edge = EdgeAgent(
            self.folder / name, self.bundle, port=port, uplink_port=uplink_port, settings=settings
        )
        self.cleanups.append(edge.process.kill)
        if is_started:
            edge.process.start()
        return edge

    def ingest(self, port: int, **settings: str) -> CloudIngest:
        """An ingest with its database, which ends with the test."""
        cloud = CloudIngest(self.folder / "cloud", port=port, **settings)
        cloud.migrate()
        self.cleanups.append(cloud.process.kill)
        cloud.process.start()
        return cloud

    def line(
        self, port: int, edge: EdgeAgent, *, period_s: float = 0.1, deadline_ms: int = 5_000
    ) -> ToyLine:
        """A PLC whose parts are checked; started once the station is Ready."""
        line = ToyLine(
            CELL,
            BrokerAddress("127.0.0.1", port),
            edge.spool,
            period_s=period_s,
            seed=self.seed,
            deadline_ms=deadline_ms,
        )
        self.cleanups.append(line.stop)
        line.start()
        wait_for(lambda: line.plc.is_station_ready, READY_S, f"Ready\n{edge.process.log}")
        return line
