"""Signing in and out."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, SecretStr

from cloud.api.context import Ctx, Viewer, bearer_or_cookie
from cloud.auth import COOKIE
from cloud.db.tables import Role

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

NAME_FACTOR = 5
"""Attempts at one name, from whatever address, against those from one address."""


class SignIn(BaseModel):
    """Name and password."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[^\x00]+$")
    password: SecretStr = Field(min_length=1, max_length=200)


class IdentityOut(BaseModel):
    """Who is signed in."""

    name: str
    role: Role


class SessionOut(IdentityOut):
    """A new session; programs send the token as ``Authorization: Bearer``."""

    token: str


@router.post("", status_code=201)
def sign_in(context: Ctx, request: Request, response: Response, body: SignIn) -> SessionOut:
    """Open a session; browsers get a cookie."""
    address = request.client.host if request.client is not None else "unknown"
    context.sign_ins.check(f"address {address}")
    # From many addresses at one name: wider, so that a stranger cannot easily lock somebody out.
    context.sign_ins.check(f"name {body.name}", factor=NAME_FACTOR)
    identity, token = context.accounts.sign_in(body.name, body.password.get_secret_value())
    response.set_cookie(
        COOKIE,
        token,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
        max_age=int(context.settings.auth.session_hours * 3600),
    )
    return SessionOut(name=identity.name, role=identity.role, token=token)


@router.get("/me")
def who_am_i(identity: Viewer) -> IdentityOut:
    """Who the caller is and what role that is."""
    return IdentityOut(name=identity.name, role=identity.role)


@router.delete("", status_code=204)
def sign_out(context: Ctx, request: Request, _viewer: Viewer) -> Response:
    """End the session or token that the request carries."""
    token = bearer_or_cookie(request)
    if token is not None:
        context.accounts.revoke(token)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE)
    return response
