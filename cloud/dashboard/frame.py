"""The frame around every page: who is asking, header, theme, style sheet, login."""

import hashlib
from asyncio import to_thread
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse
from nicegui import ui
from sqlalchemy import select

from cloud.api.context import Context, bearer_or_cookie
from cloud.auth import Identity
from cloud.dashboard.elements import STATIC, SiteHeader
from cloud.dashboard.feed import Feed
from cloud.dashboard.pieces import empty
from cloud.db.session import Database
from cloud.db.tables import Cell, ReviewStatus, Role
from cloud.errors import NotSignedInError
from cloud.statistics_queries import count_pictures

STATIC_URL = "/dashboard-static"
THEME_COOKIE = "sightline_theme"
BEAT_PERIOD_S = 2.0
IDENTIFY_BEATS = 15

PAGES: tuple[dict[str, str], ...] = (
    {"path": "/", "title": "Line"},
    {"path": "/quality", "title": "Quality"},
    {"path": "/trace", "title": "Trace"},
    {"path": "/review", "title": "Review", "count_title": "pictures wait for a look"},
    {"path": "/datasets", "title": "Datasets"},
    {"path": "/models", "title": "Models"},
    {"path": "/training", "title": "Training"},
    {"path": "/fleet", "title": "Fleet"},
    {"path": "/admin", "title": "Admin", "role": Role.ADMIN},
)
"""In the order of the header; one with a role is shown to people who have at least that."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What the header of every page shows."""

    site: str
    num_pending: int


class Frame:
    """Makes pages: one instance for the process."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._beat = Feed(lambda: _read_beat(context.database), period_s=BEAT_PERIOD_S)
        self._style = _hashed("sightline.css")

    def identify(self, request: Request) -> Identity | None:
        """Who is asking; None when somebody must sign in first.

        Raises:
            UnavailableError: the database cannot be asked.
        """
        try:
            return self.context.accounts.identify(bearer_or_cookie(request))
        except NotSignedInError:
            return None

    @contextmanager
    def page(
        self, request: Request, identity: Identity, *, title: str, current: str, classes: str = ""
    ) -> Iterator[None]:
        """Everything of a page but its content."""
        self.dress(request, title)
        header = SiteHeader(
            pages=pages_for(identity),
            current=current,
            identity=identity,
            can_sign_out=self.context.accounts.require_login,
        )
        self._keep_alive(header, request)
        with ui.element("main").classes(f"sl-page sl-page--wide {classes}"):
            yield

    def dress(self, request: Request, title: str) -> None:
        """Theme, style sheet and title; all that the login page needs too."""
        theme = request.cookies.get(THEME_COOKIE)
        dark = {"dark": True, "light": False}.get(theme or "")
        ui.dark_mode(value=dark)
        background = {True: "#0f151b", False: "#edf0f3"}.get(dark, "")  # type: ignore[arg-type]
        ui.add_head_html(
            f'<link rel="stylesheet" href="{self._style}">'
            # Without it the page flashes white before the theme is on.
            f"<style>html {{ background: {background or 'Canvas'}; }}</style>"
        )
        ui.page_title(f"{title} · Sightline")

    def _keep_alive(self, header: SiteHeader, request: Request) -> None:
        feed = self._beat
        ticks = 0

        async def beat() -> None:
            nonlocal ticks
            await feed.refresh()
            ticks += 1
            value = feed.value
            header.show(
                beat=ticks,
                site=value.site if value else "",
                counts={"/review": value.num_pending} if value else {},
                problem=feed.problem,
            )
            # A page may stay open for a shift; whoever signed out or was locked out loses it.
            is_due = ticks % IDENTIFY_BEATS == 0 and not feed.problem
            if is_due and await to_thread(self.identify, request) is None:
                ui.navigate.to("/login")

        ui.timer(BEAT_PERIOD_S, beat)


def pages_for(identity: Identity) -> list[dict[str, str]]:
    """Entries of the header for a person."""
    return [page for page in PAGES if identity.may(Role(page.get("role", Role.VIEWER)))]


def guarded(
    frame: Frame,
    build: Callable[[Request, Identity], Awaitable[None] | None],
    *,
    role: Role = Role.VIEWER,
) -> Callable[[Request], Awaitable[RedirectResponse | None]]:
    """A page that sends people who are not signed in to the login page and back.

    Args:
        frame: Of all pages.
        build: Makes the page.
        role: Who may see it; others are told so.
    """

    async def page(request: Request) -> RedirectResponse | None:
        identity = await to_thread(frame.identify, request)
        if identity is None:
            back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/login?next={quote(back, safe='')}")
        if not identity.may(role):
            with frame.page(request, identity, title="Not allowed", current=""):
                _refuse(identity, role)
            return None
        built = build(request, identity)
        if built is not None:
            await built
        return None

    return page


def _refuse(identity: Identity, role: Role) -> None:
    with ui.element("section").classes("sl-panel"):
        empty(
            "This page is not for your role",
            f"It needs the role {role}; {identity.name} has {identity.role}. "
            "An administrator can change that on the page Admin.",
        )


def _hashed(name: str) -> str:
    """URL of a static file that changes with its content, so that browsers may keep it."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"{STATIC_URL}/{name}?v={digest}"


def _read_beat(database: Database) -> Beat:
    with database.read() as session:
        cells = session.scalars(select(Cell.cell)).all()
        pending = count_pictures(session)[ReviewStatus.PENDING]
    sites = sorted({cell.split("/")[0] for cell in cells})
    return Beat(site=", ".join(sites), num_pending=pending)
