"""JSON as databases take it."""

import json
from typing import Any


def parse_json(content: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Read JSON; NaN and infinities become null, since no database keeps them in JSON.

    Raises:
        ValueError: it is not JSON.
    """
    return json.loads(content, parse_constant=lambda _: None)
