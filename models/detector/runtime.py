"""The one way to run a bundle: on the edge, in evaluation and behind HTTP."""

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import openvino as ov
import openvino.properties as ov_properties
from openvino.properties import hint

from models.contract.bundle import MODEL_NAME, BundleManifest, read_manifest, verify_files
from models.contract.model import ContractError
from models.detector.detections import Detections
from models.detector.postprocess import DETECTIONS, EMBEDDING
from models.detector.preprocess import Image, check_image, resize_to_input, scale_to_picture
from models.detector.spec import DetectorSpec, read_spec


class BundleError(ContractError):
    """A bundle that cannot be run; the text is one line."""


class DetectorRuntime:
    """A compiled detector, ready to look at pictures.

    It has one owner: two threads must not call `infer` at the same time, as the input buffer is
    reused from picture to picture.
    """

    def __init__(
        self, compiled: ov.CompiledModel, manifest: BundleManifest, spec: DetectorSpec
    ) -> None:
        self.manifest = manifest
        self.spec = spec
        self._request = compiled.create_infer_request()
        self._buffer: Image = np.zeros((1, spec.input_height, spec.input_width, 3), np.uint8)
        self._request.set_input_tensor(ov.Tensor(self._buffer, shared_memory=True))
        self.precision_in_force = compiled.get_property(hint.inference_precision).get_type_name()

    @classmethod
    def load(
        cls,
        bundle_dir: Path,
        *,
        num_threads: int | None = 1,
        cache_dir: Path | None = None,
        precision: str = "f32",
        verify: bool = True,
    ) -> Self:
        """Check a bundle and compile it for this machine's CPU.

        Args:
            bundle_dir: folder with a manifest.
            num_threads: of the inference; None leaves it to OpenVINO. One holds its worst case
                better than two where other work shares the cores.
            cache_dir: where compiled models are kept, which halves the next start.
            precision: of the layers that are not INT8. Left to itself the CPU plug-in takes bf16
                where it can, and answers differently from machine to machine.
            verify: compare every file with the manifest first.

        Raises:
            BundleError: a file is missing, changed or cannot be compiled.
        """
        try:
            manifest = read_manifest(bundle_dir)
            if verify:
                verify_files(bundle_dir, manifest)
            spec = read_spec(bundle_dir)
        except ContractError as error:
            raise BundleError(str(error)) from error
        if spec.categories != manifest.category_names:
            raise BundleError(f"{bundle_dir}: manifest and spec name different categories")
        options = _options(num_threads, precision)
        if cache_dir is not None:
            options[ov_properties.cache_dir()] = str(cache_dir)
        try:
            compiled = ov.Core().compile_model(str(bundle_dir / MODEL_NAME), "CPU", options)
        except RuntimeError as error:
            cause = str(error).strip().splitlines()[-1]
            raise BundleError(f"{bundle_dir}: OpenVINO refuses the model ({cause})") from error
        return cls(compiled, manifest, spec)

    @property
    def categories(self) -> tuple[str, ...]:
        """Category names in class-id order."""
        return self.spec.categories

    @property
    def thresholds(self) -> dict[str, float]:
        """Lowest score that counts, by category name."""
        return dict(self.manifest.thresholds)

    def infer(self, image: Image) -> Detections:
        """Find everything in one picture.

        Args:
            image: ``(H, W, 3)`` uint8 BGR of any size.

        Returns:
            All boxes from the spec's score floor up, in pixels of ``image``.

        Raises:
            ValueError: ``image`` is not such a picture.
        """
        check_image(image)
        resize_to_input(image, self.spec, out=self._buffer[0])
        self._request.infer()
        rows = self._request.get_tensor(DETECTIONS).data
        return Detections(
            boxes=scale_to_picture(rows[:, 2:6], image.shape, self.spec),
            scores=rows[:, 1].copy(),
            class_ids=rows[:, 0].astype(np.int64),
            embedding=self._request.get_tensor(EMBEDDING).data[0].copy(),
        )

    def close(self) -> None:
        """Let go of the compiled model; `infer` must not be called afterwards."""
        del self._request

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _options(num_threads: int | None, precision: str) -> dict[str, object]:
    options: dict[str, object] = {
        hint.performance_mode(): hint.PerformanceMode.LATENCY,
        hint.inference_precision(): precision,
        ov_properties.num_streams(): 1,
        # Pinned threads of two processes end up on the same core.
        hint.enable_cpu_pinning(): False,
    }
    if num_threads is not None:
        options[ov_properties.inference_num_threads()] = num_threads
    return options
