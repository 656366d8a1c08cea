"""``sightline-cloud``: every process and chore of the cloud."""

# ruff: noqa: PLC0415 - a command loads only what it needs: `--help` must not wait for a database
import logging
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from cloud.errors import CloudError, ConfigurationError
from cloud.logs import configure_logging
from cloud.settings import CONFIG_VARIABLE, load_settings

LOGGER = logging.getLogger("cloud.cli")
app = typer.Typer(
    name="sightline-cloud",
    help="Gathers results, has hard images labelled, retrains and releases models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar=CONFIG_VARIABLE, help="TOML file with the settings"),
]


def _stop_on_signals() -> threading.Event:
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    return stopping


@app.command()
def migrate(
    config: Config = None,
    revision: Annotated[str, typer.Option(help="Revision to go to, up or down")] = "head",
) -> None:
    """Bring the database's tables to this version."""
    from cloud.db.migration import current_revision, migrate
    from cloud.db.session import Database

    database = Database(load_settings(config).database.url)
    migrate(database, revision)
    typer.echo(f"database is at revision {current_revision(database) or 'none'}")
    database.close()


@app.command()
def ingest(
    config: Config = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of this process at the broker; each of a group needs its own"),
    ] = None,
) -> None:
    """Take results and pictures from the broker; run several to share the load."""
    from prometheus_client import CollectorRegistry, start_http_server

    from cloud.db.migration import check_current
    from cloud.db.session import Database
    from cloud.image_store import ImageStore
    from cloud.ingest import Ingest, run_until
    from cloud.ingest_store import IngestStore

    settings = load_settings(config)
    configure_logging()
    database = Database(settings.database.url, pool_size=settings.database.pool_size)
    check_current(database)
    images = ImageStore(settings.storage.url, min_free_bytes=settings.storage.min_free_bytes)
    registry = CollectorRegistry()
    process = Ingest(
        settings.broker,
        settings.ingest,
        IngestStore(database, images),
        name=name or f"ingest-{socket.gethostname()}",
        registry=registry,
    )
    if settings.ingest.metrics_port is not None:
        start_http_server(settings.ingest.metrics_port, addr="127.0.0.1", registry=registry)
    LOGGER.info("ingest starts", extra={"broker": f"{settings.broker.host}:{settings.broker.port}"})
    run_until(process, _stop_on_signals())
    database.close()
    LOGGER.info("ingest stopped")


@app.command()
def serve(config: Config = None) -> None:
    """Serve API, dashboard and model repository; retrain and roll out."""
    from cloud.app import serve

    settings = load_settings(config)
    configure_logging()
    serve(settings, _stop_on_signals())


def main() -> None:
    """Run the command; a fault of the user or the surroundings is one line and an exit code."""
    try:
        app()
    except ConfigurationError as error:
        typer.echo(f"sightline-cloud: {error}", err=True)
        sys.exit(2)
    except CloudError as error:
        typer.echo(f"sightline-cloud: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
