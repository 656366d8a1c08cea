"""One cell's agent as a process of its own, with everything it needs in one folder."""

import json
import sqlite3
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from models.contract.topics import CellAddress
from simulators.chaos.processes import ManagedProcess
from simulators.chaos.toy_model import RECIPE
from simulators.ports import free_port

CELL = CellAddress("plant", "hall", "line1", "cell1")


class EdgeAgent:
    """An installation of the agent.

    Args:
        folder: for its settings and data.
        bundle: the model that it starts with.
        port: of the cell's broker.
        uplink_port: of the cloud's broker; the cell's own when None.
        settings: TOML tables to add, by section: ``{"outbox": "max_bytes = 5"}``.
    """

    def __init__(
        self,
        folder: Path,
        bundle: Path,
        *,
        port: int,
        uplink_port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.spool = folder / "spool"
        self.http_port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "edge.toml"
        tables = {
            "cell": 'site = "plant"\narea = "hall"\nline = "line1"\ncell = "cell1"',
            "camera": 'path = "spool"',
            "model": f'bundle = "{bundle}"',
            "recipe": 'path = "grey.toml"',
            "broker": f"port = {port}",
            "uplink": f"port = {uplink_port or port}\nresend_s = 2.0\nreconnect_max_s = 2.0",
            "http": f"port = {self.http_port}",
        }
        for name, lines in (settings or {}).items():
            tables[name] = f"{tables[name]}\n{lines}" if name in tables else lines
        (folder / "grey.toml").write_text(RECIPE, encoding="utf-8")
        document = "\n".join(f"[{name}]\n{lines}" for name, lines in tables.items())
        self.config.write_text(document, encoding="utf-8")
        self.process = ManagedProcess(
            ("-m", "edge_agent.cli", "run", "-c", str(self.config)), folder / "edge.log"
        )

    @property
    def outbox_path(self) -> Path:
        """Its database."""
        return self.folder / "data/outbox/outbox.sqlite3"

    def sequences(self) -> dict[str, int]:
        """How many records each boot has made."""
        return self._pairs("SELECT boot_id, last_seq FROM sequences WHERE stream = 'records'")

    def waiting_sequences(self) -> dict[str, int]:
        """Records of each boot that wait."""
        return self._pairs(
            "SELECT boot_id, count(*) FROM pending WHERE stream = 'records' GROUP BY boot_id"
        )

    def num_waiting(self, stream: str = "records") -> int:
        """Rows that wait for the cloud."""
        query = f"SELECT 'n', count(*) FROM pending WHERE stream = '{stream}'"  # noqa: S608 - a constant
        return self._pairs(query).get("n", 0)

    def waiting_parts(self) -> list[str]:
        """Parts whose records wait, in their order."""
        query = "SELECT body, 0 FROM pending WHERE stream = 'records' ORDER BY row_id"
        bodies = [json.loads(body)["body"] for body in self._pairs(query)]
        return [body["part_id"] for body in bodies if body["kind"] == "inspection"]

    def metric(self, name: str) -> float:
        """A figure of its metrics page; 0 where there is none."""
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.http_port}/metrics", timeout=10
        ) as answer:
            lines = answer.read().decode().splitlines()
        values = [line.rsplit(" ", 1)[1] for line in lines if line.split(" ", 1)[0] == name]
        return float(values[0]) if values else 0.0

    def _pairs(self, query: str) -> dict[str, int]:
        if not self.outbox_path.exists():
            return {}
        with sqlite3.connect(f"file:{self.outbox_path}?mode=ro", uri=True, timeout=10) as database:
            return {key: value for key, value in database.execute(query)}  # noqa: C416
