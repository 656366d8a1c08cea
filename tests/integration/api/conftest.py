"""The API over a database of the test's own, and a client for each role."""

import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from cloud.api.context import Context
from cloud.app import build_context, create_app
from cloud.db.migration import migrate
from cloud.db.session import Database
from cloud.db.tables import Role
from cloud.settings import Settings

with warnings.catch_warnings():
    # Starlette asks for a successor of httpx that NiceGUI does not use yet.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

NewClient = Callable[[Role | None], TestClient]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    plain: dict[str, Any] = {
        "database": {"url": "sqlite:///cloud.db"},
        "storage": {"min_free_bytes": 0},
        "auth": {"login_attempts_per_minute": 4},
    }
    return Settings(**plain).anchored(tmp_path)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database with every table: copying it is faster than making it for each test."""
    path = tmp_path_factory.mktemp("migrated") / "cloud.db"
    with closing(Database(f"sqlite:///{path}")) as database:
        migrate(database)
    return path


@pytest.fixture
def context(settings: Settings, migrated: Path, tmp_path: Path) -> Iterator[Context]:
    shutil.copy(migrated, tmp_path / "cloud.db")
    context = build_context(settings)
    yield context
    context.database.close()


@pytest.fixture
def app(context: Context) -> FastAPI:
    return create_app(context, with_dashboard=False)


@pytest.fixture
def client(context: Context, app: FastAPI) -> NewClient:
    """Somebody of a role, or nobody."""

    def make(role: Role | None) -> TestClient:
        headers = {}
        if role is not None:
            context.accounts.set_user(role, role=role, password=None)
            headers["Authorization"] = f"Bearer {context.accounts.issue_token(role, label='test')}"
        return TestClient(app, headers=headers, raise_server_exceptions=False)

    return make
