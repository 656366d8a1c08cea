"""Writes the OpenAPI file: ``python -m cloud.api.openapi``."""

import json
from pathlib import Path

from cloud.api.application import build_api

FILE = Path(__file__).with_name("openapi.json")


def openapi_text() -> str:
    """The document as it stands in the file."""
    return json.dumps(build_api().openapi(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(openapi_text(), encoding="utf-8")
