"""Each role's main job in a real browser: it can be done, and by nobody who may not."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

playwright = pytest.importorskip("playwright.sync_api")

from playwright.sync_api import Page, expect  # noqa: E402

CHROMIUM = Path("/usr/bin/chromium")
CELL = "demo/assembly/line1/cell1"

pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists(), reason="Chromium is not installed: apt-get install chromium"
)


class Site(Protocol):
    """The running server that `conftest` starts."""

    url: str

    def get(self, path: str) -> Any: ...  # noqa: ANN401 - any JSON


AsRole = Callable[[str], Page]


def _ask(page: Page, path: str) -> Any:  # noqa: ANN401 - any JSON
    """Ask the API as the person at the page."""
    return page.evaluate("path => fetch(path).then(answer => answer.json())", path)


def test_a_viewer_sees_the_line_and_nothing_to_press(site: Site, as_role: AsRole) -> None:
    page = as_role("viewer")
    page.goto(site.url)
    expect(page.locator("article").first).to_be_visible()
    expect(page.get_by_role("button", name="False reject")).to_have_count(0)
    expect(page.get_by_role("link", name="Admin")).to_have_count(0)
    page.goto(f"{site.url}/admin")
    expect(page.get_by_text("This page is not for your role")).to_be_visible()


def test_an_operator_contradicts_a_verdict_with_one_tap(site: Site, as_role: AsRole) -> None:
    page = as_role("operator")
    page.goto(site.url)
    button = page.locator("article").first.get_by_role("button", name="Missed defect")
    part = button.locator("small").inner_text()
    button.click()
    expect(page.get_by_text(f"{part} is noted as missed defect")).to_be_visible()
    expect(button).to_be_disabled()
    alarm = page.locator("article").nth(1).get_by_role("alert").filter(has_text="Clean the lamp")
    expect(alarm).to_be_visible()


def test_quality_drags_an_operating_point_into_a_proposal_and_takes_a_report(
    site: Site, as_role: AsRole
) -> None:
    page = as_role("quality")
    page.goto(f"{site.url}/quality?period=24h")
    expect(page.get_by_text("of 40 audited OK parts")).to_be_visible()
    expect(page.locator(".sl-chart canvas")).to_be_visible()
    expect(page.get_by_role("link", name="Bolt missing")).to_be_visible()
    handle = page.get_by_role("slider")
    handle.scroll_into_view_if_needed()
    box = page.locator(".sl-curve__plot svg").bounding_box()
    grip = handle.bounding_box()
    assert box is not None
    assert grip is not None
    y = box["y"] + 0.6 * box["height"]
    page.mouse.move(grip["x"] + grip["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(grip["x"] - 80, y, steps=4)
    page.mouse.up()
    page.keyboard.press("ArrowLeft")
    chosen = float(handle.get_attribute("aria-valuenow") or "1")
    assert chosen < 0.45
    page.get_by_label("Why").fill("two escapes last week")
    page.get_by_role("button", name="Propose for the recipe").click()
    expect(page.get_by_text(re.compile(r"Proposal \d+ waits"))).to_be_visible()
    [newest, *_] = _ask(page, "/v1/recipe-proposals")["items"]
    assert newest["thresholds"] == {"missing_bolt": chosen}
    assert newest["note"] == "two escapes last week"
    with page.expect_download() as download:
        page.get_by_role("link", name="Report as CSV").click()
    assert "first-pass yield,all cells" in Path(download.value.path()).read_text()


def test_controls_takes_a_proposal_and_holds_a_cell_back(site: Site, as_role: AsRole) -> None:
    page = as_role("controls")
    page.goto(f"{site.url}/fleet")
    row = page.locator(f'tr[data-cell="{CELL}"]')
    row.get_by_role("button", name="Pause").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(row.get_by_role("button", name="Pause")).to_have_attribute("aria-pressed", "true")
    assert _ask(page, f"/v1/cells/{CELL}")["mode"] == "pause"
    row.locator(".sl-bare").click()
    expect(page.get_by_text("Brightness of the picture")).to_be_visible()


def test_an_engineer_finds_a_part_by_the_score_of_a_class(site: Site, as_role: AsRole) -> None:
    page = as_role("ml")
    page.goto(f"{site.url}/trace?category=missing_bolt&low=0.5&high=1")
    page.locator("tbody tr:has(img) a").first.click()
    expect(page.get_by_text("What happened")).to_be_visible()
    expect(page.get_by_text("mean grey")).to_be_visible()
    page.goto(f"{site.url}/trace")
    page.get_by_label("Serial number").fill("P-018201")
    page.keyboard.press("Enter")
    page.wait_for_url("**/parts/P-018201")
    page.goto(f"{site.url}/dead-letters")
    expect(page.get_by_text("The picture is cut off")).to_be_visible()


def test_an_administrator_adds_a_program_gives_it_a_token_and_locks_it(
    site: Site, as_role: AsRole
) -> None:
    page = as_role("admin")
    page.goto(f"{site.url}/admin")
    page.get_by_role("button", name="Add somebody").click()
    page.get_by_role("dialog").get_by_label("Name").fill("robot7")
    page.get_by_role("dialog").get_by_role("button", name="Add").click()
    row = page.locator("tr", has_text="robot7")
    expect(row.get_by_text("nothing yet")).to_be_visible()
    page.goto(f"{site.url}/admin?tab=tokens")
    page.get_by_role("button", name="Make a token").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("User").click()
    page.get_by_role("option", name="robot7").click()
    dialog.get_by_label("What it is for").fill("cell 7")
    dialog.get_by_role("button", name="Make").click()
    token = dialog.locator(".sl-secret .sl-code").inner_text()
    assert len(token) > 40
    page.goto(f"{site.url}/admin")
    row.get_by_role("button", name="Lock").click()
    page.get_by_role("dialog").get_by_role("button", name="Lock").click()
    expect(row.get_by_text("locked")).to_be_visible()
    page.goto(f"{site.url}/admin?tab=audit")
    expect(page.get_by_text("lock user")).to_be_visible()
    actions = [entry["action"] for entry in _ask(page, "/v1/audit?subject=robot7")["items"]]
    assert actions == ["lock user", "make token", "set user"]
