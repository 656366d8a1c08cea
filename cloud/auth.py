"""Who is asking: passwords, tokens, sessions and the role they carry."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from cloud import audit
from cloud.db.session import Database
from cloud.db.tables import Role, Token, TokenKind, User
from cloud.errors import ConflictError, InvalidError, NotFoundError, NotSignedInError

COOKIE = "sightline_session"
MIN_PASSWORD_LENGTH = 10
TOKEN_ID_LENGTH = 16
_HASHER = PasswordHasher()
# Checked when nobody of that name exists, so that the answer takes as long as for a wrong password.
_NOBODY = _HASHER.hash(secrets.token_urlsafe())
_RANK = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who is signed in."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether this person has at least that role."""
        return _RANK[self.role] >= _RANK[role]


ANYBODY = Identity("local", Role.ADMIN)
"""Who everybody is where no login is required (only on 127.0.0.1)."""


def hash_token(token: str) -> str:
    """What is kept of a token: it has 256 random bits, so one round of SHA-256 is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


class Accounts:
    """Users and their tokens."""

    def __init__(
        self,
        database: Database,
        *,
        require_login: bool = True,
        session_hours: float = 12.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._session_life = timedelta(hours=session_hours)
        self._now = now
        self.require_login = require_login

    def sign_in(self, name: str, password: str) -> tuple[Identity, str]:
        """Check a password and open a session; gives the session's token.

        Raises:
            NotSignedInError: name or password is wrong; which one is not said.
        """
        with self._database.read() as session:
            user = session.get(User, name)
        known = user.password_hash if user is not None and user.is_active else None
        try:
            _HASHER.verify(known or _NOBODY, password)
        except (VerificationError, InvalidHashError) as error:
            raise NotSignedInError("name or password is wrong") from error
        if user is None or known is None:
            raise NotSignedInError("name or password is wrong")
        token = self.issue_token(
            name, kind=TokenKind.SESSION, label="browser", life=self._session_life
        )
        return Identity(user.name, user.role), token

    def identify(self, token: str | None) -> Identity:
        """Tell who holds a token.

        Raises:
            NotSignedInError: the token is missing, unknown, expired, or of an inactive user.
        """
        if token is None:
            if self.require_login:
                raise NotSignedInError("sign in, or send a bearer token")
            return ANYBODY
        with self._database.read() as session:
            row = session.execute(
                select(User, Token.expires_at)
                .join(Token, Token.user_name == User.name)
                .where(Token.token_hash == hash_token(token))
            ).one_or_none()
        if row is None or not row[0].is_active or (row[1] is not None and row[1] < self._now()):
            if self.require_login:
                raise NotSignedInError("the token is not valid or has expired")
            return ANYBODY
        return Identity(row[0].name, row[0].role)

    def issue_token(
        self,
        user_name: str,
        *,
        label: str,
        kind: TokenKind = TokenKind.API,
        life: timedelta | None = None,
        actor: str | None = None,
    ) -> str:
        """Make a token for a user; it is shown once and only its hash is kept.

        Args:
            user_name: Whose it is.
            label: What it is for.
            kind: A program's or a browser's.
            life: How long it is valid; None: until it is revoked.
            actor: Who asks, for the audit log; the user when not given.

        Raises:
            NotFoundError: there is no such user.
        """
        token = secrets.token_urlsafe(32)
        now = self._now()
        with self._database.write() as session:
            if session.get(User, user_name) is None:
                raise NotFoundError("user", user_name)
            session.execute(delete(Token).where(Token.expires_at < now))
            session.add(
                Token(
                    token_hash=hash_token(token),
                    user_name=user_name,
                    kind=kind,
                    label=label,
                    created_at=now,
                    expires_at=now + life if life is not None else None,
                )
            )
            deed = "sign in" if kind is TokenKind.SESSION else "make token"
            token_id = hash_token(token)[:TOKEN_ID_LENGTH]
            audit.record(
                session, actor or user_name, deed, user_name, token_id=token_id, label=label
            )
        return token

    def tokens(self, user_name: str | None = None) -> Sequence[Token]:
        """Tokens and sessions that are valid now, newest first; everybody's when not given."""
        query = select(Token).order_by(Token.created_at.desc(), Token.token_hash)
        query = query.where((Token.expires_at.is_(None)) | (Token.expires_at > self._now()))
        if user_name is not None:
            query = query.where(Token.user_name == user_name)
        with self._database.read() as session:
            return session.scalars(query).all()

    def revoke_token(self, token_id: str, *, actor: str, owner: str | None = None) -> None:
        """End a token or session by its public identity.

        Args:
            token_id: The beginning of its hash.
            actor: Who asks.
            owner: Only a token of this user.

        Raises:
            NotFoundError: there is none.
        """
        query = select(Token).where(Token.token_hash.startswith(token_id, autoescape=True))
        if owner is not None:
            query = query.where(Token.user_name == owner)
        with self._database.write() as session:
            token = session.scalars(query).first()
            if token is None or len(token_id) != TOKEN_ID_LENGTH:
                raise NotFoundError("token", token_id)
            session.delete(token)
            facts = {"token_id": token_id, "label": token.label}
            audit.record(session, actor, "revoke token", token.user_name, **facts)

    def revoke(self, token: str) -> None:
        """End a session or a token; one that does not exist is fine."""
        with self._database.write() as session:
            session.execute(delete(Token).where(Token.token_hash == hash_token(token)))

    def set_user(
        self, name: str, *, role: Role, password: str | None, actor: str = audit.SYSTEM
    ) -> None:
        """Add a user, or change role and password; a change ends the user's sessions.

        Raises:
            InvalidError: the password is too short or the name is not usable.
            ConflictError: the last administrator would lose the role.
        """
        if not name or len(name) > 64 or not name.isprintable():
            raise InvalidError("a user's name has 1 to 64 printable characters")
        if password is not None and len(password) < MIN_PASSWORD_LENGTH:
            raise InvalidError(f"a password has at least {MIN_PASSWORD_LENGTH} characters")
        password_hash = _HASHER.hash(password) if password is not None else None
        with self._database.write() as session:
            user = session.get(User, name)
            if user is None:
                user = User(name=name, role=role, is_active=True, created_at=self._now())
                session.add(user)
            elif role is not Role.ADMIN:
                _keep_an_admin(session, user)
            user.role = role
            if password_hash is not None:
                user.password_hash = password_hash
                session.execute(delete(Token).where(Token.user_name == name))
            audit.record(session, actor, "set user", name, role=role)

    def users(self) -> Sequence[User]:
        """Everybody, by name."""
        with self._database.read() as session:
            return session.scalars(select(User).order_by(User.name)).all()

    def user(self, name: str) -> User:
        """One user.

        Raises:
            NotFoundError: there is no such user.
        """
        with self._database.read() as session:
            user = session.get(User, name)
        if user is None:
            raise NotFoundError("user", name)
        return user

    def change_password(self, name: str, old: str, new: str) -> None:
        """Let somebody choose a new password; every session and token of theirs ends.

        Raises:
            NotSignedInError: the old password is wrong.
            InvalidError: the new one is too short.
        """
        user = self.user(name)
        try:
            _HASHER.verify(user.password_hash or _NOBODY, old)
        except (VerificationError, InvalidHashError) as error:
            raise NotSignedInError("the present password is wrong") from error
        self.set_user(name, role=user.role, password=new, actor=name)

    def deactivate(self, name: str, *, actor: str = audit.SYSTEM) -> None:
        """Lock a user out; the name stays for the audit log.

        Raises:
            NotFoundError: there is no such user.
            ConflictError: it is the last administrator.
        """
        with self._database.write() as session:
            user = _known(session, name)
            _keep_an_admin(session, user)
            user.is_active = False
            session.execute(delete(Token).where(Token.user_name == name))
            audit.record(session, actor, "lock user", name)

    def activate(self, name: str, *, actor: str = audit.SYSTEM) -> None:
        """Let a locked user in again, with the old password.

        Raises:
            NotFoundError: there is no such user.
        """
        with self._database.write() as session:
            _known(session, name).is_active = True
            audit.record(session, actor, "unlock user", name)


def _known(session: Session, name: str) -> User:
    user = session.get(User, name)
    if user is None:
        raise NotFoundError("user", name)
    return user


def _keep_an_admin(session: Session, user: User) -> None:
    if user.role is not Role.ADMIN or not user.is_active:
        return
    others = select(func.count()).where(
        User.role == Role.ADMIN, User.is_active.is_(True), User.name != user.name
    )
    if not session.scalar(others):
        raise ConflictError(f"{user.name} is the last administrator: make another one first")
