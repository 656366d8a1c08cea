"""The API as one application: every router, the same errors everywhere."""

from importlib.metadata import version

from fastapi import FastAPI

from cloud.api import (
    audit,
    categories,
    cells,
    comparisons,
    contradictions,
    dead_letters,
    fleet,
    health,
    images,
    inspect,
    labels,
    operations,
    quality,
    recipes,
    releases,
    results,
    retention,
    retrainings,
    review,
    rollouts,
    sessions,
    snapshots,
    statistics,
    users,
)
from cloud.api.access import Api
from cloud.api.problems import Problem, install_problems

ROUTERS = (
    cells.router,
    results.router,
    contradictions.router,
    fleet.router,
    images.router,
    inspect.router,
    statistics.router,
    quality.router,
    recipes.router,
    review.router,
    categories.router,
    snapshots.router,
    labels.router,
    retrainings.router,
    comparisons.router,
    releases.router,
    rollouts.router,
    audit.router,
    operations.router,
    retention.router,
    dead_letters.router,
    sessions.router,
    users.router,
    health.router,
)
DESCRIPTION = """
Results, review, datasets, retraining, releases and rollouts of Sightline.

Errors are problem documents (RFC 9457). Lists come in pages: pass `next` as `cursor` to go on.
Sign in with `POST /v1/sessions`, or send a token as `Authorization: Bearer`.
"""


def build_api() -> FastAPI:
    """Every endpoint; `cloud.app` gives it the parts that they work with."""
    app = Api(
        title="Sightline",
        version=version("sightline"),
        description=DESCRIPTION,
        openapi_url="/v1/openapi.json",
        # The interactive pages load their scripts from the internet, which a plant has not.
        docs_url=None,
        redoc_url=None,
        responses={
            "4XX": {"model": Problem, "description": "The request cannot be served"},
            "5XX": {"model": Problem, "description": "The server cannot serve it now"},
        },
    )
    for router in ROUTERS:
        app.include(router)
    install_problems(app)
    return app
