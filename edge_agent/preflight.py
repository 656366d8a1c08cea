"""Looks at everything that a start needs, without starting."""

import os
from dataclasses import dataclass, field
from typing import Any

from edge_agent.adapters.cameras import make_camera
from edge_agent.errors import ConfigurationError
from edge_agent.judgement import unknown_expected, unknown_forbidden
from edge_agent.recipes import RecipeBook
from edge_agent.settings import Settings, describe
from models.contract.bundle import BundleManifest, read_manifest, verify_files
from models.contract.model import ContractError
from models.contract.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Findings:
    """What a start would do, and what a person should know before."""

    settings: dict[str, Any]
    recipe: Recipe
    manifest: BundleManifest | None
    warnings: tuple[str, ...] = field(default=())


def check(settings: Settings) -> Findings:
    """Check recipe, bundle, camera and secrets against each other.

    Raises:
        ConfigurationError: the agent would not start; the text says what to change.
    """
    book = RecipeBook.read(settings.recipe.path, settings.recipe.store)
    recipe = book.choose(settings.recipe.selected)
    manifest = _bundle(settings)
    warnings = [
        *_model_warnings(settings, book, manifest),
        *_recipe_warnings(book),
        *_camera_warnings(settings),
    ]
    for broker in (settings.broker, settings.uplink):
        broker.secret()
    root = settings.update.root
    if settings.update.enabled and root is not None and not root.is_file():
        raise ConfigurationError(f"update.root {root} is not there: copy the cloud's root.json")
    return Findings(describe(settings), recipe, manifest, tuple(warnings))


def _bundle(settings: Settings) -> BundleManifest | None:
    folder = settings.model.bundle
    if folder is None:
        if settings.update.enabled:
            return None
        raise ConfigurationError("model.bundle is missing, and update.enabled is off")
    try:
        manifest = read_manifest(folder)
        verify_files(folder, manifest)
    except ContractError as error:
        raise ConfigurationError(f"model.bundle: {error}") from error
    return manifest


def _model_warnings(
    settings: Settings, book: RecipeBook, manifest: BundleManifest | None
) -> list[str]:
    if manifest is None:
        return ["model.bundle is not set: the cell waits for a model from the cloud"]
    selected = book.choose(settings.recipe.selected)
    warnings = []
    for recipe in book:
        unknown = ", ".join(unknown_expected(recipe, manifest.category_names))
        text = f"recipe {recipe.recipe_id} expects {unknown}, which the model does not know"
        if unknown and recipe is selected:
            raise ConfigurationError(f"{text}: take it out of the recipe or take another bundle")
        if unknown:
            warnings.append(f"{text}: it cannot be selected")
        blind = ", ".join(unknown_forbidden(recipe, manifest.category_names))
        if blind:
            warnings.append(
                f"recipe {recipe.recipe_id} forbids {blind}, which the model does not know yet: "
                "not checked until a model knows it"
            )
    return warnings


def _recipe_warnings(book: RecipeBook) -> list[str]:
    return [
        f"recipe {recipe.recipe_id}, view {view.name}: nothing is expected and nothing forbidden, "
        "so every part is OK"
        for recipe in book
        for view in recipe.views
        if not view.expected and not view.forbidden
    ]


def _camera_warnings(settings: Settings) -> list[str]:
    camera = settings.camera
    make_camera(camera)  # not opened: whether its library is there
    if camera.path is None:
        return []
    if not camera.path.exists():
        return [
            f"camera.path {camera.path} is not there yet: the station stays in error until it is"
        ]
    if camera.kind == "folder" and camera.mode == "spool" and not os.access(camera.path, os.W_OK):
        raise ConfigurationError(f"camera.path {camera.path} is not writable: pictures are removed")
    return []
