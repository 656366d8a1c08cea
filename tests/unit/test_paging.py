import base64
from datetime import UTC, datetime

import pytest

from cloud.api.paging import decode_cursor, encode_cursor, page_of
from cloud.errors import InvalidError


def test_a_cursor_gives_back_the_key_that_it_was_made_of() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    cursor = encode_cursor(moment, 42, "plant/a/b/c")
    assert decode_cursor(cursor, datetime, int, str) == (moment, 42, "plant/a/b/c")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "§",
        "x" * 300,
        base64.urlsafe_b64encode(b"[1, 2]").decode(),
        base64.urlsafe_b64encode(b"[true]").decode(),
        base64.urlsafe_b64encode(b"[99999999999999999999999]").decode(),
        base64.urlsafe_b64encode(b"{}").decode(),
    ],
)
def test_a_cursor_of_somewhere_else_is_invalid(cursor: str) -> None:
    with pytest.raises(InvalidError):
        decode_cursor(cursor, int)


def test_the_last_page_has_no_next() -> None:
    full = page_of([1, 2, 3], 2, item=str, key=lambda row: (row,))
    assert (full.items, full.next) == (["1", "2"], encode_cursor(2))
    assert page_of([1, 2], 2, item=str, key=lambda row: (row,)).next is None
