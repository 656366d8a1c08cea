"""What every endpoint needs: the process's parts, and who is asking."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request

from cloud.auth import COOKIE, Accounts, Identity
from cloud.backups import BackupDesk
from cloud.contradictions import Contradictions
from cloud.db.session import Database
from cloud.db.tables import Role
from cloud.dead_letters import DeadLetters
from cloud.errors import NotAllowedError
from cloud.image_store import ImageStore
from cloud.learning import LearningServices
from cloud.limits import AttemptLimit
from cloud.operating_points import Proposals
from cloud.recipe_drafts import RecipeDrafts
from cloud.recipes import Recipes
from cloud.settings import Settings
from cloud.shifts import PlantClock
from cloud.telemetry import ServeMetrics
from cloud.thumbnails import Thumbnails

ROLE_ATTRIBUTE = "least_role"
"""Where a dependency made by `require` carries its role, for the OpenAPI document."""


@dataclass(frozen=True, slots=True)
class Context:
    """Parts of the serving process; made once by `cloud.app`."""

    settings: Settings
    clock: PlantClock
    database: Database
    images: ImageStore
    accounts: Accounts
    sign_ins: AttemptLimit
    metrics: ServeMetrics
    learning: LearningServices
    contradictions: Contradictions
    thumbnails: Thumbnails
    proposals: Proposals
    recipes: Recipes
    drafts: RecipeDrafts
    backups: BackupDesk
    dead_letters: DeadLetters


def get_context(request: Request) -> Context:
    """The parts of the process that serves this request."""
    context: Context = request.app.state.context
    return context


def bearer_or_cookie(request: Request) -> str | None:
    """The token that a request carries, or None."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.cookies.get(COOKIE)


def get_identity(request: Request, context: Annotated[Context, Depends(get_context)]) -> Identity:
    """Who is asking.

    Raises:
        NotSignedInError: nobody who is known.
    """
    return context.accounts.identify(bearer_or_cookie(request))


def require(role: Role) -> Callable[[Identity], Identity]:
    """Dependency that lets only people with at least this role through."""

    def check(identity: Annotated[Identity, Depends(get_identity)]) -> Identity:
        if not identity.may(role):
            raise NotAllowedError(
                f"this needs the role {role}, {identity.name} has {identity.role}"
            )
        return identity

    setattr(check, ROLE_ATTRIBUTE, role)
    return check


Ctx = Annotated[Context, Depends(get_context)]
Viewer = Annotated[Identity, Depends(require(Role.VIEWER))]
Operator = Annotated[Identity, Depends(require(Role.OPERATOR))]
Quality = Annotated[Identity, Depends(require(Role.QUALITY))]
Controls = Annotated[Identity, Depends(require(Role.CONTROLS))]
MlEngineer = Annotated[Identity, Depends(require(Role.ML))]
Admin = Annotated[Identity, Depends(require(Role.ADMIN))]

_Level = Annotated[str, Path(pattern=r"^[A-Za-z0-9_\-]{1,32}$")]


def _cell_path(site: _Level, area: _Level, line: _Level, cell: _Level) -> str:
    return f"{site}/{area}/{line}/{cell}"


CellPath = Annotated[str, Depends(_cell_path)]
"""The cell that a route with ``{site}/{area}/{line}/{cell}`` names."""
