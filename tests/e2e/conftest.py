"""A seeded plant behind a real server, and a real browser; one of each for all tests here."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import pytest

from simulators.ports import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = Path("/usr/bin/chromium")
SEED = Path(__file__).with_name("seed_operations.py")
START_TIMEOUT_S = 90.0
TIMEOUT_MS = 15_000
USER, PASSWORD = "mara", "correct horse"  # as seeded
SESSION_COOKIE = "sightline_session"
FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


class SiteLike(Protocol):
    """A server that can be asked."""

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON
        """Answer of the API."""


@dataclass
class Site:
    """A running server with a seeded plant."""

    url: str
    token: str = ""

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON
        return self.ask(path)

    def ask(self, path: str, body: object = None) -> Any:  # noqa: ANN401 - any JSON
        """Answer to a GET, or to a POST of a body."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(self.url + path, data, headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return json.load(answer)

    def sign_in(self, name: str = USER) -> str:
        """Open a session; the first one is also the site's own."""
        token = str(self.ask("/v1/sessions", {"name": name, "password": PASSWORD})["token"])
        self.token = self.token or token
        return token


@dataclass
class Watched:
    """A page and what went wrong on it."""

    page: "Page"
    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)


def _config(folder: Path, port: int) -> Path:
    path = folder / "cloud.toml"
    path.write_text(
        f'[database]\nurl = "sqlite:///{folder}/sightline.db"\n'
        f'[storage]\nurl = "{folder}/images"\nsnapshots_url = "{folder}/snapshots"\n'
        f"[http]\nport = {port}\n"
        f'[tuf]\ndir = "{folder}/tuf"\nkeys_dir = "{folder}/keys"\n'
        f'[retraining]\nenabled = false\ndir = "{folder}/runs"\nbundles_dir = "{folder}/bundles"\n'
        # Nothing listens there: the dashboard must not need the broker.
        f"[broker]\nport = {free_port()}\n"
    )
    return path


@contextmanager
def _serving(folder: Path, seed: Path, *arguments: str) -> Iterator[Site]:
    """A server over a plant that a seeding script made; mara is signed in."""
    root = SEED.parents[2]
    subprocess.run(
        [sys.executable, seed, folder, *arguments],
        check=True,
        cwd=root,
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
    )
    port = free_port()
    program = Path(sys.executable).with_name("sightline-cloud")
    log = (folder / "serve.log").open("wb")
    process = subprocess.Popen(
        [program, "serve", "--config", _config(folder, port)], stdout=log, stderr=subprocess.STDOUT
    )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with socket.socket() as probe:
                probe.settimeout(0.5)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(Path(log.name).read_text()[-2000:])
            time.sleep(0.1)
        site = Site(f"http://127.0.0.1:{port}")
        site.sign_in()
        yield site
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        log.close()


@pytest.fixture(scope="session")
def serving() -> Callable[..., AbstractContextManager[Site]]:
    """What starts another server over another plant: ``(folder, seeding script, *arguments)``."""
    return _serving


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("plant")
    with _serving(folder, SEED, "--pictures", "8", "--parts", "120") as site:
        yield site


# Of a module, not of the session: Playwright's loop runs in this thread as long as it lives, and
# whatever comes after could not start one of its own.
@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    from playwright.sync_api import expect, sync_playwright

    # A machine that trains beside the tests answers late; what never comes fails all the same.
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def settled() -> "Callable[[Page, SiteLike, str, str], Any]":
    """Wait until the server has heard what became of a picture; gives the picture."""

    def wait(page: "Page", site: SiteLike, sha256: str, status: str) -> Any:  # noqa: ANN401
        # Not by a function of the page: Playwright takes the promise of an answer for a yes.
        deadline = time.monotonic() + TIMEOUT_MS / 1000
        while True:
            item = site.get(f"/v1/review/{sha256}")
            if item["status"] == status:
                return item
            assert time.monotonic() < deadline, f"{sha256} is {item['status']}, not {status}"
            page.wait_for_timeout(50)

    return wait


@pytest.fixture
def stranger(browser: "Browser") -> "Iterator[BrowserContext]":
    """A browser that nobody has signed in with."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(TIMEOUT_MS)
    yield context
    context.close()


@pytest.fixture
def context(stranger: "BrowserContext", site: Site) -> "BrowserContext":
    """A browser that mara has signed in with."""
    stranger.add_cookies([{"name": SESSION_COOKIE, "value": site.token, "url": site.url}])
    return stranger


@pytest.fixture
def watched(context: "BrowserContext") -> Iterator[Watched]:
    """A page that must end without a complaint and without having called anybody else."""
    watched = Watched(context.new_page())
    page = watched.page
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    page.on(
        "console",
        lambda message: (
            watched.complaints.append(message.text)
            if message.type in {"error", "warning"}
            else None
        ),
    )
    page.on("request", lambda request: watched.hosts.add(urlsplit(request.url).hostname or "data"))
    yield watched
    assert watched.complaints == []
    assert watched.hosts <= {"127.0.0.1", "data"}


@pytest.fixture
def as_role(browser: "Browser", site: Site) -> "Iterator[Callable[[str], Page]]":
    """A page of somebody with a role, in a browser of their own."""
    contexts = []

    def open_page(role: str) -> "Page":
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        token = site.sign_in(role)
        context.add_cookies([{"name": SESSION_COOKIE, "value": token, "url": site.url}])
        return context.new_page()

    yield open_page
    for context in contexts:
        context.close()
