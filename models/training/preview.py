"""A contact sheet of what a fit would see: the trainer's own pictures, varied and with boxes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from models.contract.snapshot import DATA_FOLDER, Split
from models.detector.boxes import Boxes
from models.detector.detections import ClassIds
from models.detector.preprocess import Image
from models.training.errors import InputError
from models.training.fit import choose_rows
from models.training.fit_settings import RunState
from models.training.matching import IGNORED
from models.training.preparation import FitRequest, prepare
from models.training.snapshot_io import INDEX_COLUMNS, IndexRow, index_row, plain_url
from models.training.training_data import batch_source, read_samples

# More than enough for a sheet; a snapshot may have a hundred thousand.
MAX_PICTURES = 600
TILE_PX = 320
MIN_TILE_PX = 160
GAP_PX = 6
TITLE_PX = 26
FONT, TEXT_SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.45
WHITE, BLACK, GREY = (255, 255, 255), (0, 0, 0), (150, 150, 150)
JPEG_QUALITY = 92
GOLDEN_ANGLE = 137.5
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A contact sheet and what is on it.

    Attributes:
        image: ``(H, W, 3)`` BGR.
        boxes: drawn boxes of each category.
        num_cut: boxes that a window cut in two, which do not count in training.
    """

    image: Image
    boxes: dict[str, int]
    num_cut: int


def make_sheet(request: FitRequest, count: int) -> tuple[Sheet, RunState]:
    """Show the first pictures that a fit of this request would train on.

    A snapshot of more than `MAX_PICTURES` is represented by that many, evenly chosen.

    Args:
        request: as for a fit.
        count: of pictures.

    Raises:
        InputError: no such snapshot, or nothing to train on.
    """
    index = _read_index(request.snapshot_url)
    state = prepare(request, index)
    places = choose_rows(index, state.settings, 1)
    train = sorted(name for name, place in places.items() if place.split is Split.TRAIN)
    chosen = train[:: -(-len(train) // MAX_PICTURES)]
    batches = _read_rows(request.snapshot_url, chosen)
    source = batch_source(state, read_samples(batches, state.spec)[Split.TRAIN])
    shown: list[tuple[Image, Boxes, ClassIds]] = []
    while len(shown) < count:
        shown += source.shown(len(shown) // state.settings.batch)
    names = state.spec.categories
    numbers = np.concatenate([class_ids for _, _, class_ids in shown[:count]])
    boxes = {name: int((numbers == place).sum()) for place, name in enumerate(names)}
    image = draw_sheet(shown[:count], names, boxes)
    return Sheet(image, boxes, int((numbers == IGNORED).sum())), state


def write_sheet(sheet: Sheet, out: Path) -> None:
    """Write the sheet, as JPEG or PNG by its name.

    Raises:
        InputError: it cannot be written there.
    """
    try:
        is_written, data = cv2.imencode(
            out.suffix, sheet.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        )
    except cv2.error as error:
        raise InputError(f"--out {out}: name a .jpg or .png file") from error
    if not is_written:
        raise InputError(f"--out {out}: name a .jpg or .png file")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(data.tobytes())
    except OSError as error:
        raise InputError(f"--out {out}: {error.strerror}") from error


def draw_sheet(
    shown: Sequence[tuple[Image, Boxes, ClassIds]],
    names: Sequence[str],
    counts: dict[str, int],
) -> Image:
    """Lay pictures out in a grid with their boxes, under a line that tells the colours."""
    tiles = [_tile(image, boxes, class_ids) for image, boxes, class_ids in shown]
    height = max(tile.shape[0] for tile in tiles) + GAP_PX
    width = max(tile.shape[1] for tile in tiles) + GAP_PX
    columns = max(1, round((len(tiles) * height / width) ** 0.5))
    rows = -(-len(tiles) // columns)
    titles = list(_titles(names, counts, columns * width))
    top = TITLE_PX * (1 + max(row for row, _, _, _ in titles)) + GAP_PX
    sheet: Image = np.full((top + rows * height, columns * width + GAP_PX, 3), 40, np.uint8)
    for row, left, text, colour in titles:
        origin = (left, TITLE_PX * (row + 1) - 8)
        cv2.putText(sheet, text, origin, FONT, TEXT_SIZE, colour, 1, cv2.LINE_AA)
    for place, tile in enumerate(tiles):
        y = top + place // columns * height
        x = GAP_PX + place % columns * width
        sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return sheet


def _titles(
    names: Sequence[str], counts: dict[str, int], width: int
) -> Iterator[tuple[int, int, str, Colour]]:
    row, left = 0, GAP_PX
    texts = [(f"{name} {counts[name]}", _colour(place)) for place, name in enumerate(names)]
    for text, colour in [*texts, ("cut in two: does not count", GREY)]:
        (text_width, _), _ = cv2.getTextSize(text, FONT, TEXT_SIZE, 1)
        if left > GAP_PX and left + text_width > width:
            row, left = row + 1, GAP_PX
        yield row, left, text, colour
        left += text_width + 20


def _tile(image: Image, boxes: Boxes, class_ids: ClassIds) -> Image:
    scale = min(1.0, TILE_PX / max(image.shape[:2]))
    scale = max(scale, min(1.0, MIN_TILE_PX / min(image.shape[:2])))
    tile = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for box, class_id in zip(boxes, class_ids, strict=True):
        x1, y1, x2, y2 = (round(float(value) * scale) for value in box)
        colour = GREY if class_id == IGNORED else _colour(int(class_id))
        cv2.rectangle(tile, (x1, y1), (x2, y2), BLACK, 3)
        cv2.rectangle(tile, (x1, y1), (x2, y2), colour, 1)
    return np.asarray(tile, np.uint8)


def _colour(place: int) -> Colour:
    """Hues as far from one another as so many can be."""
    hue = round(place * GOLDEN_ANGLE) % 360 // 2
    pixel = cv2.cvtColor(np.array([[[hue, 190, 255]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    return int(pixel[0]), int(pixel[1]), int(pixel[2])


def _dataset(url: str, split: Split) -> ds.Dataset | None:
    filesystem, root = fsspec.core.url_to_fs(plain_url(url))
    folder = f"{root}/{DATA_FOLDER}/split={split.value}"
    if not filesystem.exists(folder):
        return None
    return ds.dataset(folder, filesystem=filesystem, format="parquet")


def _read_index(url: str) -> list[IndexRow]:
    found = []
    for split in Split:
        dataset = _dataset(url, split)
        if dataset is not None:
            rows = dataset.to_table(columns=list(INDEX_COLUMNS)).to_pylist()
            found += [index_row(row, split) for row in rows]
    return sorted(found, key=lambda row: row.image_id)


def _read_rows(url: str, image_ids: Sequence[str]) -> Iterator[Any]:
    """These training pictures, with the column that a fit's rows have."""
    dataset = _dataset(url, Split.TRAIN)
    if dataset is None:
        return
    wanted = ds.field("image_id").isin(list(image_ids))
    for batch in dataset.to_batches(filter=wanted, batch_size=16):
        if len(batch):
            yield batch.append_column("split", pa.array([Split.TRAIN.value] * len(batch)))
