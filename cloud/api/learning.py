"""What the routers of the learning half share: its services, and who acts."""

from typing import Annotated

from fastapi import Depends, Path

from cloud.api.context import Context, Ctx
from cloud.auth import Identity
from cloud.learning import LearningServices

ReleaseNumber = Annotated[int, Path(ge=1, le=2**53, description="Number of the release")]


def get_learning(context: Ctx) -> LearningServices:
    """The learning services of this process."""
    return context.learning


def acting(context: Context, identity: Identity, said: str | None) -> str:
    """Who a deed is written down for.

    Where people sign in, it is who signed in; only a demo without sign-in takes a caller's word.
    """
    if said and not context.accounts.require_login:
        return said
    return identity.name


Learning = Annotated[LearningServices, Depends(get_learning)]
