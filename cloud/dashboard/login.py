"""`/login`: name and password, where the settings ask for them."""

from asyncio import to_thread

from fastapi import Request
from fastapi.responses import RedirectResponse
from nicegui import ui

from cloud.dashboard.elements import LoginForm
from cloud.dashboard.frame import Frame
from cloud.dashboard.links import safe_target


def install(frame: Frame) -> None:
    """Register the page."""

    async def login(request: Request) -> RedirectResponse | None:
        target = safe_target(request.query_params.get("next", "/"))
        if await to_thread(frame.identify, request) is not None:
            return RedirectResponse(target)
        frame.dress(request, "Sign in")
        LoginForm(target)
        return None

    ui.page("/login")(login)
