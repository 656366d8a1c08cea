"""Who may sign in, as what, and with which tokens."""

from asyncio import to_thread
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from nicegui import ui

from cloud.api.context import Context
from cloud.auth import MIN_PASSWORD_LENGTH, TOKEN_ID_LENGTH
from cloud.dashboard import wording
from cloud.dashboard.desk import Desk
from cloud.dashboard.pieces import button, chip, confirm, panel, small_dialog, table, text
from cloud.db.tables import Role, Token, TokenKind, User

ROLE_WORDS = {
    Role.VIEWER: "viewer: looks on",
    Role.OPERATOR: "operator: contradicts verdicts",
    Role.QUALITY: "quality: labels, proposes recipes",
    Role.CONTROLS: "controls: pins cells, stops rollouts",
    Role.ML: "ml: trains, releases",
    Role.ADMIN: "admin: accounts, backups",
}
"""Each may do what those before it may."""
LIVES = {0: "until it is revoked", 30: "30 days", 90: "90 days", 365: "a year"}


class UsersTab:
    """People and programs."""

    def __init__(self, context: Context, desk: Desk) -> None:
        self._accounts = context.accounts
        self._desk = desk
        self._body = ui.element("div")
        ui.timer(0.01, self.load, once=True)

    async def load(self) -> None:
        """Read and show everybody."""
        users = await to_thread(self._accounts.users)
        tokens = await to_thread(self._accounts.tokens)
        self._body.clear()
        with self._body, panel("People and programs", "sl-scroll"):
            with ui.element("div").classes("sl-row sl-wrap sl-gap-below"):
                text("Each role may do what those before it may.", "sl-muted")
                button("Add somebody", self._ask_new, kind="primary").classes("sl-push")
            with table(("Name", "Role", "State", "Signs in with", "Since", "")):
                for user in users:
                    own = [token for token in tokens if token.user_name == user.name]
                    with ui.element("tr"):
                        self._row(user, own)

    def _row(self, user: User, tokens: Sequence[Token]) -> None:
        with ui.element("td").style("font-weight: 500"):
            text(user.name)
        with ui.element("td"):
            choice = ui.select(
                {role.value: words for role, words in ROLE_WORDS.items()},
                value=user.role.value,
                on_change=self._on_role(user),
            )
            choice.props("outlined dense options-dense").props["aria-label"] = (
                f"Role of {user.name}"
            )
        with ui.element("td"):
            if user.is_active:
                chip("active", "ok", sign="ok")
            else:
                chip("locked", "bad", sign="not_ok")
        sessions = sum(token.kind is TokenKind.SESSION for token in tokens)
        with ui.element("td").classes("sl-muted"):
            parts = ["password"] if user.password_hash else []
            parts += [f"{len(tokens) - sessions} tokens"] if len(tokens) > sessions else []
            text(", ".join(parts) or "nothing yet")
            if sessions:
                text(f"{sessions} open now", "sl-small sl-faint")
        with ui.element("td").classes("sl-muted sl-nowrap"):
            text(f"{user.created_at.astimezone():%d %b %Y}")
        with ui.element("td"), ui.element("div").classes("sl-row sl-row--tight"):
            button("New password", lambda: self._ask_password(user), small=True)
            if user.is_active:
                button("Lock", lambda: self._ask_lock(user), kind="danger", small=True)
            else:
                button("Unlock", lambda: self._unlock(user), small=True)

    def _on_role(self, user: User) -> Callable[[Any], Any]:
        async def change(event: Any) -> None:  # noqa: ANN401 - NiceGUI's event
            role = Role(event.value)
            actor = self._desk.identity.name
            await self._desk.do(
                lambda: self._accounts.set_user(user.name, role=role, password=None, actor=actor),
                f"{user.name} is {role} now",
            )
            await self.load()

        return change

    def _ask_new(self) -> None:
        with small_dialog() as dialog:
            text("Add somebody", "sl-h2")
            name = ui.input("Name").props("outlined dense autofocus maxlength=64")
            role = ui.select(
                {role.value: words for role, words in ROLE_WORDS.items()},
                value=Role.VIEWER.value,
                label="Role",
            ).props("outlined dense options-dense")
            password = ui.input(f"Password, at least {MIN_PASSWORD_LENGTH} characters")
            password.props("outlined dense type=password autocomplete=new-password")
            text("Leave the password empty for a program: it uses tokens.", "sl-small sl-muted")

            async def add() -> None:
                secret = password.value or None
                actor = self._desk.identity.name
                added = await self._desk.do(
                    lambda: self._accounts.set_user(
                        name.value.strip(), role=Role(role.value), password=secret, actor=actor
                    ),
                    f"{name.value} may sign in",
                )
                if added:
                    dialog.close()
                    await self.load()

            _buttons(dialog, "Add", add)

    def _ask_password(self, user: User) -> None:
        with small_dialog() as dialog:
            text(f"New password for {user.name}", "sl-h2")
            password = ui.input(f"At least {MIN_PASSWORD_LENGTH} characters")
            password.props("outlined dense autofocus type=password autocomplete=new-password")
            text("Every session and token of this user ends.", "sl-small sl-muted")

            async def change() -> None:
                actor = self._desk.identity.name
                changed = await self._desk.do(
                    lambda: self._accounts.set_user(
                        user.name, role=user.role, password=password.value or "", actor=actor
                    ),
                    f"{user.name} has a new password",
                )
                if changed:
                    dialog.close()
                    await self.load()

            _buttons(dialog, "Change", change)

    def _ask_lock(self, user: User) -> None:
        async def lock() -> None:
            actor = self._desk.identity.name
            await self._desk.do(
                lambda: self._accounts.deactivate(user.name, actor=actor), f"{user.name} is locked"
            )
            await self.load()

        words = "Every session and token ends at once. The name stays in the audit log."
        confirm(f"Lock {user.name} out?", words, "Lock", lock, kind="danger")

    async def _unlock(self, user: User) -> None:
        actor = self._desk.identity.name
        await self._desk.do(
            lambda: self._accounts.activate(user.name, actor=actor), f"{user.name} may sign in"
        )
        await self.load()


class TokensTab:
    """Tokens of programs and sessions of browsers.

    Args:
        context: Parts of the process.
        desk: Who looks.
        owner: Only this user's, and new ones only for this user.
    """

    def __init__(self, context: Context, desk: Desk, *, owner: str | None = None) -> None:
        self._accounts = context.accounts
        self._desk = desk
        self._owner = owner
        self._body = ui.element("div")
        ui.timer(0.01, self.load, once=True)

    async def load(self) -> None:
        """Read and show them all."""
        tokens = await to_thread(self._accounts.tokens, self._owner)
        self._body.clear()
        with self._body, panel("Tokens and sessions", "sl-scroll"):
            with ui.element("div").classes("sl-row sl-wrap sl-gap-below"):
                text("A token acts with its user's role; only its hash is kept.", "sl-muted")
                button("Make a token", self._ask_new, kind="primary").classes("sl-push")
            with table(("User", "Kind", "For", "Made", "Ends", "Identity", "")):
                for token in tokens:
                    with ui.element("tr"):
                        self._row(token)

    def _row(self, token: Token) -> None:
        is_session = token.kind is TokenKind.SESSION
        ends = "when revoked"
        if token.expires_at is not None:
            ends = f"{token.expires_at.astimezone():%d %b %Y %H:%M}"
        token_id = token.token_hash[:TOKEN_ID_LENGTH]
        for words, classes in (
            (token.user_name, "sl-strong"),
            ("session" if is_session else "token", "sl-muted"),
            (token.label, ""),
            (wording.ago_text(token.created_at), "sl-muted sl-nowrap"),
            (ends, "sl-muted sl-nowrap"),
            (token_id, "sl-code sl-faint"),
        ):
            with ui.element("td").classes(classes):
                text(words)
        with ui.element("td"):
            button("Revoke", lambda: self._ask_revoke(token, token_id), kind="danger", small=True)

    def _ask_revoke(self, token: Token, token_id: str) -> None:
        async def revoke() -> None:
            actor = self._desk.identity.name
            await self._desk.do(
                lambda: self._accounts.revoke_token(token_id, actor=actor, owner=self._owner),
                "It is revoked",
            )
            await self.load()

        words = f"Whatever {token.user_name} uses it for stops working at once."
        confirm(f"Revoke “{token.label}”?", words, "Revoke", revoke, kind="danger")

    async def _ask_new(self) -> None:
        names = [self._owner] if self._owner else []
        if not names:
            users = await to_thread(self._accounts.users)
            names = [user.name for user in users if user.is_active]
        with self._body, small_dialog() as dialog:
            text("Make a token", "sl-h2")
            user = ui.select(names, value=names[0] if names else None, label="User")
            label = ui.input("What it is for").props("outlined dense maxlength=64")
            days = ui.select(LIVES, value=90, label="Valid for")
            for field in (user, days):
                field.props("outlined dense options-dense")
            made = ui.element("div")

            async def make() -> None:
                await self._make(str(user.value), label.value.strip(), days.value, made)

            _buttons(dialog, "Make", make)

    async def _make(self, user: str, label: str, days: int, shown_in: ui.element) -> None:
        if not label:
            ui.notify("Say what the token is for.", type="warning")
            return
        secrets: list[str] = []
        life = timedelta(days=days) if days else None
        actor = self._desk.identity.name
        await self._desk.do(
            lambda: secrets.append(
                self._accounts.issue_token(user, label=label, life=life, actor=actor)
            ),
            "",
        )
        shown_in.clear()
        if secrets:
            with shown_in, ui.element("div").classes("sl-secret"):
                text("Copy it now: it is shown this once.", "sl-strong")
                text(secrets[0], "sl-code").mark("token")
        await self.load()


def _buttons(dialog: ui.dialog, action: str, on_yes: Callable[[], Any]) -> None:
    with ui.element("div").classes("sl-row"):
        button("Close", dialog.close)
        button(action, on_yes, kind="primary").classes("sl-push")
