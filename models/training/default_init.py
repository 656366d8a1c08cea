"""Where a training starts from when the caller does not say."""

import os
import socket
from pathlib import Path

import models
from models.training.fit_settings import BASELINE, IMAGENET

BASELINE_BUNDLE = Path(models.__file__).resolve().parent / "released" / "plate"
"""The bundle that the project ships; its backbone began with ImageNet and has seen parts since."""

INIT_VARIABLE = "SIGHTLINE_INIT"
KERAS_FILE = "models/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
KERAS_HOST = "storage.googleapis.com"
CONNECT_TIMEOUT_S = 3.0


def default_init() -> tuple[str, str]:
    """What to start from, and a remark for the person who waits (may be empty).

    ``SIGHTLINE_INIT`` where it is set (a plant without internet names its own backbone file
    there); else ImageNet's weights where Keras has them or can fetch them; else the backbone of
    the released baseline.
    """
    named = os.environ.get(INIT_VARIABLE)
    if named:
        return named, f"starting from {named} ({INIT_VARIABLE})"
    if _keras_has_it() or _is_reachable():
        return IMAGENET, ""
    if not BASELINE_BUNDLE.is_dir():
        return IMAGENET, ""
    return BASELINE, (
        "ImageNet's weights cannot be fetched here: starting from the backbone of the released "
        "baseline (--init names a MobileNetV2 .weights.h5 to start from)"
    )


def _keras_has_it() -> bool:
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    return (home / KERAS_FILE).is_file()


def _is_reachable() -> bool:
    try:
        socket.create_connection((KERAS_HOST, 443), CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True
