"""What ``sightline-train evaluate`` says of a bundle beyond its mean figures: report and card."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.contract.bundle import BundleManifest, Category
from models.detector.runtime import DetectorRuntime
from models.training.analysis import Analysis
from models.training.card import write_card
from models.training.card_facts import CardFacts
from models.training.card_pictures import Example
from models.training.evaluate import Judgement, PictureSet, figures_of, pictures_of
from models.training.mistakes import Mistake
from models.training.operating_point import Costs
from models.training.release_candidate import analysis_of, mistake_pictures
from models.training.speed import measure_speed

NUM_EXAMPLES = 6


@dataclass(frozen=True, slots=True)
class CloseLook:
    """All figures for the report, and what the card needs beside them."""

    figures: dict[str, Any]
    analysis: Analysis
    mistakes: Sequence[Mistake]


def look_closely(manifest: BundleManifest, pictures: PictureSet, judged: Judgement) -> CloseLook:
    """Analyse what a bundle has answered.

    Thresholds and costs are the bundle's own.
    """
    point = manifest.operating_point
    costs = (
        Costs(escape=point.escape_cost, false_reject=point.false_reject_cost) if point else Costs()
    )
    categories = _categories(manifest, pictures.categories)
    analysis, mistakes = analysis_of(judged, categories, manifest.thresholds, costs)
    figures: dict[str, Any] = figures_of(judged) | {
        "precision": manifest.precision,
        "thresholds": dict(manifest.thresholds),
        "costs": costs.model_dump(),
        "analysis": analysis.model_dump(mode="json"),
    }
    return CloseLook(figures, analysis, mistakes)


def write_evaluation_card(
    folder: Path,
    bundle: Path,
    pictures: PictureSet,
    judged: Judgement,
    look: CloseLook,
) -> None:
    """Write a card about a bundle on other pictures than those it was released with."""
    first = [truth.image_id for truth in judged.truths[:NUM_EXAMPLES]]
    images = tuple(pictures_of(pictures, first).values())
    with DetectorRuntime.load(bundle) as runtime:
        manifest = runtime.manifest
        examples = [Example(image, runtime.infer(image)) for image in images]
        speed = measure_speed({manifest.precision: runtime}, images, max_seconds=2.0)
    shown = mistake_pictures(pictures, judged, look.mistakes, manifest.thresholds)
    facts = CardFacts(
        evaluation=judged.evaluation,
        analysis=look.analysis,
        judged_on="labelled pictures",
        speed=speed,
        mistakes=shown,
        examples=examples,
    )
    write_card(folder, manifest, facts)


def _categories(manifest: BundleManifest, labelled: Sequence[str]) -> list[Category]:
    """The labels' categories, of the kinds that the bundle gives them."""
    known = {category.name: category for category in manifest.categories}
    return [known.get(name, Category(name=name)) for name in labelled]
