"""The recipes that a cell knows: those installed with it, and those that the cloud sent."""

import logging
from collections.abc import Iterator
from pathlib import Path

from edge_agent.errors import ConfigurationError, StorageError
from models.contract.model import ContractError
from models.contract.recipe import Recipe, read_recipe

logger = logging.getLogger(__name__)


class RecipeBook:
    """Recipes by name, the newest version of each."""

    def __init__(self, recipes: dict[str, Recipe], store: Path) -> None:
        self._recipes = recipes
        self._store = store

    @classmethod
    def read(cls, path: Path, store: Path) -> "RecipeBook":
        """Read a recipe file, or every ``*.toml`` of a folder, and what the cloud sent before.

        Raises:
            ConfigurationError: there is none, or one is wrong.
        """
        files = sorted(path.glob("*.toml")) if path.is_dir() else [path]
        if not files:
            raise ConfigurationError(f"recipe folder {path} holds no *.toml")
        recipes: dict[str, Recipe] = {}
        for file in files:
            try:
                recipe = read_recipe(file)
            except ContractError as error:
                raise ConfigurationError(str(error)) from error
            if recipe.recipe_id in recipes:
                raise ConfigurationError(
                    f"recipe {recipe.recipe_id} stands in two files of {path}; remove one"
                )
            recipes[recipe.recipe_id] = recipe
        for recipe in _read_store(store):
            known = recipes.get(recipe.recipe_id)
            if known is None or known.version < recipe.version:
                recipes[recipe.recipe_id] = recipe
        return cls(recipes, store)

    def __iter__(self) -> Iterator[Recipe]:
        return iter(self._recipes.values())

    def get(self, recipe_id: str) -> Recipe | None:
        """The newest version of a recipe."""
        return self._recipes.get(recipe_id)

    def choose(self, selected: str | None) -> Recipe:
        """The recipe to start with.

        Raises:
            ConfigurationError: there is no such recipe, or several and none is named.
        """
        names = ", ".join(sorted(self._recipes))
        if selected is not None:
            recipe = self._recipes.get(selected)
            if recipe is None:
                raise ConfigurationError(f"recipe.selected = {selected!r}: there is only {names}")
            return recipe
        if len(self._recipes) > 1:
            raise ConfigurationError(f"recipe.selected is missing: choose one of {names}")
        return next(iter(self._recipes.values()))

    def is_newer(self, recipe: Recipe) -> bool:
        """Whether this version is not known yet."""
        known = self._recipes.get(recipe.recipe_id)
        return known is None or known.version < recipe.version

    def put(self, recipe: Recipe) -> None:
        """Keep a recipe from the cloud, also over a restart.

        Raises:
            StorageError: it cannot be written; the version before stays in force.
        """
        path = self._store / f"{recipe.recipe_id}.json"
        draft = path.with_suffix(".tmp")
        try:
            self._store.mkdir(parents=True, exist_ok=True)
            draft.write_text(recipe.model_dump_json(exclude_none=True), encoding="utf-8")
            draft.replace(path)
        except OSError as error:
            raise StorageError(f"recipe {path} cannot be written: {error.strerror}") from error
        self._recipes[recipe.recipe_id] = recipe


def _read_store(store: Path) -> list[Recipe]:
    recipes = []
    for path in sorted(store.glob("*.json")):
        try:
            recipes.append(Recipe.model_validate_json(path.read_bytes()))
        except (OSError, ValueError) as error:
            # The installed version still works; a damaged copy must not keep the cell down.
            logger.warning("stored recipe ignored: %s", error, extra={"path": str(path)})
    return recipes
