"""LitServe: ``python litserve_service.py BUNDLE THREADS PORT``."""

import sys
from typing import Any

import litserve as ls
from fastapi import Request
from model import Model


class Api(ls.LitAPI):
    """Takes a form: LitServe reads every other body as JSON."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        self._model = Model(sys.argv[1], int(sys.argv[2]))

    def decode_request(self, request: Request) -> bytes:
        return request["image"].file.read()

    def predict(self, body: bytes) -> dict[str, Any]:
        return self._model(body)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    server = ls.LitServer(Api(api_path="/inspect"), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(sys.argv[3]), log_level="warning", generate_client_file=False
    )
