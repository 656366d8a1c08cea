"""Every page, list and figure over a long history: how long it takes, and how it grows."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg

from simulators.ports import free_port

from ..machine import commit, load_average  # noqa: TID252
from .figures import say, spread
from .history import keep_history
from .seeding import NUM_CELLS, ROWS_A_DAY
from .servers import broker, cloud, postgresql, process, wait_for_port

ROUNDS = 40
CELL = "plant/hall/line3/cell7"
PAGES = (
    "/", "/quality", "/trace", "/review", "/datasets", "/models", "/compare", "/training", "/fleet",
    "/dead-letters", "/admin", "/account",
)  # fmt: skip
LONGER = 1.5
"""An answer that grows by more than this is longer because it covers more days."""
Call = tuple[str, dict[str, Any]]


def prepare(folder: Path, *, size: int, is_fresh: bool) -> dict[str, Any]:
    """Make the history, without measuring anything: that needs no quiet machine."""
    if is_fresh:
        _Kept(folder / "pages.json").forget()
    with postgresql(folder / "postgresql") as server:
        history = keep_history(server, size=size, is_fresh=is_fresh)
    return {"top": {}, "results": history.num_results, "seconds": round(history.seconds, 1)}


def measure(
    folder: Path, *, sizes: tuple[int, ...], rounds: int = ROUNDS, is_fresh: bool = False
) -> dict[str, Any]:
    """Time everything at each size, the history growing backwards in between.

    What was measured at a size stays in the folder: a later run, over a longer history, tells it
    again and goes on from there.
    """
    kept = _Kept(folder / "pages.json")
    if is_fresh:
        kept.forget()
    details: dict[str, Any] = {"rows_a_day": ROWS_A_DAY, "cells": NUM_CELLS}
    with postgresql(folder / "postgresql") as server:
        for number, size in enumerate(sizes):
            history = keep_history(server, size=size, is_fresh=is_fresh and number == 0)
            details["seeding_s"] = round(history.seconds, 1)
            if history.num_results > size:
                if size not in kept.by_size:
                    raise SystemExit(
                        f"the history has {history.num_results:,} results already, and nothing is"
                        f" known of {size:,}: --fresh makes it anew"
                    )
                say(f"pages: {size:,} results: as measured before")
                continue
            with _serving(folder, history.url) as client:
                timed = _time_all(client, history.newest, size, rounds)
            age_h = (datetime.now(UTC) - history.newest).total_seconds() / 3600
            kept.keep(size, timed, age_h=round(age_h, 1), gigabytes=_size_gb(history.url))
            say(f"pages: {size:,} results: {_worst(timed)}")
    by_size = {size: kept.by_size[size] for size in sizes}
    small, large = by_size[sizes[0]], by_size[sizes[-1]]
    growth, growth_of_longer = _growth(small, large)
    trace = large["trace"]
    pages = {name: figures["p95"] for name, figures in large.items()}
    top: dict[str, Any] = {
        "page_p95_ms_worst": max(pages.values()),
        "page_p95_worst_is": max(pages, key=lambda name: pages[name]),
        "trace_p95_ms": trace["p95"],
        "sizes": {"results": list(sizes), "rounds": rounds},
    }
    if len(sizes) > 1:
        top |= {
            "growth_1m_to_10m_worst": max(growth.values()),
            "growth_worst_is": max(growth, key=lambda name: growth[name]),
        }
    return {
        "top": top,
        "by_size": {str(size): found for size, found in by_size.items()},
        "measured": {str(size): kept.circumstances[size] for size in sizes},
        "growth_of_p50": growth,
        "growth_of_p50_of_longer_answers": growth_of_longer,
        **details,
    }


def _growth(
    small: dict[str, dict[str, float]], large: dict[str, dict[str, float]]
) -> tuple[dict[str, float], dict[str, float]]:
    """Of the medians; apart where the answer itself is longer, as that of each day of all years."""
    growth: dict[str, float] = {}
    longer: dict[str, float] = {}
    for name, before in small.items():
        after = large.get(name)
        if after is None or before["p50"] <= 0:
            continue
        is_longer = after["bytes"] > LONGER * before["bytes"]
        (longer if is_longer else growth)[name] = round(after["p50"] / before["p50"], 2)
    return growth, longer


class _Kept:
    """What was measured at each size, and when."""

    def __init__(self, path: Path) -> None:
        self._path = path
        document = json.loads(path.read_text()) if path.exists() else {}
        self.by_size: dict[int, dict[str, dict[str, float]]] = {
            int(size): found["timed"] for size, found in document.items()
        }
        self.circumstances: dict[int, dict[str, Any]] = {
            int(size): found["measured"] for size, found in document.items()
        }

    def keep(self, size: int, timed: dict[str, dict[str, float]], **facts: object) -> None:
        self.by_size[size] = timed
        self.circumstances[size] = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "load_average_after": load_average(),
            **facts,
        }
        document = {
            str(known): {"timed": found, "measured": self.circumstances[known]}
            for known, found in self.by_size.items()
        }
        self._path.write_text(json.dumps(document, indent=1) + "\n")

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)
        self.by_size.clear()
        self.circumstances.clear()


@contextmanager
def _serving(folder: Path, url: str) -> Iterator[httpx.Client]:
    port, config = free_port(), folder / "cloud.toml"
    with broker(folder) as broker_port:
        config.write_text(
            f'[database]\nurl = "{url}"\n[storage]\nmin_free_bytes = 0\n[http]\nport = {port}\n'
            f"[auth]\nrequire_login = false\n[broker]\nport = {broker_port}\n"
            "[retraining]\nenabled = false\n"
        )
        with process(cloud("serve", "--config", str(config)), folder / "serve.log"):
            wait_for_port(port)
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
                yield client


def _time_all(
    client: httpx.Client, newest: datetime, size: int, rounds: int
) -> dict[str, dict[str, float]]:
    """Each call ``rounds`` times, after one that does not count, in milliseconds."""
    timed = {}
    for name, call in _calls(client, newest, size).items():
        times = []
        for number in range(rounds + 1):
            path, parameters = call(number)
            started = time.perf_counter()
            answer = client.get(path, params=parameters)
            if number:
                times.append(1000 * (time.perf_counter() - started))
            if answer.status_code >= 400:
                raise SystemExit(f"{path} {parameters}: {answer.status_code} {answer.text[:200]}")
        timed[name] = spread(times, 1) | {"bytes": len(answer.content)}
    return timed


def _calls(client: httpx.Client, newest: datetime, size: int) -> dict[str, Callable[[int], Call]]:
    days = size / ROWS_A_DAY

    def at(share: float) -> str:
        return (newest - timedelta(days=days * share)).isoformat()

    def serial(number: int) -> str:
        return f"SN{(number * 7_919 * 997) % size:09d}"

    def deep(number: int) -> Call:
        # A page in the middle of history, found by its time: what "older" leads to after hours.
        return "/v1/results", {"until": at(0.4 + number / 1000)}

    def fixed(path: str, **parameters: object) -> Callable[[int], Call]:
        return lambda _number: (path, parameters)

    statistics = "/v1/statistics"
    calls: dict[str, Callable[[int], Call]] = {
        "trace": lambda number: (f"/v1/parts/{serial(number)}", {}),
        "list part_id": lambda number: ("/v1/results", {"part_id": serial(number)}),
        "list": fixed("/v1/results"),
        "list 500": fixed("/v1/results", limit=500),
        "list deep": deep,
        "list cell": fixed("/v1/results", cell=CELL),
        "list verdict": fixed("/v1/results", verdict="not_ok"),
        "list rare verdict of a cell": fixed("/v1/results", cell=CELL, verdict="not_decidable"),
        "list category": fixed("/v1/results", category="scratch", cell=CELL),
        "list no such category": fixed("/v1/results", category="nothing"),
        "list reason": fixed("/v1/results", reason="blurred"),
        "list rare hard reason": fixed("/v1/results", hard_reason="novelty"),
        "list hard reason of a cell": fixed("/v1/results", hard_reason="audit", cell=CELL),
        "list score": fixed("/v1/results", detected="bolt", score_to=0.1),
        "cells": fixed("/v1/cells"),
        "cell": fixed(f"/v1/cells/{CELL}"),
        "cell events": fixed(f"/v1/cells/{CELL}/events"),
        "summary of all": fixed(f"{statistics}/summary"),
        "summary of a cell": fixed(f"{statistics}/summary", cell=CELL),
        "summary ragged": fixed(f"{statistics}/summary", since=at(0.8), until=at(0.1)),
        "pareto of all": fixed(f"{statistics}/pareto"),
        "pareto ragged": fixed(f"{statistics}/pareto", since=at(0.8), until=at(0.1)),
        "yield hourly": fixed(f"{statistics}/yield"),
        "yield daily": fixed(f"{statistics}/yield", bucket_s=86_400),
        "yield by the minute": fixed(f"{statistics}/yield", bucket_s=60),
        "records": fixed(f"{statistics}/records"),
        "review queue": fixed("/v1/review"),
        "audit log": fixed("/v1/audit"),
        "audit log of one": fixed("/v1/audit", actor="nobody"),
        "dead letters": fixed("/v1/dead-letters"),
        "metrics": fixed("/metrics"),
    }
    calls |= {f"page {page}": fixed(page) for page in PAGES}
    known = client.get("/v1/openapi.json").json()["paths"]
    for path, methods in known.items():
        # Whatever else the API lists without asking for anything.
        wanted = methods.get("get", {}).get("parameters", [])
        # An export is as long as what it exports.
        is_list = "get" in methods and not path.endswith(("/export", ".json"))
        if is_list and not any(parameter.get("required") for parameter in wanted):
            calls.setdefault(f"GET {path}", fixed(path))
    return {name: call for name, call in calls.items() if _is_there(client, call)}


def _is_there(client: httpx.Client, call: Callable[[int], Call]) -> bool:
    path, parameters = call(0)
    return client.get(path, params=parameters).status_code not in {404, 405, 409, 501, 503}


def _size_gb(url: str) -> float:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        (size,) = connection.execute("SELECT pg_database_size(current_database())").fetchone() or (
            0,
        )
    return round(int(size) / 1e9, 2)


def _worst(timed: dict[str, dict[str, float]]) -> str:
    ordered = sorted(timed, key=lambda name: -timed[name]["p95"])[:5]
    return ", ".join(f"{name} {timed[name]['p95']:g} ms" for name in ordered)
