"""Shows good parts to the model, writes the recipe that comes of it, and tries it on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
from pydantic import ValidationError

from edge_agent.adapters.detector import Loading, load_model
from edge_agent.adapters.folder_camera import SUFFIXES, read_picture
from edge_agent.errors import CameraFault, ConfigurationError, TransientError
from edge_agent.image_checks import brightness_of, check_picture, sharpness_of
from edge_agent.judgement import LabelMap, judge_view
from edge_agent.object_places import SeenBox
from edge_agent.ports import Image, LoadedModel
from edge_agent.teaching import Draft, Knowledge, Look, draft_recipe
from models.contract.messages import Verdict
from models.contract.recipe import Recipe, View, read_recipe
from models.contract.recipe_toml import to_toml
from models.detector.detections import Detections

HEAD = (
    "Drafted by `sightline-edge teach` from {count} pictures of good parts with the model {model}.",
    "Zones are pixels of the picture; the centre of an object's box must lie in its zone.",
    "An object that is not in its zone is missing: that is how a missing bolt or label is found.",
    "Without min_score, the model's own threshold for the category counts.",
    "Look at the overlay picture, edit, then: sightline-edge check-config --config edge.toml",
)
GREEN, ORANGE = (60, 200, 60), (0, 150, 255)


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """A picture and what was found in it."""

    name: str
    image: Image
    found: Detections


@dataclass(slots=True)
class Lesson:
    """What came of it."""

    recipe: Recipe
    out: Path
    num_pictures: int
    doubts: list[str]
    refused: dict[str, str] = field(default_factory=dict)
    """Pictures that the recipe does not pass, and why."""
    overlays: list[Path] = field(default_factory=list)

    @property
    def num_ok(self) -> int:
        """Pictures that the recipe passes."""
        return self.num_pictures - len(self.refused)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "recipe": str(self.out),
            "expected": {view.name: len(view.expected) for view in self.recipe.views},
            "forbidden": {view.name: len(view.forbidden) for view in self.recipe.views},
            "pictures": self.num_pictures,
            "ok": self.num_ok,
            "refused": self.refused,
            "doubts": self.doubts,
            "overlays": [str(path) for path in self.overlays],
        }


def give_lesson(
    folder: Path, *, bundle: Path, out: Path, recipe_id: str, part_type: str, deadline_ms: int
) -> Lesson:
    """Draft a recipe, write it with its overlay pictures, and judge the pictures by it.

    Args:
        folder: pictures of good parts; or a subfolder of them for each view.
        bundle: of the model.
        out: file for the recipe.
        recipe_id: its name.
        part_type: what it is for.
        deadline_ms: time for a verdict.

    Raises:
        ConfigurationError: there are no pictures, or they do not go together.
    """
    model = load_model(bundle, loading=Loading(num_threads=2))
    views = {
        name: [_sample(path, model) for path in paths] for name, paths in _views(folder).items()
    }
    looks = {name: [_look(sample, model) for sample in samples] for name, samples in views.items()}
    knowledge = Knowledge(model.manifest.categories, model.detector.thresholds)
    try:
        draft = draft_recipe(
            looks,
            knowledge,
            recipe_id=recipe_id,
            part_type=part_type,
            deadline_ms=deadline_ms,
        )
    except ValidationError as error:
        cause = error.errors()[0]["msg"]
        raise ConfigurationError(f"--recipe-id {recipe_id}: {cause}") from error
    except ValueError as error:
        raise ConfigurationError(f"{folder}: {error}") from error
    num_pictures = sum(map(len, views.values()))
    _write(out, draft, num_pictures, model)
    lesson = Lesson(read_recipe(out), out, num_pictures, draft.doubts)
    label_map = LabelMap(model.detector.categories, model.detector.thresholds)
    for view in lesson.recipe.views:
        samples = views[view.name]
        lesson.refused |= _refused(samples, lesson.recipe, view, label_map)
        suffix = "" if len(views) == 1 else f".{view.name}"
        path = out.with_name(f"{out.name}{suffix}.overlay.png")
        cv2.imwrite(str(path), _overlay(samples[0].image, view, looks[view.name]))
        lesson.overlays.append(path)
    model.detector.close()
    return lesson


def _views(folder: Path) -> dict[str, list[Path]]:
    """Picture files by view."""
    if not folder.is_dir():
        raise ConfigurationError(f"there is no folder {folder}")
    found = {"main": _pictures(folder)}
    if not found["main"]:
        below = sorted(path for path in folder.iterdir() if path.is_dir())
        found = {path.name: _pictures(path) for path in below}
    found = {name: paths for name, paths in found.items() if paths}
    if not found:
        raise ConfigurationError(f"there is no picture in {folder}")
    return found


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _sample(path: Path, model: LoadedModel) -> _Sample:
    try:
        image = read_picture(path, "teach")
    except (TransientError, CameraFault) as error:
        raise ConfigurationError(str(error).removeprefix("camera teach: ")) from error
    return _Sample(path.name, image, model.detector.infer(image))


def _look(sample: _Sample, model: LoadedModel) -> Look:
    mean_grey, saturated_ratio = brightness_of(sample.image)
    names, found = model.detector.categories, sample.found
    boxes = tuple(
        SeenBox(names[class_id], (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, score)
        for (x1, y1, x2, y2), score, class_id in zip(
            found.boxes.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True
        )
    )
    return Look(
        name=sample.name,
        size_px=(sample.image.shape[1], sample.image.shape[0]),
        mean_grey=mean_grey,
        saturated_ratio=saturated_ratio,
        sharpness=sharpness_of(sample.image),
        boxes=boxes,
    )


def _write(out: Path, draft: Draft, num_pictures: int, model: LoadedModel) -> None:
    title = f"{model.manifest.name} {model.ref.bundle_id}"
    head = tuple(line.format(count=num_pictures, model=title) for line in HEAD)
    doubts = tuple(f"To look at: {doubt}" for doubt in draft.doubts)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        text = to_toml(draft.recipe, head=(*head, *doubts), notes=draft.notes)
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{out} cannot be written: {error.strerror}") from error


def _refused(
    samples: Sequence[_Sample], recipe: Recipe, view: View, label_map: LabelMap
) -> Mapping[str, str]:
    refused, previous = {}, None
    for sample in samples:
        reason = check_picture(sample.image, recipe, previous)
        previous = sample.image
        verdict, reasons = judge_view([sample.found], view, recipe, label_map)
        if reason is not None or verdict is not Verdict.OK:
            texts = [one.text for one in ((reason,) if reason is not None else reasons)]
            refused[f"{view.name}/{sample.name}"] = "; ".join(texts)
    return refused


def _overlay(image: Image, view: View, looks: Sequence[Look]) -> Image:
    """The first picture with the zones, and where the objects were in all pictures."""
    shown = image.copy()
    wanted = {item.category for item in view.expected}
    for look in looks:
        for box in look.boxes:
            if box.category in wanted and box.score >= 0.3:
                cv2.circle(shown, (round(box.x), round(box.y)), 3, ORANGE, -1)
    for item in view.expected:
        if item.zone is None:
            continue
        left, top = round(item.zone.x), round(item.zone.y)
        corner = (round(item.zone.x + item.zone.width), round(item.zone.y + item.zone.height))
        cv2.rectangle(shown, (left, top), corner, GREEN, 2)
        many = f" x{item.count}" if item.count > 1 else ""
        at = (left + 3, top + 14)
        cv2.putText(shown, f"{item.name}{many}", at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, GREEN, 1)
    return shown
