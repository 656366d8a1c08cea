"""Puts the dashboard on the web application."""

from fastapi import FastAPI
from nicegui import app as nicegui_app
from nicegui import ui

from cloud.api.context import Context
from cloud.dashboard import (
    account,
    admin,
    compare,
    datasets,
    dead_letters,
    fleet,
    line,
    login,
    models,
    part,
    quality,
    review,
    trace,
    training,
)
from cloud.dashboard.elements import STATIC
from cloud.dashboard.frame import STATIC_URL, Frame

PAGES = (
    login, line, quality, trace, part, review, datasets, compare, models, training, fleet,
    dead_letters, admin, account,
)  # fmt: skip
RECONNECT_S = 10.0
YEAR_S = 365 * 24 * 3600


def install(app: FastAPI, context: Context) -> None:
    """Register every page and put NiceGUI below the application."""
    frame = Frame(context)
    # File names carry a hash of their content.
    nicegui_app.add_static_files(STATIC_URL, STATIC, max_cache_age=YEAR_S)
    for page in PAGES:
        page.install(frame)
    ui.run_with(
        app,
        title="Sightline",
        favicon=STATIC / "favicon.svg",
        dark=None,
        reconnect_timeout=RECONNECT_S,
        binding_refresh_interval=None,
        tailwind=False,
        show_welcome_message=False,
    )
