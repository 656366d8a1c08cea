"""Looking into a snapshot: which pictures it holds, what is on them, and figures about both."""

import statistics
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from cloud.errors import NotFoundError, UnavailableError
from cloud.snapshot_files import data_files, plain_url
from cloud.thumbnails import shrink
from models.contract.snapshot import Box, Split

MAX_INDEXES = 3
MAX_GROUPS = 4
"""Row groups kept in memory, some megabytes each: the pictures of a sheet lie side by side."""
MAX_SMALL = 1_000
INDEX_COLUMNS = ["image_id", "file_name", "part_id", "source", "width", "height", "annotations"]


@dataclass(frozen=True, slots=True)
class SnapshotPicture:
    """A picture of a snapshot, without its pixels.

    Attributes:
        place: File, row group, and row in it.
    """

    image_id: str
    part_id: str
    source: str
    split: Split
    width: int
    height: int
    boxes: tuple[Box, ...]
    place: tuple[str, int, int]
    suffix: str = "jpg"


@dataclass(frozen=True, slots=True)
class CategoryFigures:
    """One category in a snapshot.

    Attributes:
        num_boxes: By split.
        num_pictures: That show it.
        side_px: 10 %, 50 % and 90 % of its boxes are no larger, as the root of their area.
    """

    category: str
    num_boxes: dict[Split, int]
    num_pictures: int
    side_px: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class SnapshotFigures:
    """What a snapshot is made of."""

    num_pictures: dict[Split, int]
    num_parts: dict[Split, int]
    num_empty: dict[Split, int]
    """Pictures in which nothing is labelled."""
    sizes: dict[str, int]
    """Pictures by width x height."""
    sources: dict[str, int]
    categories: tuple[CategoryFigures, ...]


class SnapshotPictures:
    """Reads snapshots' pictures; what was read last is kept, since a snapshot never changes."""

    def __init__(self) -> None:
        self._indexes: OrderedDict[str, dict[str, SnapshotPicture]] = OrderedDict()
        self._groups: OrderedDict[tuple[str, str, int], list[bytes]] = OrderedDict()
        self._small: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def index(self, url: str) -> dict[str, SnapshotPicture]:
        """Every picture of a snapshot by its image_id.

        Raises:
            UnavailableError: its files cannot be read.
        """
        with self._lock:
            if url not in self._indexes:
                self._indexes[url] = {picture.image_id: picture for picture in _read_index(url)}
                _forget(self._indexes, MAX_INDEXES)
            return self._indexes[url]

    def find(self, url: str, image_id: str) -> SnapshotPicture:
        """One picture.

        Raises:
            NotFoundError: the snapshot does not hold it.
            UnavailableError: its files cannot be read.
        """
        found = self.index(url).get(image_id)
        if found is None:
            raise NotFoundError("picture", image_id)
        return found

    def content(self, url: str, image_id: str) -> bytes:
        """The encoded picture.

        Raises:
            NotFoundError: the snapshot does not hold it.
            UnavailableError: its files cannot be read.
        """
        file, group, row = self.find(url, image_id).place
        key = url, file, group
        with self._lock:
            if key not in self._groups:
                self._groups[key] = _read_group(url, file, group)
                _forget(self._groups, MAX_GROUPS)
            return self._groups[key][row]

    def small(self, url: str, image_id: str) -> bytes:
        """A small JPEG of it.

        Raises:
            NotFoundError: the snapshot does not hold it.
            UnavailableError: its files cannot be read.
        """
        key = url, image_id
        known = self._small.get(key)
        if known is None:
            known = shrink(self.content(url, image_id))
            with self._lock:
                self._small[key] = known
                _forget(self._small, MAX_SMALL)
        return known


def figures_of(pictures: Iterable[SnapshotPicture]) -> SnapshotFigures:
    """Count what a snapshot is made of."""
    pictures = list(pictures)
    names = sorted({box[0] for picture in pictures for box in picture.boxes})
    return SnapshotFigures(
        num_pictures=_by_split(Counter(picture.split for picture in pictures)),
        num_parts=_by_split(
            Counter(split for split, _ in {(one.split, one.part_id) for one in pictures})
        ),
        num_empty=_by_split(Counter(one.split for one in pictures if not one.boxes)),
        sizes=dict(Counter(f"{one.width} x {one.height}" for one in pictures).most_common()),
        sources=dict(Counter(one.source or "import" for one in pictures).most_common()),
        categories=tuple(_category_figures(name, pictures) for name in names),
    )


def _category_figures(name: str, pictures: Sequence[SnapshotPicture]) -> CategoryFigures:
    counts: Counter[Split] = Counter()
    sides: list[float] = []
    num_pictures = 0
    for picture in pictures:
        found = [box for box in picture.boxes if box[0] == name]
        counts[picture.split] += len(found)
        num_pictures += bool(found)
        sides += [(box[3] * box[4]) ** 0.5 for box in found]
    return CategoryFigures(name, _by_split(counts), num_pictures, _tenths(sides))


def _tenths(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return (round(values[0], 1),) * 3
    cuts = statistics.quantiles(values, n=10, method="inclusive")
    return round(cuts[0], 1), round(cuts[4], 1), round(cuts[8], 1)


def _by_split(counts: Counter[Split]) -> dict[Split, int]:
    return {split: counts[split] for split in Split}


def _forget(kept: "OrderedDict[str, object] | OrderedDict", most: int) -> None:  # type: ignore[type-arg]
    while len(kept) > most:
        kept.popitem(last=False)


def _read_index(url: str) -> list[SnapshotPicture]:
    found = []
    try:
        filesystem, root = fsspec.core.url_to_fs(plain_url(url))
        for split, file in data_files(filesystem, root):
            with filesystem.open(f"{root}/{file}", "rb") as stream:
                parquet = pq.ParquetFile(stream)
                for group in range(parquet.num_row_groups):
                    rows = parquet.read_row_group(group, columns=INDEX_COLUMNS).to_pylist()
                    found += [
                        _picture(row, split, (file, group, number))
                        for number, row in enumerate(rows)
                    ]
    except (OSError, pa.ArrowException) as error:
        raise UnavailableError("the snapshot's files cannot be read") from error
    return found


def _picture(row: dict[str, object], split: Split, place: tuple[str, int, int]) -> SnapshotPicture:
    boxes: list[dict[str, float]] = row["annotations"] or []  # type: ignore[assignment]
    return SnapshotPicture(
        image_id=str(row["image_id"]),
        part_id=str(row["part_id"]),
        source=str(row["source"] or ""),
        split=split,
        width=int(str(row["width"])),
        height=int(str(row["height"])),
        boxes=tuple(
            (
                str(box["category"]),
                *(round(box[side], 2) for side in ("x", "y", "width", "height")),
            )  # type: ignore[misc]
            for box in boxes
        ),
        place=place,
        suffix="png" if str(row["file_name"]).lower().endswith(".png") else "jpg",
    )


def _read_group(url: str, file: str, group: int) -> list[bytes]:
    try:
        filesystem, root = fsspec.core.url_to_fs(plain_url(url))
        with filesystem.open(f"{root}/{file}", "rb") as stream:
            column = pq.ParquetFile(stream).read_row_group(group, columns=["image"])
    except (OSError, pa.ArrowException) as error:
        raise UnavailableError("the snapshot's files cannot be read") from error
    return [bytes(value or b"") for value in column["image"].to_pylist()]
