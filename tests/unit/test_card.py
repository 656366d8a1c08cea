"""The model card: whole, small, and without a request to anywhere."""

import re
from pathlib import Path

import numpy as np
import pytest

from models.contract.bundle import (
    BundleManifest,
    Category,
    CategoryKind,
    OperatingPoint,
    QuantizationAttempt,
    QuantizationRecord,
    RecallPair,
)
from models.detector.detections import Detections
from models.training.analysis import Judged, analyse
from models.training.answers import Found, Truth
from models.training.box_matching import match_boxes
from models.training.card import CARD_HTML, CARD_MARKDOWN, CardFacts, write_card
from models.training.card_facts import DataRow, SpeedRow
from models.training.card_pictures import (
    CROP_SIDE_PX,
    Example,
    MistakePicture,
    crop_window,
    mistake_figure,
)
from models.training.metrics import evaluate
from models.training.operating_point import Costs, curve_of

CATEGORIES = (Category(name="bolt", kind=CategoryKind.OBJECT), Category(name="scratch"))
NAMES = ("bolt", "scratch")
POINTS = {"bolt": 0.5, "scratch": 0.4}
MAX_CARD_BYTES = 1_500_000

MANIFEST = BundleManifest.model_validate(
    {
        "bundle_id": "0" * 16,
        "name": "plate",
        "created_at": "2026-11-22T12:00:00Z",
        "categories": CATEGORIES,
        "thresholds": POINTS,
        "files": {},
        "operating_point": OperatingPoint(
            escape_cost=10, false_reject_cost=1, chosen_on="validation", num_images=40
        ),
        "quantization": QuantizationRecord(
            shipped="int8",
            recipe="heads in float",
            max_map50_drop=0.005,
            max_recall_drop=0.01,
            int8_map50=0.951,
            float_map50=0.953,
            recall={"bolt": RecallPair(int8=0.98, float_model=0.985)},
            attempts=(
                QuantizationAttempt(recipe="post-training", faults=("mAP@0.5 0.90 against 0.95",)),
                QuantizationAttempt(recipe="heads in float"),
            ),
            precision_in_force="f32",
        ),
    }
)


def answered(count: int = 40) -> tuple[list[Truth], list[Found]]:
    """Pictures of noise with boxes, some of which are missed and some of which are not there."""
    rng = np.random.default_rng(7)
    truths, found = [], []
    for number in range(count):
        corner = rng.uniform(10, 300, (6, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(10, 90, (6, 2))], axis=1)
        names = tuple(rng.choice(NAMES, 6).tolist()) if number % 3 else ("bolt",) * 6
        truths.append(Truth(str(number), boxes[:4].astype(np.float32), names[:4]))
        scores = rng.uniform(0.1, 1, 5).astype(np.float32)
        found.append(Found(str(number), boxes[1:].astype(np.float32), scores, names[1:], 5.0))
    return truths, found


def facts(*, with_pictures: bool = True) -> CardFacts:
    truths, found = answered()
    analysis, mistakes = analyse(Judged(truths, found, CATEGORIES, POINTS))
    rng = np.random.default_rng(1)
    image = rng.integers(0, 255, (480, 640, 3)).astype(np.uint8)
    seen = Detections(truths[0].boxes, np.full(4, 0.9, np.float32), np.zeros(4, np.int64))
    matches = match_boxes(truths, found, NAMES)
    return CardFacts(
        evaluation=evaluate(truths, found, NAMES, POINTS),
        float_evaluation=evaluate(truths, found, NAMES, POINTS),
        analysis=analysis,
        curves={
            name: curve_of(matches[name], is_defect=name == "scratch", costs=Costs())
            for name in NAMES
        },
        judged_on="locked pictures",
        trained_on="80 pictures <of> & about plates",
        data=[DataRow("train", 80, {"bolt": 160, "scratch": 30})],
        speed=[SpeedRow("int8", 4.2, 6.1), SpeedRow("f32", 8.9, 12.0)],
        mistakes=[MistakePicture(own, image, truths[0].boxes, found[0].boxes) for own in mistakes]
        if with_pictures
        else (),
        examples=[Example(image, seen, "a plate")] * 6 if with_pictures else (),
    )


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card")
    write_card(folder, MANIFEST, facts())
    return folder


def test_card_asks_for_nothing_from_outside(card: Path) -> None:
    text = (card / CARD_HTML).read_text()
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!data:)", text)
    assert not re.search(r"url\(|@import|<script|<link|http", text)


def test_card_of_noise_which_does_not_compress_stays_small(card: Path) -> None:
    assert (card / CARD_HTML).stat().st_size < MAX_CARD_BYTES


def test_card_shows_all_mistakes_and_charts(card: Path) -> None:
    text = (card / CARD_HTML).read_text()
    assert text.count("<figure>") == 24 + 6
    # For both categories precision over recall and the threshold's curve; one reliability chart.
    assert text.count("<svg") == 5
    assert "80 pictures &lt;of&gt; &amp; about plates" in text
    assert "prefers-color-scheme: dark" in text


def test_markdown_holds_the_same_figures_as_tables(card: Path) -> None:
    text = (card / CARD_MARKDOWN).read_text()
    titles = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert titles == [
        "Overview",
        "INT8 against float",
        "Categories",
        "Operating points",
        "Object sizes",
        "Confusion",
        "Calibration of scores",
        "False alarms",
        "Speed",
        "Data",
        "Lineage",
    ]
    assert "| recall of bolt | 0.9800 | 0.9850 |" in text
    assert "post-training: mAP@0.5 0.90 against 0.95; heads in float: within the limits" in text
    assert "an escape costs 10, a false reject 1" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_card_tells_what_was_not_measured(tmp_path: Path) -> None:
    truths, found = answered(3)
    bare = CardFacts(evaluate(truths, found, NAMES, POINTS))
    write_card(tmp_path, MANIFEST.model_copy(update={"quantization": None}), bare)
    text = (tmp_path / CARD_MARKDOWN).read_text()
    assert "INT8 against float" not in text
    assert "| bolt | object |" in text


@pytest.mark.parametrize(
    ("box", "shape", "window"),
    [
        pytest.param((100, 100, 140, 120), (480, 640), (60, 50, 120), id="in the middle"),
        pytest.param((0, 0, 10, 10), (480, 640), (0, 0, 96), id="in a corner: the least size"),
        pytest.param((600, 440, 640, 480), (480, 640), (520, 360, 120), id="in the other corner"),
        pytest.param((0, 0, 300, 60), (80, 400), (0, 0, 400), id="larger than a low picture"),
    ],
)
def test_a_mistake_is_shown_with_its_surroundings(
    box: tuple[float, float, float, float], shape: tuple[int, int], window: tuple[int, int, int]
) -> None:
    assert crop_window(box, shape) == window


def test_a_crop_of_a_narrow_picture_is_no_larger_than_its_place() -> None:
    shown = facts().mistakes[0]
    narrow = MistakePicture(shown.mistake, shown.image[:, :50], shown.labels, shown.found)
    figure = mistake_figure(narrow)
    width = int(re.search(r'width="(\d+)"', figure).group(1))  # type: ignore[union-attr]
    assert 0 < width <= CROP_SIDE_PX
