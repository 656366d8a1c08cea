"""Which model the agent starts with: the last good one, else the one it was installed with."""

import logging
from collections.abc import Iterator

from edge_agent.adapters.detector import Loading, check_golden, load_model
from edge_agent.errors import ConfigurationError, ModelFault
from edge_agent.judgement import unknown_expected
from edge_agent.model_store import ModelStore, StoredModel
from edge_agent.ports import LoadedModel
from edge_agent.settings import Settings
from models.contract.model import ContractError
from models.contract.recipe import Recipe

logger = logging.getLogger(__name__)


def open_store(settings: Settings) -> ModelStore:
    """The models on this cell's disk.

    Raises:
        ConfigurationError: the configured bundle is none, or the store cannot be used.
    """
    try:
        return ModelStore(settings.model.store, baseline=settings.model.bundle)
    except ContractError as error:
        raise ConfigurationError(str(error)) from error
    except OSError as error:
        raise ConfigurationError(
            f"model.store {settings.model.store} cannot be used: {error.strerror}"
        ) from error


def loading_of(
    settings: Settings, *, num_threads: int | None = None, num_requests: int | None = None
) -> Loading:
    """How models are compiled here: for the line's parts, and pictures over HTTP beside them."""
    http = settings.http
    return Loading(
        num_requests=num_requests or 1 + (http.num_parallel if http.enabled else 0),
        num_threads=num_threads or settings.model.num_threads,
        cache_dir=settings.model.cache,
        precision=settings.model.precision,
    )


def boot_model(settings: Settings, store: ModelStore, recipe: Recipe) -> LoadedModel | None:
    """Load the best model that is here and that works.

    Returns:
        The model; None when there is none yet and the cloud is to send the first.

    Raises:
        ConfigurationError: no model works.
    """
    causes = []
    for stored in _stored(store):
        try:
            return _load(settings, stored, recipe)
        except ModelFault as error:
            causes.append(str(error))
            logger.error("model not usable: %s", error)  # noqa: TRY400 - one line says all
    if not causes and settings.update.enabled:
        logger.warning("no model yet, waiting for the cloud")
        return None
    cause = causes[-1] if causes else "there is none: set model.bundle"
    raise ConfigurationError(f"no model can be started: {cause}")


def _stored(store: ModelStore) -> Iterator[StoredModel]:
    try:
        yield from store.boot_order()
    except ContractError as error:
        raise ConfigurationError(f"model.bundle: {error}") from error


def _load(settings: Settings, stored: StoredModel, recipe: Recipe) -> LoadedModel:
    model = load_model(stored.bundle_dir, stored.ref, loading=loading_of(settings))
    try:
        _require_fit(model, recipe)
        check_golden(model)
    except ModelFault:
        model.detector.close()
        raise
    logger.info(
        "model loaded",
        extra={"model": model.ref.name, "bundle": model.ref.bundle_id, "r": model.ref.release},
    )
    return model


def _require_fit(model: LoadedModel, recipe: Recipe) -> None:
    unknown = unknown_expected(recipe, model.detector.categories)
    if unknown:
        raise ModelFault(
            f"{model.ref.name} does not know {', '.join(unknown)}, "
            f"which recipe {recipe.recipe_id} expects"
        )
