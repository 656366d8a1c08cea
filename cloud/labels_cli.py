"""``sightline-cloud labels``: snapshots out to other tools, their labels in."""

# ruff: noqa: PLC0415 - a command loads only what it needs
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from cloud.settings import CONFIG_VARIABLE, load_settings
from cloud.users_cli import operating_user

labels = typer.Typer(help="Exchange labels with other tools.", no_args_is_help=True)
Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar=CONFIG_VARIABLE, help="TOML file with the settings"),
]


@labels.command("export")
def export(
    archive: Annotated[Path, typer.Argument(help="ZIP file to write")],
    config: Config = None,
    label_format: Annotated[
        str, typer.Option("--format", help="coco, yolo, voc, labelstudio or fiftyone")
    ] = "coco",
    snapshot: Annotated[str | None, typer.Option(help="Snapshot; else the newest")] = None,
    pictures: Annotated[bool, typer.Option(help="Put the pictures in, too")] = True,
) -> None:
    """Write a snapshot for another tool."""
    from cloud.dataset import Datasets
    from cloud.db.session import Database
    from cloud.errors import InvalidError
    from cloud.image_store import ImageStore
    from cloud.label_archive import copy_to, export_archive
    from cloud.label_export import LabelFormat
    from cloud.snapshot_pictures import SnapshotPictures

    if label_format not in list(LabelFormat):
        raise InvalidError(f"--format {label_format}: use {', '.join(LabelFormat)}")
    settings = load_settings(config)
    with closing(Database(settings.database.url)) as database:
        images = ImageStore(settings.storage.url)
        datasets = Datasets(
            database, read_image=images.get, root_url=settings.storage.snapshots_url
        )
        row = datasets.get(snapshot) if snapshot else datasets.newest()
        if row is None:
            raise InvalidError("there is no snapshot yet")
        pieces = export_archive(
            row, SnapshotPictures(), LabelFormat(label_format), with_pictures=pictures
        )
        size = copy_to(archive, pieces)
    typer.echo(f"{archive}: snapshot {row.snapshot_id} as {label_format}, {size} bytes")


@labels.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="ZIP file or folder with labels and pictures")],
    config: Config = None,
    label_format: Annotated[str, typer.Option("--format", help="coco, yolo or voc")] = "coco",
) -> None:
    """Take in labels from another tool; they count as yours."""
    from cloud.db.session import Database
    from cloud.image_store import ImageStore
    from cloud.label_archive import unpacked
    from cloud.label_import import LabelImport
    from cloud.labeling import Labeling
    from cloud.learning import review_policy

    settings = load_settings(config)
    with closing(Database(settings.database.url)) as database, unpacked(source) as folder:
        labeling = Labeling(database, policy=review_policy(settings))
        taken = LabelImport(
            database, images=ImageStore(settings.storage.url), labeling=labeling
        ).take(folder, label_format, actor=operating_user())
    typer.echo(
        f"{taken.num_labelled} pictures labelled, {taken.num_added} added, "
        f"{taken.num_unchanged} unchanged"
    )
    if taken.categories:
        typer.echo(f"new categories: {', '.join(taken.categories)}")
    for reason, count in taken.refused.items():
        typer.echo(f"left out: {count} x {reason}")
