"""``sightline-cloud retention``, ``export`` and ``analyze``: chores on what has gathered."""

# ruff: noqa: PLC0415 - a command loads only what it needs: `analyze` alone loads Spark
import json
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cloud.settings import CONFIG_VARIABLE, load_settings
from cloud.users_cli import operating_user

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar=CONFIG_VARIABLE, help="TOML file with the settings"),
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day, UTC")]


def add_commands(app: typer.Typer) -> None:
    """Put them beside the other commands."""
    app.command()(retention)
    app.command()(export)
    app.command()(analyze)


def retention(config: Config = None, as_json: Json = False) -> None:
    """Drop what is older than [retention] says, as `serve` does every day."""
    from cloud.db.migration import check_current
    from cloud.db.session import Database
    from cloud.image_store import ImageStore
    from cloud.retention import Retention

    settings = load_settings(config)
    with closing(Database(settings.database.url)) as database:
        check_current(database)
        images = ImageStore(settings.storage.url)
        kept = Retention(database, images, settings.retention)
        dropped = kept.run(actor=operating_user())
    if as_json:
        typer.echo(json.dumps(asdict(dropped)))
    else:
        said = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in asdict(dropped).items())
        typer.echo(f"dropped {said}")


def export(
    to: Annotated[str, typer.Option(help="Folder or URL of the lake, for instance s3://…")],
    since: Day = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Bring results and pictures' reviews into a Parquet lake: only the days that changed."""
    from cloud.analytics.export import export_lake
    from cloud.db.migration import check_current
    from cloud.db.session import Database

    settings = load_settings(config)
    first = since.replace(tzinfo=UTC) if since is not None else None
    with closing(Database(settings.database.url)) as database:
        check_current(database)
        done = export_lake(database, to, since=first)
    if as_json:
        typer.echo(json.dumps(asdict(done)))
    else:
        typer.echo(
            f"{done.written} days written, {done.unchanged} unchanged, {done.results:,} results"
        )


def analyze(
    lake: Annotated[str, typer.Option(help="Folder or URL that `export` wrote")],
    master: Annotated[str, typer.Option(help="local[N], spark://…, yarn, k8s://…")] = "local[2]",
    since: Day = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day after the last, UTC")
    ] = None,
    as_json: Json = False,
) -> None:
    """Pareto, first-pass yield and escapes over all history, counted by Spark."""
    from cloud.analytics.spark_job import analyze_lake

    found = analyze_lake(lake, master=master, since=since, until=until)
    if as_json:
        typer.echo(json.dumps(found))
        return
    rate = found["first_pass"]
    typer.echo(f"{found['results']:,} results; first-pass yield {rate['value']} of {rate['n']:,}")
    for bar in found["pareto"][:10]:
        typer.echo(f"{bar['count']:>10,}  {bar['code']} {bar['category'] or ''}")
