"""`/account`: one's own password and tokens."""

from fastapi import Request
from nicegui import ui

from cloud.api.context import Context
from cloud.auth import MIN_PASSWORD_LENGTH, Identity
from cloud.dashboard.admin_accounts import ROLE_WORDS, TokensTab
from cloud.dashboard.desk import Desk
from cloud.dashboard.frame import Frame, guarded
from cloud.dashboard.pieces import button, facts, panel, text
from cloud.errors import BusyError


def install(frame: Frame) -> None:
    """Register the page."""

    def build(request: Request, identity: Identity) -> None:
        desk = Desk(identity)
        with frame.page(request, identity, title="Account", current=""):
            with ui.element("div").classes("sl-pair sl-pair--even"):
                with panel("You"):
                    facts([("Name", identity.name), ("Role", ROLE_WORDS[identity.role])])
                _password(frame.context, desk)
            TokensTab(frame.context, desk, owner=identity.name)

    ui.page("/account")(guarded(frame, build))


def _password(context: Context, desk: Desk) -> None:
    """Choose a new password; every session ends with it, this one too."""
    name = desk.identity.name
    with panel("Password"), ui.element("div").classes("sl-col"):
        present = ui.input("Present password")
        present.props("outlined dense type=password autocomplete=current-password")
        new = ui.input(f"New password, at least {MIN_PASSWORD_LENGTH} characters")
        new.props("outlined dense type=password autocomplete=new-password")

        async def change() -> None:
            try:
                context.sign_ins.check(f"password of {name}")
            except BusyError as error:
                ui.notify(str(error), type="negative")
                return
            old, wanted = present.value or "", new.value or ""
            if await desk.do(lambda: context.accounts.change_password(name, old, wanted), ""):
                ui.navigate.to("/login")

        with ui.element("div").classes("sl-row"):
            text("Every session and token of yours ends.", "sl-small sl-muted")
            button("Change", change, kind="primary").classes("sl-push")
