"""People and programs: who there is, what each may do, their tokens."""

from datetime import datetime, timedelta
from typing import Annotated, Self

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field, SecretStr

from cloud.api.context import Admin, Ctx, Viewer
from cloud.auth import TOKEN_ID_LENGTH
from cloud.db.tables import Role, Token, TokenKind, User

router = APIRouter(prefix="/v1", tags=["admin"])

UserName = Annotated[
    str, Path(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f/]+$", description="Name")
]
TokenId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="Public identity of a token")]


class UserOut(BaseModel):
    """Somebody who may sign in."""

    name: str
    role: Role
    is_active: bool
    has_password: bool
    """False: a program, it uses tokens only."""
    created_at: datetime

    @classmethod
    def of(cls, row: User) -> Self:
        """From its row."""
        return cls(
            name=row.name,
            role=row.role,
            is_active=row.is_active,
            has_password=row.password_hash is not None,
            created_at=row.created_at,
        )


class UserBody(BaseModel):
    """What a user is to be."""

    role: Role
    password: SecretStr | None = Field(default=None, max_length=200)
    """At least 10 characters; the present one stays when not given."""


class PasswordBody(BaseModel):
    """A new password, with the present one as proof."""

    present: SecretStr = Field(min_length=1, max_length=200)
    new: SecretStr = Field(min_length=1, max_length=200)


class TokenBody(BaseModel):
    """What a token is for."""

    label: str = Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")
    days: float | None = Field(default=None, gt=0, le=3650, allow_inf_nan=False)
    """How long it is valid; until it is revoked when not given."""


class TokenOut(BaseModel):
    """A token or a browser's session, without its secret."""

    token_id: str
    user: str
    kind: TokenKind
    label: str
    created_at: datetime
    expires_at: datetime | None

    @classmethod
    def of(cls, row: Token) -> Self:
        """From its row."""
        return cls(
            token_id=row.token_hash[:TOKEN_ID_LENGTH],
            user=row.user_name,
            kind=row.kind,
            label=row.label,
            created_at=row.created_at,
            expires_at=row.expires_at,
        )


class NewTokenOut(BaseModel):
    """A new token; its secret is shown this once."""

    token: str
    label: str


@router.get("/users")
def list_users(context: Ctx, _admin: Admin) -> list[UserOut]:
    """Everybody, by name."""
    return [UserOut.of(row) for row in context.accounts.users()]


@router.put("/users/{name}")
def put_user(context: Ctx, identity: Admin, name: UserName, body: UserBody) -> UserOut:
    """Add somebody, or change role and password; a new password ends all sessions."""
    password = body.password.get_secret_value() if body.password is not None else None
    context.accounts.set_user(name, role=body.role, password=password, actor=identity.name)
    return UserOut.of(context.accounts.user(name))


@router.post("/users/{name}/lock")
def lock_user(context: Ctx, identity: Admin, name: UserName) -> UserOut:
    """Lock somebody out and end every session and token; the last administrator cannot be."""
    context.accounts.deactivate(name, actor=identity.name)
    return UserOut.of(context.accounts.user(name))


@router.post("/users/{name}/unlock")
def unlock_user(context: Ctx, identity: Admin, name: UserName) -> UserOut:
    """Let somebody in again, with the old password."""
    context.accounts.activate(name, actor=identity.name)
    return UserOut.of(context.accounts.user(name))


@router.post("/users/{name}/tokens", status_code=201)
def make_user_token(context: Ctx, identity: Admin, name: UserName, body: TokenBody) -> NewTokenOut:
    """Make a token for a user, for instance a program's; it acts with that user's role."""
    return _make(context, name, body, actor=identity.name)


@router.get("/tokens")
def list_tokens(context: Ctx, _admin: Admin) -> list[TokenOut]:
    """Every token and session that is valid now, newest first."""
    return [TokenOut.of(row) for row in context.accounts.tokens()]


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(context: Ctx, identity: Admin, token_id: TokenId) -> Response:
    """End a token or a session."""
    context.accounts.revoke_token(token_id, actor=identity.name)
    return Response(status_code=204)


@router.get("/sessions/me/tokens")
def list_own_tokens(context: Ctx, identity: Viewer) -> list[TokenOut]:
    """The caller's own tokens and sessions."""
    return [TokenOut.of(row) for row in context.accounts.tokens(identity.name)]


@router.post("/sessions/me/tokens", status_code=201)
def make_own_token(context: Ctx, identity: Viewer, body: TokenBody) -> NewTokenOut:
    """Make a token that acts as the caller."""
    return _make(context, identity.name, body, actor=identity.name)


@router.delete("/sessions/me/tokens/{token_id}", status_code=204)
def revoke_own_token(context: Ctx, identity: Viewer, token_id: TokenId) -> Response:
    """End one of the caller's own tokens or sessions."""
    context.accounts.revoke_token(token_id, actor=identity.name, owner=identity.name)
    return Response(status_code=204)


@router.put("/sessions/me/password", status_code=204)
def change_password(context: Ctx, identity: Viewer, body: PasswordBody) -> Response:
    """Choose a new password; every session and token of the caller ends."""
    context.sign_ins.check(f"password of {identity.name}")
    context.accounts.change_password(
        identity.name, body.present.get_secret_value(), body.new.get_secret_value()
    )
    return Response(status_code=204)


def _make(context: Ctx, name: str, body: TokenBody, *, actor: str) -> NewTokenOut:
    life = timedelta(days=body.days) if body.days is not None else None
    token = context.accounts.issue_token(name, label=body.label, life=life, actor=actor)
    return NewTokenOut(token=token, label=body.label)
