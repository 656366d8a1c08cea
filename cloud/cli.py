"""``sightline-cloud``: every process and chore of the cloud."""

# ruff: noqa: PLC0415 - a command loads only what it needs: `--help` must not wait for a database
import json
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloud.data_cli import add_commands
from cloud.errors import CloudError, ConfigurationError
from cloud.labels_cli import labels
from cloud.logs import configure_logging
from cloud.recipes_cli import recipe
from cloud.settings import CONFIG_VARIABLE, Settings, load_settings
from cloud.users_cli import operating_user, users

if TYPE_CHECKING:
    from cloud.db.session import Database
    from cloud.image_store import ImageStore

LOGGER = logging.getLogger("cloud.cli")
app = typer.Typer(
    name="sightline-cloud",
    help="Gathers results, has hard images labelled, retrains and releases models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(users, name="user")
app.add_typer(recipe, name="recipe")
app.add_typer(labels, name="labels")
add_commands(app)

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
        address = settings.ingest.metrics_host
        start_http_server(settings.ingest.metrics_port, addr=address, registry=registry)
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


Json = Annotated[bool, typer.Option("--json", help="Machine-readable output")]


@app.command()
def release(
    bundle: Annotated[Path, typer.Argument(help="Folder of the model bundle")],
    config: Config = None,
    name: Annotated[str | None, typer.Option(help="Name of the model; else the bundle's")] = None,
    approve: Annotated[bool, typer.Option("--approve", help="Sign it for the cells")] = False,
    rollout: Annotated[
        bool, typer.Option("--rollout", help="Approve it and bring it to the cells, canary first")
    ] = False,
) -> None:
    """Take a bundle into the registry, for instance the baseline."""
    from cloud.learning import LearningServices

    with _parts(config) as (settings, database, images):
        learning = LearningServices(settings, database, images)
        actor = operating_user()
        number = learning.registry.add(bundle, actor=actor, name=name).release
        typer.echo(f"release {number} is a candidate")
        if approve or rollout:
            learning.repository.ensure()
            learning.registry.approve(number, actor=actor)
            typer.echo(f"release {number} is approved and signed")
        if rollout:
            started = learning.fleet.start_rollout(number, actor=actor)
            typer.echo(f"rollout {started.rollout_id} goes on while `sightline-cloud serve` runs")


@app.command()
def rollback(
    config: Config = None,
    to: Annotated[
        int | None, typer.Option(help="Release to go back to; else the one before")
    ] = None,
) -> None:
    """Bring an earlier model back to every cell that follows, under a new release number."""
    from cloud.learning import LearningServices

    with _parts(config) as (settings, database, images):
        learning = LearningServices(settings, database, images)
        learning.repository.ensure()
        started = learning.fleet.roll_back(actor=operating_user(), release=to)
        typer.echo(f"rollout {started.rollout_id} of release {started.release} begins")


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="New folder for the backup")],
    config: Config = None,
) -> None:
    """Copy database, pictures, models and keys, with hashes, while everything runs."""
    from cloud.backup import back_up

    with _progress() as report:
        manifest = back_up(load_settings(config), folder, report=report)
    rows = sum(manifest.rows.values())
    typer.echo(f"{folder}: {rows} rows and {len(manifest.files)} files, all with their hashes")


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="Folder of a backup")],
    config: Config = None,
) -> None:
    """Check a backup and put it back into empty places."""
    from cloud.backup import restore

    with _progress() as report:
        manifest = restore(load_settings(config), folder, report=report)
    typer.echo(f"restored {sum(manifest.rows.values())} rows and {len(manifest.files)} files")


@app.command()
def bench(
    config: Config = None,
    rows: Annotated[int, typer.Option(min=100, help="Results to send")] = 10_000,
    database: Annotated[
        str | None, typer.Option(help="URL of an empty database; else a passing SQLite file")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure results a second from broker to commit, beside a subscriber that only counts."""
    from cloud.bench import measure_ingest

    report = measure_ingest(load_settings(config).broker, rows=rows, database_url=database)
    if as_json:
        typer.echo(json.dumps(report.to_json()))
    else:
        typer.echo(
            f"{report.backend}: {report.ingest_per_s:,.0f} results/s, "
            f"{report.ratio:.2f} of a subscriber that only counts"
        )


@contextmanager
def _parts(config: Path | None) -> "Iterator[tuple[Settings, Database, ImageStore]]":
    from cloud.db.migration import check_current
    from cloud.db.session import Database
    from cloud.image_store import ImageStore

    settings = load_settings(config)
    with closing(Database(settings.database.url)) as database:
        check_current(database)
        yield settings, database, ImageStore(settings.storage.url)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("") as status:  # shows nothing where there is no terminal
        yield status.update


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
