"""Writes the OpenAPI file of the agent: ``python -m edge_agent.adapters.http_openapi``."""

import json
from concurrent.futures import Future
from pathlib import Path

from prometheus_client import CollectorRegistry

from edge_agent.adapters.http_api import make_app
from edge_agent.inspection_ports import Health, PictureRequest
from edge_agent.ports import CycleOutcome
from models.contract.messages import StationState

FILE = Path(__file__).with_name("openapi.json")


class _Nobody:
    """Stands where the inspection is in an agent; a description needs none."""

    def submit(self, request: PictureRequest) -> Future[CycleOutcome]:  # noqa: ARG002
        return Future()

    def health(self) -> Health:
        return Health(is_live=False, is_ready=False, station_state=StationState.PREOPERATIONAL)


def openapi_text() -> str:
    """The API as the agent serves it at ``/openapi.json``, version left out."""
    document = make_app(_Nobody(), CollectorRegistry(), version="1").openapi()
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(openapi_text(), encoding="utf-8")
