"""The signed model repository as files: cells fetch from here, with ranges for resumed downloads.

No sign-in: every byte is covered by a signature, and a cell has no account here.
"""

from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response
from starlette.types import Scope


class _Files(StaticFiles):
    """Files that a client must ask for anew: the timestamp changes under the same name."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def mount_repository(app: FastAPI, folder: Path) -> None:
    """Serve ``/tuf/metadata`` and ``/tuf/targets``; the folder may still be empty."""
    for part in ("metadata", "targets"):
        app.mount(f"/tuf/{part}", _Files(directory=folder / part, check_dir=False), name=part)
