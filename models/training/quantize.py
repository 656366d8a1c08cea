"""INT8 by post-training quantization with NNCF."""

import contextlib
import io
import logging
from collections.abc import Sequence

import numpy as np
import openvino as ov

import models.detector  # noqa: F401 - blocks usage reporting before nncf is imported
from models.detector.preprocess import Image, resize_to_input
from models.detector.spec import DetectorSpec

# More pictures made no difference to the statistics that could be measured.
MAX_CALIBRATION_PICTURES = 300


def quantize(network: ov.Model, pictures: Sequence[Image], spec: DetectorSpec) -> ov.Model:
    """Turn the network's layers to INT8.

    Args:
        network: without decoding and NMS, which stay in float.
        pictures: some of the training pictures, of any size.
        spec: names the input size.

    Raises:
        ValueError: there are no pictures to calibrate with.
    """
    import nncf

    if not pictures:
        raise ValueError("quantization needs pictures to calibrate with")
    chosen = list(pictures[:MAX_CALIBRATION_PICTURES])
    dataset = nncf.Dataset(chosen, lambda picture: np.array(resize_to_input(picture, spec))[None])
    nncf.set_log_level(logging.WARNING)
    # Its progress bars would break the JSON lines that a command writes to standard output.
    with contextlib.redirect_stdout(io.StringIO()):
        return nncf.quantize(
            network,
            dataset,
            subset_size=len(chosen),
            # Activations after a residual sum have both signs: asymmetric for them alone.
            preset=nncf.QuantizationPreset.MIXED,
        )
