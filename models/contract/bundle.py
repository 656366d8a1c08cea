"""The model bundle: a folder that holds a detector and all that is needed to trust it.

Layout::

    manifest.json          this module's BundleManifest
    spec.json              models.detector.spec.DetectorSpec
    model.xml, model.bin   OpenVINO IR, preprocessing and NMS inside
    golden/*.png           pictures with known answers, checked before the model may judge parts
    card.md, card.html     what the model was trained on and how good it is
    float/…                float checkpoint for fine-tuning; stays in the cloud, never in an archive

The manifest lists the SHA-256 of every file but itself and ``float/``. The bundle's identity is a
hash over that list, so two bundles with the same identity have the same bytes.
"""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, ValidationError

from models.contract.model import ContractError, Frozen, first_fault

MANIFEST_NAME = "manifest.json"
SPEC_NAME = "spec.json"
MODEL_NAME = "model.xml"
FLOAT_FOLDER = "float"
FLOAT_WEIGHTS_NAME = "float/weights.weights.h5"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
BundleId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Ratio = Annotated[float, Field(ge=0.0, le=1.0)]


class CategoryKind(StrEnum):
    """Whether finding a category is wanted (an object) or not (a defect)."""

    OBJECT = "object"
    DEFECT = "defect"


class Category(Frozen):
    """One class of the label map; its place in the map is the class id."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.\-]{0,63}$")
    kind: CategoryKind = CategoryKind.DEFECT


class ModelRef(Frozen):
    """Which model decided, or is wanted.

    ``release`` only ever rises: a rollback is a new release of an older bundle. 0 stands for a
    bundle that was installed by hand and never released.
    """

    release: int = Field(ge=0)
    bundle_id: BundleId
    name: str = Field(min_length=1, max_length=64)


class GoldenDetection(Frozen):
    """One box that the released model found in a golden picture."""

    category: str
    bbox: tuple[float, float, float, float]
    """COCO order: x, y, width, height in pixels of the golden picture."""
    score: Ratio


class GoldenPicture(Frozen):
    """A picture with the answer that the model gave when it was released."""

    file: str
    detections: tuple[GoldenDetection, ...]


class CategoryMetrics(Frozen):
    """How well one category is found on the locked set; intervals are 95 %."""

    ap50: Ratio | None = None
    ap50_interval: tuple[Ratio, Ratio] | None = None
    recall: Ratio | None = None
    recall_interval: tuple[Ratio, Ratio] | None = None
    precision: Ratio | None = None
    num_boxes: int = Field(default=0, ge=0)


class BundleMetrics(Frozen):
    """Figures measured with the very INT8 file in the bundle."""

    map50: Ratio | None = None
    map50_interval: tuple[Ratio, Ratio] | None = None
    map: Ratio | None = None
    float_map50: Ratio | None = None
    num_images: int = Field(default=0, ge=0)
    split: str | None = None
    """Split of the snapshot that was judged on; ``val`` where there is no locked one."""
    per_category: dict[str, CategoryMetrics] = Field(default_factory=dict)


class RecallPair(Frozen):
    """A category's recall at its operating point before and after quantization."""

    int8: Ratio | None = None
    float_model: Ratio | None = None


class QuantizationAttempt(Frozen):
    """One recipe that was tried; ``faults`` says why it was not good enough."""

    recipe: str
    map50: Ratio | None = None
    seconds: float | None = None
    faults: tuple[str, ...] = ()


class QuantizationRecord(Frozen):
    """INT8 against its float parent on the same pictures, and what ships because of it.

    ``int8_map50`` and ``recall`` are those of the recipe that ships, else of the best that was
    tried.
    """

    shipped: Literal["int8", "f32"]
    recipe: str | None = None
    reason: str = ""
    max_map50_drop: Ratio
    max_recall_drop: Ratio
    int8_map50: Ratio | None = None
    float_map50: Ratio | None = None
    recall: dict[str, RecallPair] = Field(default_factory=dict)
    attempts: tuple[QuantizationAttempt, ...] = ()
    precision_in_force: str | None = None
    """What the compiled model says that its float layers run in."""


class OperatingPoint(Frozen):
    """What the thresholds were chosen by."""

    escape_cost: float = Field(gt=0)
    false_reject_cost: float = Field(gt=0)
    chosen_on: str
    """Which pictures, such as ``val``."""
    num_images: int = Field(ge=0)


class Lineage(Frozen):
    """Where the model comes from."""

    snapshot_id: str | None = None
    run_id: str | None = None
    init: str | None = None
    parent_bundle_id: BundleId | None = None
    code_version: str | None = None


class BundleManifest(Frozen):
    """Contents and identity of a bundle."""

    schema_version: str = Field(default="1.0", pattern=r"^1\.\d+$")
    bundle_id: BundleId
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9\-]{0,63}$")
    created_at: AwareDatetime
    categories: tuple[Category, ...] = Field(min_length=1)
    thresholds: dict[str, Ratio]
    """Operating point of each category: the lowest score that counts."""
    operating_point: OperatingPoint | None = None
    precision: str = "int8"
    quantization: QuantizationRecord | None = None
    files: dict[str, Sha256]
    golden: tuple[GoldenPicture, ...] = ()
    metrics: BundleMetrics = BundleMetrics()
    lineage: Lineage = Lineage()

    @property
    def category_names(self) -> tuple[str, ...]:
        """Names in class-id order."""
        return tuple(category.name for category in self.categories)


def bundle_id_of(files: Mapping[str, str]) -> str:
    """Identity of a bundle whose files have these SHA-256 sums."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path}\0{files[path]}\n".encode())
    return digest.hexdigest()[:16]


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that a manifest lists, by its path relative to the bundle."""
    sums = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or name == MANIFEST_NAME or name.startswith(f"{FLOAT_FOLDER}/"):
            continue
        with path.open("rb") as stream:
            sums[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return sums


def read_manifest(folder: Path) -> BundleManifest:
    """Read a bundle's manifest without checking its files.

    Raises:
        ContractError: there is no manifest or it is not one.
    """
    path = folder / MANIFEST_NAME
    try:
        return BundleManifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ContractError(
            f"{folder} is not a model bundle: it has no readable {MANIFEST_NAME}"
        ) from error
    except ValidationError as error:
        raise ContractError(f"{path}: {first_fault(error)}") from error


def verify_files(folder: Path, manifest: BundleManifest) -> None:
    """Check that a bundle holds exactly the bytes that its manifest promises.

    Raises:
        ContractError: a file is missing, surplus or changed, or the identity does not follow.
    """
    found = hash_files(folder)
    for name in sorted(manifest.files.keys() | found.keys()):
        if name not in found:
            raise ContractError(f"bundle {folder}: {name} is missing")
        if name not in manifest.files:
            raise ContractError(f"bundle {folder}: {name} is not in the manifest")
        if found[name] != manifest.files[name]:
            raise ContractError(f"bundle {folder}: {name} was changed after the manifest")
    if bundle_id_of(found) != manifest.bundle_id:
        raise ContractError(f"bundle {folder}: its bundle_id does not match its files")


def target_path(name: str, release: int) -> str:
    """Path of a release's archive in the TUF repository."""
    return f"{name}/r{release:06d}.tar"
