"""Migrations up and down on both databases."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from cloud.db.migration import check_current, current_revision, migrate
from cloud.db.session import Database
from cloud.db.tables import AuditEntry
from cloud.db.types import Base
from cloud.errors import ConfigurationError


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path}/cloud.db")
    else:
        database = Database(request.getfixturevalue("postgresql_url"))
    yield database
    database.close()


def test_migrations_build_exactly_the_tables_that_the_code_describes(database: Database) -> None:
    migrate(database)
    with database.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert differences == []
    check_current(database)


def test_migrating_down_leaves_nothing_and_up_again_works(database: Database) -> None:
    migrate(database)
    migrate(database)
    migrate(database, "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    migrate(database, "0001")
    assert current_revision(database) == "0001"


def test_a_database_that_was_not_migrated_is_refused_with_the_command_to_run(
    database: Database,
) -> None:
    with pytest.raises(ConfigurationError, match="sightline-cloud migrate"):
        check_current(database)
    with pytest.raises(ConfigurationError, match="no revision nonsense"):
        migrate(database, "nonsense")


@pytest.mark.parametrize("change", ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log"])
def test_the_audit_log_can_only_grow(database: Database, change: str) -> None:
    migrate(database)
    with database.write() as session:
        session.add(
            AuditEntry(
                at=datetime.now(UTC), actor="ann", action="approve release", subject="1", details={}
            )
        )
    with pytest.raises(DBAPIError, match="append-only"), database.write() as session:
        session.execute(text(change))
