"""The serving process, put together: database, images, learning, API, dashboard."""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI
from sqlalchemy import select

from cloud.api.application import build_api
from cloud.api.context import Context
from cloud.api.guard import ADDRESS_FACTOR, Guard
from cloud.api.tuf import mount_repository
from cloud.auth import Accounts
from cloud.backups import BackupDesk
from cloud.contradictions import Contradictions
from cloud.db.migration import check_current
from cloud.db.session import Database
from cloud.db.tables import User
from cloud.dead_letters import DeadLetters
from cloud.errors import ConfigurationError
from cloud.garbage import set_aside
from cloud.image_store import ImageStore
from cloud.learning import LearningServices
from cloud.limits import AttemptLimit, RequestLimit
from cloud.operating_points import Proposals
from cloud.recipe_drafts import RecipeDrafts
from cloud.recipes import Recipes
from cloud.retention import Retention, RetentionClock
from cloud.settings import HttpSettings, PlantSettings, Settings
from cloud.telemetry import ServeMetrics
from cloud.thumbnails import Thumbnails

LOGGER = logging.getLogger(__name__)
GRACE_S = 5


def build_context(settings: Settings) -> Context:
    """Make every part; nothing is started and nothing is written.

    Raises:
        ConfigurationError: a setting cannot be used.
    """
    database = Database(settings.database.url, pool_size=settings.database.pool_size)
    images = ImageStore(settings.storage.url, min_free_bytes=settings.storage.min_free_bytes)
    learning = LearningServices(settings, database, images)
    proposals, recipes = Proposals(database), Recipes(database)
    return Context(
        settings=settings,
        clock=settings.plant.clock,
        database=database,
        images=images,
        accounts=Accounts(
            database,
            require_login=settings.auth.require_login,
            session_hours=settings.auth.session_hours,
        ),
        sign_ins=AttemptLimit(settings.auth.login_attempts_per_minute),
        metrics=ServeMetrics(database),
        learning=learning,
        contradictions=Contradictions(database, learning.publish),
        thumbnails=Thumbnails(images),
        proposals=proposals,
        recipes=recipes,
        drafts=RecipeDrafts(database, proposals, recipes),
        backups=BackupDesk(settings, database),
        dead_letters=DeadLetters(database, images),
    )


def create_app(context: Context, *, with_dashboard: bool = True) -> FastAPI:
    """The web application over these parts.

    NiceGUI belongs to the process: only one application of a process can have the dashboard.
    """
    app = build_api()
    app.state.context = context
    mount_repository(app, context.settings.tuf.dir)
    http = context.settings.http
    app.add_middleware(
        Guard,
        max_body_bytes=http.max_body_bytes,
        metrics=context.metrics,
        limit=RequestLimit(http.requests_per_s, http.request_burst),
        address_limit=RequestLimit(
            ADDRESS_FACTOR * http.requests_per_s, ADDRESS_FACTOR * http.request_burst
        ),
        own_hosts=_own_hosts(http),
        only_own_hosts=not context.settings.auth.require_login,
    )
    if with_dashboard:
        from cloud.dashboard import mount  # noqa: PLC0415 - NiceGUI takes seconds to import

        mount(app, context)
    return app


def _own_hosts(http: HttpSettings) -> list[str]:
    hosts = [f"{name}:{http.port}" for name in (http.host, "localhost", "127.0.0.1", "[::1]")]
    if http.public_url is not None:
        hosts.append(urlsplit(http.public_url).netloc)
    return hosts


class _Server(uvicorn.Server):
    """Leaves the signals to the process and looks for its wish to stop ten times a second."""

    def __init__(self, config: uvicorn.Config, stopping: threading.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        return self._stopping.is_set() or await super().on_tick(counter)


def serve(settings: Settings, stopping: threading.Event) -> None:
    """Serve until ``stopping`` is set, then end everything that was started.

    Raises:
        ConfigurationError: the port is taken, the database is not migrated, or a part cannot be
            made.
    """
    _tell_time_of(settings.plant)
    listener = _listen(settings.http)
    context = build_context(settings)
    check_current(context.database)
    _warn_without_users(context)
    limits = settings.retention
    retention = RetentionClock(Retention(context.database, context.images, limits), limits)
    app = create_app(context)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    try:
        context.learning.start()
        retention.start()
        set_aside()
        LOGGER.info("serving", extra={"url": f"http://{settings.http.host}:{settings.http.port}"})
        _Server(config, stopping).run(sockets=[listener])
    finally:
        retention.stop()
        context.learning.stop()
        context.database.close()
        listener.close()
    LOGGER.info("stopped serving")


def _tell_time_of(plant: PlantSettings) -> None:
    # One process serves one plant: what pages and reports write with astimezone() is its time.
    if plant.time_zone is not None:
        os.environ["TZ"] = plant.time_zone
        time.tzset()


def _listen(http: HttpSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((http.host, http.port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {http.host}:{http.port} ({error.strerror}): set another http.port"
        ) from error
    return listener


def _warn_without_users(context: Context) -> None:
    if not context.accounts.require_login:
        return
    with context.database.read() as session:
        if session.scalars(select(User.name).limit(1)).first() is None:
            LOGGER.warning("nobody can sign in: add somebody with `sightline-cloud user set`")
