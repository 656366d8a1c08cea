"""Users, tokens and passwords through the API, and that no secret is told to anybody."""

import logging
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from cloud.api.context import Context
from cloud.db.tables import Role

NewClient = Callable[[Role | None], TestClient]
PASSWORD = "correct horse"  # noqa: S105 - of the test's own users


def _audit(admin: TestClient) -> list[tuple[str, str, str]]:
    items = admin.get("/v1/audit").json()["items"]
    return [(item["actor"], item["action"], item["subject"]) for item in items]


def test_an_administrator_adds_locks_and_unlocks_somebody(client: NewClient) -> None:
    admin = client(Role.ADMIN)
    added = admin.put("/v1/users/ann", json={"role": "quality", "password": PASSWORD})
    assert (added.json()["role"], added.json()["has_password"]) == ("quality", True)
    nobody = client(None)
    sign_in = {"name": "ann", "password": PASSWORD}
    assert nobody.post("/v1/sessions", json=sign_in).status_code == 201
    assert admin.post("/v1/users/ann/lock").json()["is_active"] is False
    assert nobody.get("/v1/sessions/me").status_code == 401
    assert nobody.post("/v1/sessions", json=sign_in).status_code == 401
    assert admin.post("/v1/users/ann/unlock").json()["is_active"] is True
    assert nobody.post("/v1/sessions", json=sign_in).status_code == 201
    assert [entry[1:] for entry in _audit(admin)[:5]] == [
        ("sign in", "ann"),
        ("unlock user", "ann"),
        ("lock user", "ann"),
        ("sign in", "ann"),
        ("set user", "ann"),
    ]


def test_the_last_administrator_can_neither_be_locked_nor_lose_the_role(client: NewClient) -> None:
    admin = client(Role.ADMIN)
    assert admin.post("/v1/users/admin/lock").status_code == 409
    assert admin.put("/v1/users/admin", json={"role": "viewer"}).status_code == 409
    admin.put("/v1/users/bob", json={"role": "admin", "password": PASSWORD})
    assert admin.put("/v1/users/admin", json={"role": "viewer"}).status_code == 200
    assert admin.get("/v1/users").status_code == 403


def test_a_token_is_shown_once_acts_with_its_users_role_and_can_be_revoked(
    client: NewClient,
) -> None:
    admin, program = client(Role.ADMIN), client(None)
    admin.put("/v1/users/robot7", json={"role": "operator"})
    made = admin.post("/v1/users/robot7/tokens", json={"label": "cell 7", "days": 30}).json()
    program.headers["Authorization"] = f"Bearer {made['token']}"
    assert program.get("/v1/sessions/me").json() == {"name": "robot7", "role": "operator"}
    listed = admin.get("/v1/tokens")
    assert made["token"] not in listed.text
    token_id = next(row["token_id"] for row in listed.json() if row["user"] == "robot7")
    assert admin.delete(f"/v1/tokens/{token_id}").status_code == 204
    assert program.get("/v1/sessions/me").status_code == 401
    assert admin.delete(f"/v1/tokens/{token_id}").status_code == 404


def test_people_keep_their_own_tokens_and_cannot_end_anothers(client: NewClient) -> None:
    viewer, quality = client(Role.VIEWER), client(Role.QUALITY)
    assert viewer.post("/v1/sessions/me/tokens", json={"label": "script"}).status_code == 201
    [newest, *_] = viewer.get("/v1/sessions/me/tokens").json()
    assert newest["label"] == "script"
    path = f"/v1/sessions/me/tokens/{newest['token_id']}"
    assert quality.delete(path).status_code == 404
    assert viewer.delete(path).status_code == 204


def test_a_new_password_needs_the_old_one_and_ends_every_session(
    context: Context, client: NewClient
) -> None:
    context.accounts.set_user("ann", role=Role.VIEWER, password=PASSWORD)
    ann = client(None)
    ann.post("/v1/sessions", json={"name": "ann", "password": PASSWORD})
    change = {"present": "wrong", "new": "battery staple"}
    assert ann.put("/v1/sessions/me/password", json=change).status_code == 401
    short = {"present": PASSWORD, "new": "short"}
    assert ann.put("/v1/sessions/me/password", json=short).status_code == 422
    good = {"present": PASSWORD, "new": "battery staple"}
    assert ann.put("/v1/sessions/me/password", json=good).status_code == 204
    assert ann.get("/v1/sessions/me").status_code == 401
    fresh = {"name": "ann", "password": "battery staple"}
    assert ann.post("/v1/sessions", json=fresh).status_code == 201


def test_guessing_at_one_name_is_slowed_down_from_whatever_address(
    context: Context, client: NewClient
) -> None:
    statuses = []
    for number in range(21):
        address = TestClient(client(None).app, client=(f"10.0.0.{number}", 1))
        attempt = {"name": "ann", "password": "guess"}
        statuses.append(address.post("/v1/sessions", json=attempt).status_code)
    assert statuses == [401] * 20 + [429]
    assert context.sign_ins.per_minute == 4


def test_passwords_are_kept_as_argon2_hashes(context: Context) -> None:
    context.accounts.set_user("ann", role=Role.VIEWER, password=PASSWORD)
    kept = context.accounts.user("ann").password_hash
    assert kept is not None
    assert kept.startswith("$argon2id$")


def test_no_secret_reaches_the_log_or_an_error(
    context: Context, client: NewClient, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "s3cret-horse-battery"  # noqa: S105 - the very thing to look for
    caplog.set_level(logging.DEBUG)
    admin, nobody = client(Role.ADMIN), client(None)
    context.accounts.set_user("ann", role=Role.VIEWER, password=secret)
    nobody.headers["Authorization"] = f"Bearer {secret}"
    texts = [
        nobody.get("/v1/sessions/me").text,
        nobody.post("/v1/sessions", json={"name": 5, "password": [secret]}).text,
        nobody.post("/v1/sessions", json={"name": "\0", "password": secret}).text,
        nobody.post("/v1/sessions", json={"name": "bob", "password": secret}).text,
        admin.put("/v1/users/ann", json={"role": "king", "password": secret}).text,
        admin.put("/v1/users/ann", json={"role": "viewer", "password": secret * 20}).text,
        admin.put("/v1/users/ann", json={"role": "viewer", "password": secret}).text,
        admin.get("/v1/users").text,
        admin.get("/v1/audit/export?format=jsonl").text,
    ]
    signed_in = nobody.post("/v1/sessions", json={"name": "ann", "password": secret})
    token = signed_in.json()["token"]
    texts += [admin.get("/v1/tokens").text, admin.get("/v1/audit").text]
    shown = "\n".join([*texts, caplog.text])
    assert secret not in shown
    assert token not in shown


def test_the_audit_log_is_exported_whole_and_harmless_to_a_spreadsheet(
    context: Context, client: NewClient
) -> None:
    admin = client(Role.ADMIN)
    context.accounts.set_user("=cmd()", role=Role.VIEWER, password=None)
    text = admin.get("/v1/audit/export").text.splitlines()
    assert text[0] == "id,at,actor,action,subject,details"
    assert any(",'=cmd()," in line for line in text)
    lines = admin.get("/v1/audit/export", params={"format": "jsonl"}).text.splitlines()
    assert len(lines) == len(text) - 1
