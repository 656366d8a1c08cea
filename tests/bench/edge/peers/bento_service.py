"""BentoML: ``bentoml serve bento_service:Inspector --port PORT``; settings in the environment."""

import os
from pathlib import Path
from typing import Annotated, Any

import bentoml
from bentoml.validators import ContentType
from model import Model


@bentoml.service(workers=1, traffic={"timeout": 30}, logging={"access": {"enabled": False}})
class Inspector:
    """Takes a raw JPEG."""

    def __init__(self) -> None:
        self._model = Model(os.environ["BENCH_BUNDLE"], int(os.environ["BENCH_THREADS"]))

    @bentoml.api(route="/inspect")
    def inspect(self, image: Annotated[Path, ContentType("image/jpeg")], /) -> dict[str, Any]:
        return self._model(image.read_bytes())
