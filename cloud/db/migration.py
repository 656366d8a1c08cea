"""Bringing a database to the tables of this version, from an installed package as from a clone."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from cloud.db.session import Database
from cloud.errors import ConfigurationError, UnavailableError

FOLDER = Path(__file__).parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    return config


def head_revision() -> str:
    """Newest revision that this version knows."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    return str(head)


def current_revision(database: Database) -> str | None:
    """Revision that a database is at; None when it is empty.

    Raises:
        UnavailableError: the database does not answer.
    """
    try:
        with database.engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except DBAPIError as error:
        cause = str(error.orig).strip().splitlines()[0]
        raise UnavailableError(f"the database cannot be reached: {cause}") from error


def migrate(database: Database, revision: str = "head") -> None:
    """Go up or down to a revision, all steps in one transaction.

    Two processes that migrate at once wait for each other: SQLite through its write lock,
    PostgreSQL through an advisory lock.

    Raises:
        ConfigurationError: there is no such revision.
        UnavailableError: the database does not answer.
    """
    config = _config()
    down = revision != "head" and _is_behind(revision, current_revision(database))
    engine = database.engine.execution_options(begin_immediate=True)
    try:
        with engine.begin() as connection:
            if not database.is_sqlite:
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7367676)")
            config.attributes["connection"] = connection
            if down:
                command.downgrade(config, revision)
            else:
                command.upgrade(config, revision)
    except DBAPIError as error:
        cause = str(error.orig).strip().splitlines()[0]
        raise UnavailableError(f"the migration stopped and was undone: {cause}") from error


def _is_behind(revision: str, current: str | None) -> bool:
    if revision == "base":
        return True
    script = ScriptDirectory.from_config(_config())
    known = [step.revision for step in script.walk_revisions()]  # newest first
    if revision not in known:
        raise ConfigurationError(f"there is no revision {revision}: {', '.join(known)}")
    return current in known and known.index(revision) > known.index(current)


def check_current(database: Database) -> None:
    """Make sure that the tables are those of this version.

    Raises:
        ConfigurationError: they are older or newer; says what to run.
        UnavailableError: the database does not answer.
    """
    current, head = current_revision(database), head_revision()
    if current != head:
        raise ConfigurationError(
            f"the database is at revision {current or 'none'}, this version needs {head}: "
            "run `sightline-cloud migrate`"
        )
