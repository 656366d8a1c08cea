"""Twenty browsers on the Line page: what they cost the server, and how soon they show a part.

Each is the websocket of a real page, without the drawing: twenty Chromiums would need the cores
that are measured.
"""

import ast
import asyncio
import json
import re
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import httpx
import psutil
import websockets

from cloud.arrivals import Delivery, Key, RecordArrival
from cloud.db.migration import migrate
from cloud.db.session import Database
from cloud.image_store import ImageStore
from cloud.ingest_store import IngestStore
from models.contract.messages import Event, Inspection, Stream, Verdict
from models.contract.topics import CellAddress
from simulators.ports import free_port

from .figures import say, spread
from .servers import broker, cloud, new_database, postgresql, process, wait_for_port

NUM_DASHBOARDS = 20
PARTS_A_SECOND = 5
CELLS = [CellAddress("plant", "hall", "line1", f"cell{number}") for number in range(5)]


def measure(folder: Path, *, seconds: int) -> dict[str, Any]:
    """Cores of the serving process, and seconds from a row's commit to each page."""
    port = free_port()
    with (
        broker(folder) as broker_port,
        postgresql(folder / "postgresql") as server,
        closing(Database(new_database(server, "dashboards"))) as database,
    ):
        migrate(database)
        url = database.url.render_as_string(hide_password=False)
        config = folder / "dashboards.toml"
        config.write_text(
            f'[database]\nurl = "{url}"\n[storage]\nurl = "images"\nmin_free_bytes = 0\n'
            f"[http]\nport = {port}\n[auth]\nrequire_login = false\n"
            f"[broker]\nport = {broker_port}\n[retraining]\nenabled = false\n"
        )
        store = IngestStore(database, ImageStore(str(folder / "images")))
        _inspect(store, 0)
        with process(cloud("serve", "--config", str(config)), folder / "serve.log") as serving:
            wait_for_port(port)
            measured = asyncio.run(_watch(port, store, serving.pid, seconds))
    return measured


async def _watch(port: int, store: IngestStore, pid: int, seconds: int) -> dict[str, Any]:
    seen: list[dict[str, float]] = [{} for _ in range(NUM_DASHBOARDS)]
    watchers = [asyncio.create_task(_dashboard(port, times)) for times in seen]
    await asyncio.sleep(5)
    serving, committed = psutil.Process(pid), dict[str, float]()
    before, started = serving.cpu_times(), time.monotonic()
    for number in range(1, seconds * PARTS_A_SECOND + 1):
        part = await asyncio.to_thread(_inspect, store, number)
        committed[part] = time.monotonic()
        await asyncio.sleep(max(0.0, started + number / PARTS_A_SECOND - time.monotonic()))
    after, lasted = serving.cpu_times(), time.monotonic() - started
    await asyncio.sleep(2)
    failed = [task.exception() for task in watchers if task.done() and task.exception()]
    for task in watchers:
        task.cancel()
    if failed:
        raise SystemExit(f"a dashboard ended: {failed[0]!r}")
    delays = _delays(committed, seen)
    cores = (after.user + after.system - before.user - before.system) / lasted
    say(f"dashboards: {cores:.2f} cores, {len(delays)} sightings")
    return {
        "top": {
            "dashboards20_cores": round(cores, 2),
            "dashboards20_live_p95_s": spread(delays)["p95"],
            "sizes": {"dashboards": NUM_DASHBOARDS, "parts_per_s": PARTS_A_SECOND,
                      "seconds": seconds},
        },
        "live_s": spread(delays),
    }  # fmt: skip


def _delays(committed: dict[str, float], seen: list[dict[str, float]]) -> list[float]:
    """Seconds until a page showed a part or one that came after it on the same cell."""
    delays = []
    order = list(committed)
    for times in seen:
        if not times:
            raise SystemExit("a dashboard showed no part at all")
        for number, part in enumerate(order[: -2 * len(CELLS)]):
            followers = order[number :: len(CELLS)]
            shown = [times[name] for name in followers if name in times]
            delays.append(min(shown) - committed[part] if shown else 60.0)
    return delays


async def _dashboard(port: int, seen: dict[str, float]) -> None:
    """Open the page, connect as its script does, and note when each part is first named."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        page = (await client.get("/", timeout=60)).text
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    # NiceGUI writes it as Python does.
    query = ast.literal_eval(re.search(r"query: (\{.*?\})", page)[1])  # type: ignore[index]
    query |= {"document_id": str(uuid4()), "tab_id": str(uuid4()), "old_tab_id": ""}
    query |= {"EIO": 4, "transport": "websocket"}
    url = f"ws://127.0.0.1:{port}/_nicegui_ws/socket.io/?{urlencode(query)}"
    async with websockets.connect(
        url, additional_headers={"Cookie": cookies}, max_size=None
    ) as socket:
        await socket.recv()
        await socket.send("40")
        await socket.recv()
        await socket.send("420" + json.dumps(["handshake", query]))
        async for message in socket:
            content = message if isinstance(message, str) else message.decode(errors="replace")
            if content == "2":
                await socket.send("3")
                continue
            now = time.monotonic()
            for part in re.findall(r"BENCH-\d{6}", content):
                seen.setdefault(part, now)


def _inspect(store: IngestStore, number: int) -> str:
    cell, part = CELLS[number % len(CELLS)], f"BENCH-{number:06d}"
    body = Inspection(
        result_id=UUID(int=number + 1),
        job_id=UUID(int=number + 1),
        trigger_id=f"T{number}",
        part_id=part,
        verdict=Verdict.NOT_OK if number % 10 == 0 else Verdict.OK,
        recipe_id="plate",
        recipe_version=1,
        processing_ms=12.0,
    )
    now = datetime.now(UTC)
    event = Event(cell=str(cell), boot_id=UUID(int=7), seq=number + 1, created_at=now, body=body)
    key = Key(cell, Stream.RECORDS, event.boot_id, event.seq)
    store.write([RecordArrival(key, event, Delivery("", b"", (), now))])
    return part
