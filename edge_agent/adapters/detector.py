"""Bundles as models that the inspection can run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import BrokenFrameError, ModelFault
from edge_agent.ports import Image, LoadedModel
from models.contract.bundle import ModelRef
from models.contract.model import ContractError
from models.detector import golden
from models.detector.detections import Detections
from models.detector.runtime import DetectorRuntime


@dataclass(frozen=True, slots=True)
class Loading:
    """How models are compiled on this machine."""

    num_threads: int = 1
    """Of one inference."""
    cache_dir: Path | None = None
    precision: str = "f32"
    num_requests: int = 1
    """Pictures that may be looked at at once."""


class BundleDetector:
    """A `DetectorRuntime` whose failures are the station's."""

    def __init__(self, runtime: DetectorRuntime) -> None:
        self.runtime = runtime
        self._categories = tuple(runtime.categories)
        self._thresholds = dict(runtime.thresholds)
        self._is_closed = False

    @property
    def categories(self) -> tuple[str, ...]:
        """Names in class-id order."""
        return self._categories

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Lowest score that counts, by category."""
        return self._thresholds

    def infer(self, image: Image) -> Detections:
        """Find objects and defects.

        Raises:
            BrokenFrameError: that is no picture.
            ModelFault: the model is unusable.
        """
        try:
            return self.runtime.infer(image)
        except ValueError as error:
            raise BrokenFrameError("model", str(error)) from error
        except RuntimeError as error:
            raise ModelFault(f"model: {str(error).strip().splitlines()[-1]}") from error

    def close(self) -> None:
        """Free the model; may be called twice."""
        if not self._is_closed:
            self._is_closed = True
            self.runtime.close()


def load_model(
    bundle_dir: Path,
    ref: ModelRef | None = None,
    *,
    loading: Loading,
    before_compiling: Callable[[], None] = lambda: None,
) -> LoadedModel:
    """Check a bundle and compile it.

    Args:
        bundle_dir: folder with a manifest.
        ref: which release this is; None: installed by hand, release 0.
        loading: threads, cache, precision.
        before_compiling: called when the files are checked and all cores will be busy.

    Raises:
        ModelFault: the bundle is damaged, or not the one that ``ref`` names.
    """
    if loading.cache_dir is not None:
        loading.cache_dir.mkdir(parents=True, exist_ok=True)
    try:
        runtime = DetectorRuntime.load(
            bundle_dir,
            num_threads=loading.num_threads,
            cache_dir=loading.cache_dir,
            precision=loading.precision,
            num_requests=loading.num_requests,
            before_compiling=before_compiling,
        )
    except ContractError as error:
        raise ModelFault(str(error)) from error
    manifest = runtime.manifest
    if ref is None:
        ref = ModelRef(release=0, bundle_id=manifest.bundle_id, name=manifest.name)
    if ref.bundle_id != manifest.bundle_id:
        raise ModelFault(f"{bundle_dir} holds bundle {manifest.bundle_id}, not {ref.bundle_id}")
    return LoadedModel(ref, manifest, BundleDetector(runtime), bundle_dir)


def check_golden(model: LoadedModel) -> None:
    """Let a model answer its own golden pictures; only before it judges parts.

    Raises:
        ModelFault: it does not answer as it did when it was released.
    """
    if not isinstance(model.detector, BundleDetector):
        return
    report = golden.check(model.detector.runtime, model.bundle_dir)
    if not report.passed:
        cause = report.faults[0] if report.faults else "it has no golden pictures"
        raise ModelFault(f"golden check of {model.ref.name} failed: {cause}")
