"""The pages of learning in a real browser: second looks, pictures alike, datasets, two models."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

playwright = pytest.importorskip("playwright.sync_api")

from playwright.sync_api import Browser, BrowserContext, Page, expect  # noqa: E402

CHROMIUM = Path("/usr/bin/chromium")
SEED = Path(__file__).with_name("seed_learning.py")
USER, PASSWORD = "mara", "correct horse"  # as seeded
SESSION_COOKIE = "sightline_session"
START_TIMEOUT_S = 90.0
TIMEOUT_MS = 20_000
expect.set_options(timeout=TIMEOUT_MS)

pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists(), reason="Chromium is not installed: apt-get install chromium"
)


class Site(Protocol):
    """A running server, as `conftest` starts it."""

    url: str
    token: str

    def get(self, path: str) -> Any: ...  # noqa: ANN401 - any JSON

    def ask(self, path: str, body: object = None) -> Any: ...  # noqa: ANN401 - any JSON


Settled = Callable[[Page, Site, str, str], Any]


@dataclass
class Visit:
    """A page that somebody who is signed in looks at, and what went wrong on it."""

    page: Page
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    serving: Callable[..., AbstractContextManager[Site]],
) -> Iterator[Site]:
    """A plant with pictures alike, opinions that differ, a data set and two models."""
    folder = tmp_path_factory.mktemp("plant")
    with serving(folder, SEED, "--pictures", "12", "--parts", "36", "--dataset", "30") as site:
        yield site


@pytest.fixture(scope="module")
def browser_context(browser: Browser, site: Site) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(TIMEOUT_MS)
    context.add_cookies([{"name": SESSION_COOKIE, "value": site.token, "url": site.url}])
    yield context
    context.close()


@pytest.fixture
def visit(browser_context: BrowserContext) -> Iterator[Visit]:
    """A page that must end without a complaint."""
    visit = Visit(browser_context.new_page())
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.page.on(
        "console",
        lambda message: (
            visit.complaints.append(message.text) if message.type in {"error", "warning"} else None
        ),
    )
    yield visit
    visit.page.close()
    assert visit.complaints == []


def waiting(site: Site, status: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = site.get(f"/v1/review?status={status}&limit=200")["items"]
    return found


def test_an_arbiter_decides_between_two_opinions_with_the_keyboard(
    site: Site, visit: Visit, settled: Settled
) -> None:
    page = visit.page
    (disputed,) = waiting(site, "disputed")
    ben = next(one for one in disputed["opinions"] if one["reviewer"] == "ben")
    page.goto(f"{site.url}/review")
    expect(page.locator(".sl-opinions b")).to_have_text("Two reviewers disagree")
    page.keyboard.press("w")
    page.keyboard.press("Enter")
    decided = settled(page, site, disputed["sha256"], "labelled")
    assert decided["annotations"] == ben["annotations"]
    assert decided["reviewer"] == USER


def test_a_second_look_begins_without_the_first_ones_boxes(
    site: Site, visit: Visit, settled: Settled
) -> None:
    page = visit.page
    (second,) = waiting(site, "second_look")
    page.goto(f"{site.url}/review")
    expect(page.locator(".sl-opinions b")).to_have_text("Second look")
    # Boxes of a model are dashed, those of a person are not.
    expect(page.locator(".sl-mark__line:not([stroke-dasharray])")).to_have_count(0)
    page.keyboard.press("Enter")
    settled(page, site, second["sha256"], "labelled")


def test_one_label_goes_to_the_pictures_that_look_alike_and_comes_back_with_undo(
    site: Site, visit: Visit, settled: Settled
) -> None:
    page = visit.page
    first = next(item for item in waiting(site, "pending") if item["num_alike"])
    alike = [item["sha256"] for item in site.get(f"/v1/review/{first['sha256']}/alike")]
    page.goto(f"{site.url}/review?picture={first['sha256']}")
    expect(page.locator(".sl-queue__item.is-current b")).to_contain_text(first["part_id"])
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("alike")).to_contain_text(f"look like {first['part_id']}")
    page.keyboard.press("g")
    for sha256 in alike:
        settled(page, site, sha256, "labelled")
    page.keyboard.press("z")
    for sha256 in alike:
        settled(page, site, sha256, "pending")
    settled(page, site, first["sha256"], "labelled")


def test_keys_alone_draw_move_stretch_and_name_a_box(
    site: Site, visit: Visit, settled: Settled
) -> None:
    page = visit.page
    page.goto(f"{site.url}/review")
    page.get_by_test_id("stage").wait_for()
    part = page.locator(".sl-queue__item.is-current b").inner_text().split("+")[0]
    sha256 = next(i["sha256"] for i in waiting(site, "pending") if i["part_id"] == part)
    for key in ("6", "n", "Control+Shift+ArrowRight", "Alt+ArrowDown", "7", "Enter"):
        page.keyboard.press(key)
    settled(page, site, sha256, "labelled")
    boxes = site.get(f"/v1/review/{sha256}")["annotations"]
    # An eighth of 640 x 512 in the middle, 10 px to the right, 2 px taller.
    assert {"category": "torn_label", "bbox": [290.0, 224.0, 80.0, 66.0]} in boxes


def test_a_person_has_nearly_all_of_twelve_seconds_for_each_picture(
    site: Site, visit: Visit
) -> None:
    """300 pictures an hour are 12 s each; this is what the page takes of them."""
    page = visit.page
    page.goto(f"{site.url}/review")
    current = page.locator(".sl-queue__item.is-current b")
    current.wait_for()
    spent = []
    for number in range(min(6, len(waiting(site, "pending")) - 2)):
        before = current.inner_text()
        for key in ("Tab", "7") if number % 3 == 1 else ():
            page.keyboard.press(key)
        started = time.monotonic()
        page.keyboard.press("x" if number % 3 == 2 else "Enter")
        page.wait_for_function(
            """before => {
                const name = document.querySelector('.sl-queue__item.is-current b');
                const url = document.querySelector('.sl-easel__stage image')?.getAttribute('href');
                if (!name || name.innerText === before || !url) return false;
                const picture = new Image(); picture.src = url;
                return picture.complete;
            }""",
            arg=before,
            polling=10,
        )
        spent.append(time.monotonic() - started)
    print(f"decision to next picture: median {1000 * statistics.median(spent):.0f} ms of {spent}")  # noqa: T201
    assert statistics.median(spent) < 1.0


def test_a_snapshot_shows_its_pictures_and_where_it_led(site: Site, visit: Visit) -> None:
    page = visit.page
    page.goto(f"{site.url}/datasets")
    for words in ("Boxes of each category", "Likely label errors", "Agreement of reviewers"):
        expect(page.get_by_text(words).first).to_be_visible()
    expect(page.locator(".sl-graph__node.is-chosen")).to_have_count(1)
    picture = page.locator(".sl-sheet__panes").first
    expect(picture.locator("rect").first).to_be_attached()
    picture.click()
    expect(page.get_by_role("dialog")).to_contain_text("boxes")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_two_models_are_compared_picture_by_picture_and_the_card_is_shown(
    site: Site, visit: Visit
) -> None:
    page = visit.page
    page.goto(f"{site.url}/models?release=2")
    page.get_by_role("button", name="Model card").click()
    expect(page.frame_locator("iframe").get_by_text("mAP@0.5").first).to_be_visible()
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Compare pictures").click()
    expect(page.get_by_text("Two models, picture by picture")).to_be_visible()
    better = page.locator(".sl-segment--better")
    better.click()
    expect(page.locator(".is-miss.sl-sheet__word").first).to_contain_text("missed")
    counts = site.get("/v1/retrainings/20251121-1f3a/comparison")["counts"]
    expect(better).to_contain_text(str(counts["better"]))
