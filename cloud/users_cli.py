"""``sightline-cloud user``: people, programs and their tokens."""

# ruff: noqa: PLC0415 - a command loads only what it needs

import getpass
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloud.settings import CONFIG_VARIABLE, load_settings

if TYPE_CHECKING:
    from cloud.auth import Accounts

PASSWORD_VARIABLE = "SIGHTLINE_PASSWORD"  # noqa: S105 - a name
ROLES = ("viewer", "operator", "quality", "controls", "ml", "admin")

users = typer.Typer(help="People, programs and their tokens.", no_args_is_help=True)
Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar=CONFIG_VARIABLE, help="TOML file with the settings"),
]
Name = Annotated[str, typer.Argument(help="Name of the user")]


def operating_user() -> str:
    """Who sits at the console, for the audit log."""
    try:
        return getpass.getuser()[:64]
    except (KeyError, OSError):  # a container without a name for its user
        return "console"


@contextmanager
def _accounts(config: Path | None) -> "Iterator[Accounts]":
    from cloud.auth import Accounts
    from cloud.db.migration import check_current
    from cloud.db.session import Database

    settings = load_settings(config)
    with closing(Database(settings.database.url)) as database:
        check_current(database)
        yield Accounts(database)


@users.command("set")
def set_user(
    name: Name,
    role: Annotated[str, typer.Option(help=", ".join(ROLES))],
    config: Config = None,
    tokens_only: Annotated[
        bool, typer.Option("--tokens-only", help="A program: no password, it uses tokens")
    ] = False,
) -> None:
    """Add a user or change one; the password is asked for, or taken from SIGHTLINE_PASSWORD."""
    from cloud.db.tables import Role

    if role not in ROLES:
        raise typer.BadParameter(f"{role} is no role: {', '.join(ROLES)}")
    password = None
    if not tokens_only:
        password = os.environ.get(PASSWORD_VARIABLE) or str(
            typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        )
    with _accounts(config) as accounts:
        accounts.set_user(name, role=Role(role), password=password, actor=operating_user())
    typer.echo(f"{name} has the role {role}")


@users.command("token")
def make_token(
    name: Name,
    config: Config = None,
    label: Annotated[str, typer.Option(help="What it is for")] = "command line",
    days: Annotated[float | None, typer.Option(min=0.01, help="Life; else for ever")] = None,
) -> None:
    """Make a bearer token; it is shown this once."""
    with _accounts(config) as accounts:
        life = timedelta(days=days) if days is not None else None
        typer.echo(accounts.issue_token(name, label=label, life=life, actor=operating_user()))


@users.command("list")
def list_users(config: Config = None) -> None:
    """Show who there is."""
    with _accounts(config) as accounts:
        for user in accounts.users():
            state = "" if user.is_active else "  locked"
            typer.echo(f"{user.name:<32} {user.role}{state}")


@users.command("lock")
def lock_user(name: Name, config: Config = None) -> None:
    """Lock a user out and end every session and token."""
    with _accounts(config) as accounts:
        accounts.deactivate(name, actor=operating_user())
    typer.echo(f"{name} is locked")
