"""A person who labels pictures in the review queue, played by somebody who knows the truth.

It uses the public API only, works through the queue in the order in which the cloud offers it,
draws boxes with a slightly unsteady hand, and adds a category when it meets one that is new.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from simulators.cloud_client import CloudClient, CloudRefusedError, CloudUnreachableError, Json
from simulators.truth import TruePart, TruthBook

QUEUE_PAGE = 20
IDLE_S = 1.0
CONFLICT = 409
MIN_SIDE_PX = 2.0


@dataclass(frozen=True, slots=True)
class Hand:
    """How a person draws.

    Attributes:
        reviewer: Name that labels are signed with.
        seconds_per_label: Time for one picture.
        jitter_px: Standard deviation of each edge of a box.
    """

    reviewer: str = "oracle"
    seconds_per_label: float = 0.5
    jitter_px: float = 0.7


class Oracle:
    """Labels what waits for review until told to stop.

    Args:
        cloud: The API.
        truth: What each part is.
        defects: Categories that count as defects when they must be added.
        hand: How it draws.
        on_label: Told the part and its categories after each label.
        seed: Of the unsteadiness.
    """

    def __init__(
        self,
        cloud: CloudClient,
        truth: TruthBook,
        *,
        defects: Sequence[str] = (),
        hand: Hand | None = None,
        on_label: Callable[[str, Sequence[str]], None] = lambda _part, _categories: None,
        seed: int = 0,
    ) -> None:
        self._cloud = cloud
        self._truth = truth
        self._defects = frozenset(defects)
        self._hand = hand or Hand()
        self._on_label = on_label
        self._rng = np.random.default_rng(seed)
        self._categories: set[str] = set()
        self.rests = threading.Event()
        """Set while it takes a break, for instance to see what its labels were good for."""
        self.counts: Counter[str] = Counter()

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop; a cloud that is away is waited for."""
        while not stop.is_set():
            try:
                if self.rests.is_set() or self.work_through_page(stop) == 0:
                    stop.wait(IDLE_S)
            except CloudUnreachableError:
                stop.wait(IDLE_S)

    def work_through_page(self, stop: threading.Event) -> int:
        """Label the first pictures of the queue; how many got a decision.

        Raises:
            CloudUnreachableError: the cloud went away.
            CloudRefusedError: it does not let this reviewer work.
        """
        done = 0
        page = self._cloud.get("review", status="pending", limit=QUEUE_PAGE)
        for item in page["items"]:
            if stop.is_set() or self.rests.is_set():
                break
            done += self._decide(item)
            stop.wait(self._hand.seconds_per_label)
        return done

    def _decide(self, item: Json) -> int:
        truth = self._truth.get(str(item["part_id"]))
        decision: Json = {
            "decision": "labelled" if truth else "rejected",
            "annotations": self._boxes(item, truth) if truth else [],
            "reviewer": self._hand.reviewer,
            "revision": item["revision"],
        }
        try:
            self._cloud.put(f"review/{item['sha256']}", decision)
        except CloudRefusedError as error:
            if error.status != CONFLICT:
                raise
            return 0  # somebody else was quicker
        self.counts[decision["decision"]] += 1
        self._on_label(item["part_id"], [box["category"] for box in decision["annotations"]])
        return 1

    def _boxes(self, item: Json, truth: TruePart) -> list[Json]:
        limit = (float(item["width_px"]), float(item["height_px"]))
        boxes = []
        for category, bbox in truth.boxes:
            self._know(category)
            boxes.append({"category": category, "bbox": self._drawn(bbox, limit)})
        return boxes

    def _drawn(
        self, bbox: tuple[float, float, float, float], limit: tuple[float, float]
    ) -> list[float]:
        """The box as an unsteady hand draws it, inside the picture."""
        x, y, width, height = bbox
        edges = np.array([x, y, x + width, y + height])
        edges += self._rng.normal(0, self._hand.jitter_px, 4)
        left, top, right, bottom = np.clip(edges, 0, (*limit, *limit)).tolist()
        right, bottom = max(right, left + MIN_SIDE_PX), max(bottom, top + MIN_SIDE_PX)
        return [round(side, 2) for side in (left, top, right - left, bottom - top)]

    def _know(self, category: str) -> None:
        if not self._categories:
            self._categories = {item["name"] for item in self._listed()}
        if category not in self._categories:
            kind = "defect" if category in self._defects else "object"
            self._cloud.post("categories", {"name": category, "kind": kind})
            self._categories.add(category)

    def _listed(self) -> list[Json]:
        answer = self._cloud.get("categories")
        listed: list[Json] = answer["items"] if isinstance(answer, dict) else answer
        return listed
