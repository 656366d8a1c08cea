"""A rank's own pictures: held in memory, varied, matched to anchors and batched ahead of time."""

import queue
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.contract.snapshot import Split
from models.detector.anchors import anchor_boxes
from models.detector.boxes import Boxes, corners_of
from models.detector.detections import ClassIds
from models.detector.preprocess import Image
from models.detector.spec import DetectorSpec
from models.training.augment import AugmentSettings, augment_sample
from models.training.fit_settings import RunState
from models.training.matching import assign_targets
from models.training.paste import Paster
from models.training.pictures import decode
from models.training.schedule import Sampler, picture_weights

# A crop may enlarge the picture this much; more pixels than that are never seen.
MAX_ENLARGEMENT = 2.0
MAX_DECODED_BYTES = 1_500_000_000
BATCHES_AHEAD = 3
FEEDER_EXIT_WAIT_S = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A labelled picture of the snapshot, perhaps smaller than there.

    Attributes:
        pixels: decoded ``(H, W, 3)`` BGR, or still encoded where memory is short.
        boxes: ``(N, 4)`` corners in parts of the picture's size.
        size: width and height in the snapshot.
    """

    image_id: str
    pixels: Image | bytes
    boxes: Boxes
    class_ids: ClassIds
    size: tuple[int, int]

    def image(self) -> Image:
        """The picture, ``(H, W, 3)`` BGR."""
        if not isinstance(self.pixels, bytes):
            return self.pixels
        image = decode(self.pixels)
        if image is None:
            raise ValueError(f"picture {self.image_id} of the snapshot cannot be decoded")
        return image


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one step of one rank needs.

    Attributes:
        images: ``(B, H, W, 3)`` uint8.
        class_targets: ``(B, A)`` int32.
        box_targets: ``(B, A, 4)`` float32.
    """

    images: npt.NDArray[np.uint8]
    class_targets: npt.NDArray[np.int32]
    box_targets: npt.NDArray[np.float32]


def read_samples(
    batches: Iterable[pa.RecordBatch], spec: DetectorSpec
) -> dict[Split, list[Sample]]:
    """Take a partition's rows into memory, ordered by image_id in each split.

    Pictures are decoded and shrunk once, until `MAX_DECODED_BYTES` is used up; the rest stay
    encoded and are decoded each time they are shown.
    """
    samples: dict[Split, list[Sample]] = {split: [] for split in Split}
    room = MAX_DECODED_BYTES
    for batch in batches:
        for row in batch.to_pylist():
            sample = _sample(row, spec, decoded=room > 0)
            if not isinstance(sample.pixels, bytes):
                room -= sample.pixels.nbytes
            samples[Split(row["split"])].append(sample)
    for own in samples.values():
        own.sort(key=lambda sample: sample.image_id)
    return samples


def _sample(row: Mapping[str, Any], spec: DetectorSpec, *, decoded: bool) -> Sample:
    known = [box for box in row["annotations"] or () if box["category"] in spec.categories]
    corners = corners_of(
        np.array([[box["x"], box["y"], box["width"], box["height"]] for box in known])
    )
    size = (row["width"], row["height"])
    relative: Boxes = (corners / np.array([*size, *size])).astype(np.float32)
    class_ids = np.array([spec.categories.index(box["category"]) for box in known], np.int64)
    sample = Sample(row["image_id"], row["image"], relative, class_ids, size)
    if not decoded:
        return sample
    small = _shrunk(sample.image(), spec)
    return Sample(row["image_id"], small, relative, class_ids, size)


def _shrunk(image: Image, spec: DetectorSpec) -> Image:
    height, width = image.shape[:2]
    ratio = MAX_ENLARGEMENT * max(spec.input_width / width, spec.input_height / height)
    if ratio >= 1:
        return image
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


class BatchSource:
    """Makes the batch of any step; the same step gives the same batch.

    Args:
        samples: of this rank.
        sampler: says which of them a step shows.
        state: of the run.
        seed: of the variations.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        sampler: Sampler,
        state: RunState,
        seed: tuple[int, ...],
    ) -> None:
        self._samples = samples
        self._sampler = sampler
        self._state = state
        self._spec = state.train_spec
        self._augment = augment_settings(state)
        self._paster = Paster(samples, state)
        self._seed = seed
        self._anchors = anchor_boxes(self._spec)
        self.settling_from: int | None = None
        """Step from which pictures are hardly varied; None: not known yet."""

    def batch(self, step: int) -> Batch:
        """Pictures and targets of one step."""
        rows = [self._targets(*shown) for shown in self.shown(step)]
        images, classes, boxes = zip(*rows, strict=True)
        return Batch(np.stack(images), np.stack(classes), np.stack(boxes))

    def shown(self, step: int) -> list[tuple[Image, Boxes, ClassIds]]:
        """The pictures of one step with their boxes in pixels."""
        is_settled = self.settling_from is not None and step >= self.settling_from
        return [
            self.varied(int(place), (*self._seed, step, number), is_settled=is_settled)
            for number, place in enumerate(self._sampler.batch(step))
        ]

    def varied(
        self, place: int, seed: tuple[int, ...], *, is_settled: bool = False
    ) -> tuple[Image, Boxes, ClassIds]:
        """One picture as a step would show it, with its boxes in pixels."""
        sample = self._samples[place]
        image = sample.image()
        height, width = image.shape[:2]
        boxes = sample.boxes * np.array([width, height, width, height], np.float32)
        rng = np.random.default_rng(seed)
        image, boxes, class_ids = self._paster.paste(image, boxes, sample.class_ids, rng)
        settings = self._augment.settled() if is_settled else self._augment
        if self._state.is_windowed:
            whole = self._state.spec
            scale = (whole.input_width / width, whole.input_height / height)
            settings = replace(settings, window_scale=scale)
        return augment_sample(image, boxes, class_ids, rng, settings)

    def _targets(
        self, image: Image, boxes: Boxes, class_ids: ClassIds
    ) -> tuple[Image, npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        targets = assign_targets(boxes, class_ids, self._anchors, self._spec)
        return image, targets.class_ids, targets.box_codes


def batch_source(
    state: RunState, samples: Sequence[Sample], *, rank: int = 0, ranks: int = 1
) -> BatchSource:
    """The batches of one rank of a run."""
    names, settings = state.spec.categories, state.settings
    labels = [frozenset(names[class_id] for class_id in sample.class_ids) for sample in samples]
    weights = picture_weights(
        labels,
        new_categories=frozenset(state.new_categories),
        new_share=settings.new_share,
    )
    sampler = Sampler(weights, settings.batch // ranks, settings.seed * 1000 + rank)
    return BatchSource(samples, sampler, state, (settings.seed, rank))


def augment_settings(state: RunState) -> AugmentSettings:
    """How far this run varies its pictures."""
    spec, settings = state.train_spec, state.settings
    return AugmentSettings(
        output_size=(spec.input_width, spec.input_height),
        flip_horizontal=settings.flip_horizontal,
        flip_vertical=settings.flip_vertical,
        quarter_turns=settings.quarter_turns,
    )


class BatchFeeder:
    """Makes batches in a thread of its own while the network works on the ones before.

    At most `BATCHES_AHEAD` wait; then the thread does.
    """

    def __init__(self, source: BatchSource, first_step: int) -> None:
        self._source = source
        self._ready: queue.Queue[Batch | BaseException] = queue.Queue(BATCHES_AHEAD)
        self._is_over = threading.Event()
        self._thread = threading.Thread(
            target=self._work, args=(first_step,), name="batch-feeder", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        while not self._ready.empty():
            self._ready.get_nowait()
        self._thread.join(FEEDER_EXIT_WAIT_S)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            item = self._ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item

    def _work(self, step: int) -> None:
        while not self._is_over.is_set():
            item: Batch | BaseException
            try:
                item = self._source.batch(step)
            except Exception as error:  # noqa: BLE001 - raised again in the thread that reads
                item = error
            self._put(item)
            if isinstance(item, BaseException):
                return
            step += 1

    def _put(self, item: Batch | BaseException) -> None:
        while not self._is_over.is_set():
            try:
                self._ready.put(item, timeout=0.2)
            except queue.Full:
                continue
            return
