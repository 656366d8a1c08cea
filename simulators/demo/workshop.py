"""Files of the demonstration: its folder, ports, brokers' and programs' configurations."""

import contextlib
import fcntl
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from models.contract.recipe import Recipe
from models.contract.topics import CellAddress
from simulators.demo.plan import DemoPlan
from simulators.errors import SimulatorError
from simulators.ports import free_port, is_free
from simulators.recipes import write_recipe

BROKER = "broker"
MOSQUITTO_CONF = """\
listener {port} 127.0.0.1
allow_anonymous true
set_tcp_nodelay true
max_queued_messages 100000
max_inflight_messages 1000
max_packet_size 20000000
persistence false
log_type error
log_type warning
{user}"""
IOTCORE_CONF = """\
id = 0

[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 1000
max_segment_size = 104857600
max_segment_count = 10

[v5.1]
name = "v5"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 20000000
max_inflight_count = 1000
dynamic_filters = true
"""


@dataclass(frozen=True, slots=True)
class CellFiles:
    """What belongs to one cell."""

    address: CellAddress
    folder: Path
    config: Path
    spool: Path
    outbox: Path


class Workshop:
    """The data folder of a demonstration, locked for as long as it runs.

    Raises:
        SimulatorError: another demonstration uses the folder, or it cannot be written.
    """

    def __init__(self, plan: DemoPlan) -> None:
        self.plan = plan
        self.root = plan.data_dir.resolve()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self.root / ".lock")
            self.ports = self._read_ports()
        except OSError as error:
            raise SimulatorError(f"cannot use {self.root}: {error.strerror or error}") from error
        self.truth = self.root / "truth.jsonl"
        self.base = self.root / "base"
        self.base_snapshot = self.root / "snapshots" / "base"
        self.cloud_config = self.root / "cloud.toml"
        self.tuf_root = self.root / "cloud" / "root.json"
        self.recipe = self.root / "recipe.toml"

    def close(self) -> None:
        """Let go of the folder."""
        self._lock.close()

    @property
    def cells(self) -> tuple[CellFiles, ...]:
        """Files of every cell, in the plan's order."""
        return tuple(self._cell_files(address) for address in self.plan.cells)

    @property
    def broker_port(self) -> int:
        """Where the broker listens."""
        return self.ports[BROKER]

    def write_configuration(self, recipe: Recipe, bundle: Path) -> None:
        """Write what the broker, the cloud and every cell are told."""
        write_recipe(recipe, self.recipe)
        user = "user root\n" if os.geteuid() == 0 else ""
        (self.root / "mosquitto.conf").write_text(
            MOSQUITTO_CONF.format(port=self.broker_port, user=user)
        )
        (self.root / "iotcore.toml").write_text(IOTCORE_CONF.format(port=self.broker_port))
        self.cloud_config.write_text(to_toml(self._cloud()))
        for cell in self.cells:
            cell.spool.mkdir(parents=True, exist_ok=True)
            cell.config.write_text(to_toml(self._edge(cell, bundle)))

    def broker_command(self) -> list[str]:
        """Mosquitto where it is installed, else the broker that comes in a wheel.

        Raises:
            SimulatorError: neither is there.
        """
        mosquitto = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if mosquitto:
            return [mosquitto, "-c", str(self.root / "mosquitto.conf")]
        if importlib.util.find_spec("iotcore") is not None:
            config = str(self.root / "iotcore.toml")
            return [sys.executable, "-m", "iotcore", "--config", config, "--log-level", "CRITICAL"]
        raise SimulatorError(
            "no MQTT broker: run apt-get install mosquitto (or pip install iotcore)"
        )

    def _cell_files(self, path: str) -> CellFiles:
        address = CellAddress.parse(path)
        folder = self.root / "cells" / f"{address.line}-{address.cell}"
        return CellFiles(
            address, folder, folder / "edge.toml", folder / "spool", folder / "data" / "outbox"
        )

    def _cloud(self) -> dict[str, dict[str, Any]]:
        plan, learning = self.plan, self.plan.learning
        return {
            "database": {"url": "sqlite:///cloud/sightline.db"},
            "storage": {"url": "cloud/images", "snapshots_url": "snapshots"},
            "broker": {"host": "127.0.0.1", "port": self.broker_port, "reconnect_cap_s": 2.0},
            "http": {"host": "127.0.0.1", "port": plan.port},
            "auth": {"require_login": False},
            "tuf": {
                "dir": "cloud/tuf",
                "keys_dir": "cloud/tuf-keys",
                "offline_keys_dir": "cloud/tuf-offline",
                "root_file": "cloud/root.json",
            },
            "retraining": {
                "dir": "cloud/runs",
                "bundles_dir": "cloud/bundles",
                "command": [str(Path(sys.executable).parent / "sightline-train")],
                "master": learning.master,
                "workers": learning.workers,
                "budget": learning.budget,
                "extra_arguments": list(learning.extra_arguments),
                "min_new_labels": learning.min_new_labels,
                "min_per_new_category": learning.min_per_new_category,
                "cool_down_s": learning.cool_down_s,
                "check_period_s": 2.0,
                "auto_promote": True,
            },
            "gates": {
                "min_locked_images": learning.min_locked_images,
                # The great gain comes once; a demonstration that goes on also takes small ones.
                "min_map50_gain": learning.min_map50_gain if self.plan.once else 0.0,
                "max_class_drop": learning.max_class_drop,
                "max_int8_drop": learning.max_int8_drop,
                "max_int8_class_drop": learning.max_int8_class_drop,
                "latency_budget_ms": learning.latency_budget_ms,
            },
            "rollout": {
                "canary_cells": 1,
                "canary_parts": plan.canary_parts,
                "shadow_parts": plan.shadow_parts,
                "check_period_s": 1.0,
                "wave_timeout_s": 600.0,
            },
        }

    def _edge(self, cell: CellFiles, bundle: Path) -> dict[str, dict[str, Any]]:
        address, broker = cell.address, {"host": "127.0.0.1", "port": self.broker_port}
        return {
            "cell": {
                "site": address.site,
                "area": address.area,
                "line": address.line,
                "cell": address.cell,
                "is_simulated": self.plan.photographs is None,
            },
            "camera": {"kind": "folder", "path": "spool", "mode": "spool"},
            "model": {"bundle": str(bundle), "num_threads": 1},
            "recipe": {"path": str(self.recipe)},
            "broker": {**broker, "reconnect_max_s": 1.0},
            "uplink": {**broker, "reconnect_max_s": 2.0, "report_s": 2.0, "resend_s": 3.0},
            "update": {
                "enabled": True,
                "base_url": f"http://127.0.0.1:{self.plan.port}/tuf",
                "root": str(self.tuf_root),
            },
            "hard_examples": {
                "seed": self.plan.seed,
                "max_per_hour": 3600,
                "max_ratio": 0.3,
                "low_score": 0.35,
                "band": 0.15,
                "audit_ratio": self.plan.audit_ratio,
            },
            "http": {"port": self.ports[str(address)]},
        }

    def _read_ports(self) -> dict[str, int]:
        """Ports of an earlier run where they are still free, else new ones."""
        path = self.root / "ports.json"
        known: dict[str, int] = {}
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(path.read_text())
        ports: dict[str, int] = {}
        for name in (BROKER, *self.plan.cells):
            port = known.get(name, 0)
            ports[name] = port if port and is_free(port) else free_port()
        path.write_text(json.dumps(ports))
        return ports


def to_toml(document: Mapping[str, Mapping[str, Any]]) -> str:
    """Tables of plain values as TOML."""
    lines: list[str] = []
    for section, table in document.items():
        lines.append(f"[{section}]")
        # JSON writes strings, numbers, booleans and lists of them as TOML does.
        lines += [
            f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()
        ]
        lines.append("")
    return "\n".join(lines)


def _locked(path: Path) -> TextIO:
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise SimulatorError(
            f"a demonstration already runs in {path.parent}: end it or give another --data-dir"
        ) from error
    return file
