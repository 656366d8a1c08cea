"""The one way to run a bundle: on the edge, in evaluation and behind HTTP."""

import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import openvino as ov
import openvino.properties as ov_properties
from openvino.properties import hint

from models.contract.bundle import MODEL_NAME, BundleManifest, read_manifest, verify_files
from models.contract.model import ContractError
from models.detector.boxes import Scale
from models.detector.detections import Answered, Detections, Embedding
from models.detector.postprocess import DETECTIONS, EMBEDDING
from models.detector.preprocess import Image, check_image, resize_to_input, scale_of
from models.detector.spec import DetectorSpec, read_spec


class BundleError(ContractError):
    """A bundle that cannot be run; the text is one line."""


@dataclass(frozen=True, slots=True, eq=False)
class _Seat:
    """An inference request with what it reads and writes: one picture at a time."""

    request: ov.InferRequest
    buffer: Image
    answer: ov.Tensor
    """``(N, 6)``, written by each inference: to hold it is quicker than to ask for it."""
    embedding: Embedding
    """``(1, D)``, likewise."""

    @classmethod
    def of(cls, compiled: ov.CompiledModel, spec: DetectorSpec) -> Self:
        request = compiled.create_infer_request()
        buffer: Image = np.zeros((1, spec.input_height, spec.input_width, 3), np.uint8)
        request.set_input_tensor(ov.Tensor(buffer, shared_memory=True))
        detections = compiled.output(DETECTIONS)
        fewest = detections.get_partial_shape().get_min_shape()
        answer = ov.Tensor(detections.get_element_type(), fewest)  # grows to the largest answer
        request.set_tensor(detections, answer)
        embedding: Embedding = np.zeros(tuple(compiled.output(EMBEDDING).shape), np.float32)
        request.set_tensor(EMBEDDING, ov.Tensor(embedding, shared_memory=True))
        return cls(request, buffer, answer, embedding)


class DetectorRuntime:
    """A compiled detector, ready to look at pictures.

    Any thread may call `infer`; ``num_requests`` of them are served at a time, others wait.
    """

    def __init__(
        self, compiled: Sequence[ov.CompiledModel], manifest: BundleManifest, spec: DetectorSpec
    ) -> None:
        self.manifest = manifest
        self.spec = spec
        self.num_requests = len(compiled)
        self._seats = [_Seat.of(one, spec) for one in compiled]
        """Those that are free; the one that was left last is taken first, for its warm caches."""
        self._num_free: queue.SimpleQueue[bool] = queue.SimpleQueue()
        """A True for each of them; False: the model was let go."""
        for _ in compiled:
            self._num_free.put(True)
        self._last_scale: tuple[tuple[int, ...], Scale] = (), Scale(1.0, 1.0, 0, 0)
        """Of the picture before, and its shape: a camera's pictures are all of one size."""
        precision = compiled[0].get_property(hint.inference_precision)
        self.precision_in_force = precision.get_type_name()

    @classmethod
    def load(
        cls,
        bundle_dir: Path,
        *,
        num_threads: int | None = 1,
        cache_dir: Path | None = None,
        precision: str = "f32",
        num_requests: int = 1,
        verify: bool = True,
        before_compiling: Callable[[], None] = lambda: None,
    ) -> Self:
        """Check a bundle and compile it for this machine's CPU.

        Args:
            bundle_dir: folder with a manifest.
            num_threads: of one inference; None leaves it to OpenVINO. One holds its worst case
                better than two where other work shares the cores.
            cache_dir: where compiled models are kept, which halves the next start.
            precision: of the layers that are not INT8. Left to itself the CPU plug-in takes bf16
                where it can, and answers differently from machine to machine.
            num_requests: pictures that may be looked at at once.
            verify: compare every file with the manifest first.
            before_compiling: called once all files are checked: now comes what takes the cores.

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
        options = cpu_options(num_threads, precision)
        if cache_dir is not None:
            options[ov_properties.cache_dir()] = str(cache_dir)
        before_compiling()
        try:
            # Each request its own network: it is then computed on the caller's thread, while the
            # streams of a shared one hand it to threads of their own; two at once are 5 % slower.
            core, path = ov.Core(), str(bundle_dir / MODEL_NAME)
            compiled = [core.compile_model(path, "CPU", options) for _ in range(num_requests)]
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
            RuntimeError: the runtime was closed, or OpenVINO fails.
        """
        check_image(image)
        if not self._num_free.get():
            self._num_free.put(False)
            raise RuntimeError("the model was let go")
        seat = self._seats.pop()
        try:
            resize_to_input(image, self.spec, out=seat.buffer[0])
            seat.request.infer()
            answer = seat.answer.data.copy()
            embedding = seat.embedding[0].copy()
        finally:
            self._seats.append(seat)
            self._num_free.put(True)
        return Answered(answer, self._scale_of(image), embedding)

    def _scale_of(self, image: Image) -> Scale:
        shape, scale = self._last_scale
        if shape != image.shape:
            scale = scale_of(image, self.spec)
            self._last_scale = image.shape, scale
        return scale

    def close(self) -> None:
        """Wait for who is inside, then let go of the model; `infer` refuses from then on."""
        for _ in range(self.num_requests):
            if not self._num_free.get():
                break
        self._seats.clear()
        self._num_free.put(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def cpu_options(
    num_threads: int | None, precision: str, *, num_streams: int = 1
) -> dict[str, object]:
    """How a detector is compiled for the CPU."""
    options: dict[str, object] = {
        hint.performance_mode(): hint.PerformanceMode.LATENCY,
        hint.inference_precision(): precision,
        ov_properties.num_streams(): num_streams,
        # Pinned threads of two processes end up on the same core.
        hint.enable_cpu_pinning(): False,
    }
    if num_threads is not None:
        options[ov_properties.inference_num_threads()] = num_threads * num_streams
    return options
