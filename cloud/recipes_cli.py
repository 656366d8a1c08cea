"""``sightline-cloud recipe``: send recipes to the cells, see what they said."""

# ruff: noqa: PLC0415 - a command loads only what it needs
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from cloud.settings import CONFIG_VARIABLE, load_settings
from cloud.users_cli import operating_user

recipe = typer.Typer(help="Recipes of the cells.", no_args_is_help=True)
Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar=CONFIG_VARIABLE, help="TOML file with the settings"),
]
MAX_SHOWN = 50


@recipe.command("push")
def push(
    file: Annotated[Path, typer.Argument(help="Recipe (TOML)")],
    cell: Annotated[
        list[str], typer.Option("--cell", help="Cell that shall work by it: site/area/line/cell")
    ],
    config: Config = None,
) -> None:
    """Send a recipe to cells; it goes out while `sightline-cloud serve` runs."""
    from cloud.db.session import Database
    from cloud.errors import InvalidError
    from cloud.recipes import Recipes
    from models.contract.model import ContractError
    from models.contract.recipe import read_recipe

    try:
        read = read_recipe(file)
    except ContractError as error:
        raise InvalidError(str(error)) from error
    with closing(Database(load_settings(config).database.url)) as database:
        pushes = Recipes(database).push(read, cell, actor=operating_user())
    for one in pushes:
        typer.echo(f"{one.row.cell}: {one.row.recipe_id} v{one.row.version} goes out")


@recipe.command("list")
def list_(config: Config = None) -> None:
    """Show what was sent, newest first, and what each cell said to it."""
    from cloud.db.session import Database
    from cloud.recipes import Recipes

    with closing(Database(load_settings(config).database.url)) as database:
        for one in Recipes(database).recent(limit=MAX_SHOWN):
            row, answer = one.row, f": {one.answer}" if one.answer else ""
            typer.echo(f"{row.cell}  {row.recipe_id} v{row.version}  {one.state}{answer}")
