"""The dashboard in a real browser: what people see, and that what they do is kept."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

playwright = pytest.importorskip("playwright.sync_api")

from playwright.sync_api import BrowserContext, Page, expect  # noqa: E402

CHROMIUM = Path("/usr/bin/chromium")
TIMEOUT_MS = 15_000
USER, PASSWORD = "mara", "correct horse"  # as seeded

pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists(), reason="Chromium is not installed: apt-get install chromium"
)


class Site(Protocol):
    """The running server that `conftest` starts."""

    url: str

    def get(self, path: str) -> Any: ...  # noqa: ANN401 - any JSON


Settled = Callable[[Page, Site, str, str], Any]


class Watched(Protocol):
    """A page that must end without a complaint."""

    page: Page


def _pending(site: Site) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = site.get("/v1/review?status=pending&limit=100")["items"]
    return found


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        pytest.param("/", ["Line 1 · Cell 1", "OK this shift", "Earlier part"], id="line"),
        pytest.param("/trace", ["P-018", "Line 2 · Cell 1", "plate r1"], id="results"),
        pytest.param("/trace?verdict=not_ok", ["NOT_OK"], id="results narrowed by the address"),
        pytest.param("/parts/P-018201", ["What happened", "plate v2"], id="trace"),
        pytest.param("/parts/never-made", ["No part never-made is known"], id="unknown part"),
        pytest.param("/review", ["waiting", "missing bolt", "Accept"], id="review"),
        pytest.param("/models", ["plate r1", "Rollout", "Gates", "Lineage"], id="models"),
        pytest.param("/quality", ["of 40 audited OK parts", "Pareto"], id="quality"),
        pytest.param("/fleet", ["Rollout of release 2", "too few parts", "Canary"], id="fleet"),
        pytest.param("/dead-letters", ["The picture is cut off"], id="dead letters"),
        pytest.param("/account", ["Password", "ml: trains, releases"], id="account"),
        pytest.param("/training", ["Next training", "released", "Release 2", "Log"], id="training"),
    ],
)
def test_every_page_shows_its_content_and_asks_nobody_else(
    site: Site, watched: Watched, path: str, texts: list[str]
) -> None:
    watched.page.goto(site.url + path)
    for text in texts:
        expect(watched.page.get_by_text(text).first).to_be_visible(timeout=TIMEOUT_MS)
    expect(watched.page.get_by_text("Live", exact=True)).to_be_visible()


def test_a_click_on_a_result_leads_to_the_trace_with_its_picture(
    site: Site, watched: Watched
) -> None:
    page = watched.page
    page.goto(site.url + "/trace?reason=reject")
    page.locator("tbody tr:has(img) a").first.click()
    expect(page.get_by_text("What happened")).to_be_visible()
    expect(page.locator(".sl-picture img")).to_have_js_property("complete", value=True)
    expect(page.locator(".sl-box").first).to_be_visible()


def test_the_keyboard_is_enough_to_label_a_picture(
    site: Site, watched: Watched, settled: Settled
) -> None:
    page = watched.page
    page.goto(site.url + "/review")
    stage = page.get_by_test_id("stage")
    expect(stage).to_be_visible()
    part = page.locator(".sl-queue__item.is-current b").inner_text()
    before = next(item for item in _pending(site) if item["part_id"] == part)
    page.keyboard.press("Tab")  # first box in reading order
    page.keyboard.press("7")  # is a torn label
    page.keyboard.press("Tab")
    page.keyboard.press("Delete")
    page.keyboard.press("Enter")
    expect(page.locator(".sl-queue__item.is-current b")).not_to_have_text(part)
    saved = settled(page, site, before["sha256"], "labelled")
    assert saved["revision"] == 1
    categories = [box["category"] for box in saved["annotations"]]
    assert categories.count("torn_label") == 1
    assert len(categories) == len(before["proposals"]) - 1


def test_a_box_drawn_with_the_mouse_is_saved_where_it_was_drawn(
    site: Site, watched: Watched, settled: Settled
) -> None:
    page = watched.page
    page.goto(site.url + "/review")
    page.get_by_test_id("stage").wait_for()
    part = page.locator(".sl-queue__item.is-current b").inner_text()
    sha256 = next(item for item in _pending(site) if item["part_id"] == part)["sha256"]
    page.keyboard.press("6")  # scratch
    picture = page.locator(".sl-easel__stage image").bounding_box()
    assert picture is not None
    scale = picture["width"] / 640
    left, top = picture["x"] + 300 * scale, picture["y"] + 240 * scale
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(left + 20 * scale, top + 10 * scale)
    page.mouse.move(left + 64 * scale, top + 32 * scale)
    page.mouse.up()
    page.get_by_role("button", name=re.compile("^Save")).click()
    saved = settled(page, site, sha256, "labelled")
    drawn = [box["bbox"] for box in saved["annotations"] if box["category"] == "scratch"]
    assert any(bbox == pytest.approx([300, 240, 64, 32], abs=2.0) for bbox in drawn)


def test_undo_brings_the_last_picture_back(site: Site, watched: Watched) -> None:
    page = watched.page
    page.goto(site.url + "/review")
    current = page.locator(".sl-queue__item.is-current b")
    part = current.inner_text()
    page.keyboard.press("x")
    expect(current).not_to_have_text(part)
    page.keyboard.press("z")
    expect(current).to_have_text(part)
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 done")).to_be_visible()


def test_a_false_reject_goes_back_into_review(site: Site, watched: Watched) -> None:
    page = watched.page
    page.goto(site.url + "/")
    card = page.locator("article").first
    card.locator(".sl-shot:has(img)").first.click()
    dialog = page.get_by_role("dialog")
    part = dialog.locator("a").first.inner_text()
    dialog.get_by_role("button", name="False reject").click()
    expect(page.get_by_text(f"{part} is noted as false reject")).to_be_visible()
    item = next(item for item in _pending(site) if item["part_id"] == part)
    assert "contradiction" in item["hard_reasons"]


def test_the_chosen_theme_stays(site: Site, watched: Watched) -> None:
    page = watched.page
    page.goto(site.url + "/models")
    page.get_by_role("button", name="Switch to the dark theme").click()
    page.goto(site.url + "/training")
    expect(page.locator("body.body--dark")).to_be_visible()


def test_pages_ask_for_a_name_and_lead_back_after_it(site: Site, stranger: BrowserContext) -> None:
    page = stranger.new_page()
    page.goto(f"{site.url}/models?release=1")
    page.get_by_label("Name").fill(USER)
    page.get_by_label("Password").fill("wrong horse")
    page.keyboard.press("Enter")
    expect(page.get_by_text("name or password is wrong")).to_be_visible()
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/models?release=1")
    expect(page.get_by_text("plate r1").first).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
