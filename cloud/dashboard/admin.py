"""`/admin`: accounts, tokens, the audit log, room and backups."""

from collections.abc import Callable
from urllib.parse import quote

from fastapi import Request
from nicegui import ui

from cloud.api.context import Context
from cloud.auth import Identity
from cloud.dashboard.admin_accounts import TokensTab, UsersTab
from cloud.dashboard.admin_audit import AuditTab
from cloud.dashboard.admin_operations import BackupsTab, StorageTab
from cloud.dashboard.desk import Desk
from cloud.dashboard.frame import Frame, guarded
from cloud.db.tables import Role

TABS: dict[str, tuple[str, Callable[[Context, Desk], object]]] = {
    "users": ("People and programs", UsersTab),
    "tokens": ("Tokens and sessions", TokensTab),
    "audit": ("Audit log", AuditTab),
    "storage": ("Storage", StorageTab),
    "backups": ("Backups", BackupsTab),
}


def install(frame: Frame) -> None:
    """Register the page."""

    def build(request: Request, identity: Identity) -> None:
        chosen = request.query_params.get("tab", "users")
        chosen = chosen if chosen in TABS else "users"
        with frame.page(request, identity, title="Admin", current="/admin"):
            with ui.element("nav").classes("sl-panel sl-subnav").props('aria-label="Admin"'):
                for key, (words, _) in TABS.items():
                    link = ui.link(words, f"/admin?tab={quote(key)}")
                    if key == chosen:
                        link.props("aria-current=page")
                ui.link("Dead letters", "/dead-letters").classes("sl-push")
            TABS[chosen][1](frame.context, Desk(identity))

    ui.page("/admin")(guarded(frame, build, role=Role.ADMIN))
