"""What runs left about each locked picture, read once and kept while it is looked at."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cloud.comparison import Change, ComparedPicture, LabelDoubt, compare_picture, label_doubts
from cloud.db.session import Database
from cloud.db.tables import TrainingRun
from cloud.errors import NotFoundError
from models.contract.model import ContractError
from models.contract.picture_results import CANDIDATE, RESULTS_NAME, ResultsHead, read_results

MAX_KEPT = 4
MAX_DOUBTS = 200


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Both models of a run on every locked picture."""

    head: ResultsHead
    pictures: tuple[ComparedPicture, ...]
    doubts: tuple[LabelDoubt, ...]
    """The surest first."""

    def counts(self, category: str | None = None) -> dict[Change, int]:
        """Pictures by how the candidate does on them."""
        found = Counter(picture.change(category) for picture in self.pictures)
        return {change: found[change] for change in Change}

    def categories(self) -> list[str]:
        """Everything that is labelled or was found."""
        return sorted(set().union(*(picture.categories() for picture in self.pictures)))

    def select(
        self, *, change: Change | None = None, category: str | None = None
    ) -> Sequence[ComparedPicture]:
        """Pictures that the candidate does so on, those with most faults first."""
        chosen = [
            picture
            for picture in self.pictures
            if change is None or picture.change(category) is change
        ]
        if category is not None:
            chosen = [picture for picture in chosen if category in picture.categories()]
        return sorted(chosen, key=lambda picture: (-_weight(picture, category), picture.image_id))


def _weight(picture: ComparedPicture, category: str | None) -> int:
    running = picture.running.of(category).count if picture.running else 0
    return picture.candidate.of(category).count + running


class Comparisons:
    """Reads the files of runs.

    Args:
        database: Says where a run's folder is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: OrderedDict[tuple[str, int], RunComparison] = OrderedDict()
        self._lock = threading.Lock()

    def of_run(self, run_id: str) -> RunComparison:
        """What a run left.

        Raises:
            NotFoundError: there is no such run, or it did not get as far as to compare.
        """
        with self._database.read() as session:
            run = session.get(TrainingRun, run_id)
        if run is None:
            raise NotFoundError("training run", run_id)
        path = Path(run.directory) / RESULTS_NAME
        try:
            key = str(path), path.stat().st_mtime_ns
        except OSError as error:
            raise NotFoundError("comparison of training run", run_id) from error
        with self._lock:
            if key not in self._kept:
                try:
                    self._kept[key] = read_comparison(path)
                except ContractError as error:
                    raise NotFoundError("comparison of training run", run_id) from error
                while len(self._kept) > MAX_KEPT:
                    self._kept.popitem(last=False)
            return self._kept[key]


def read_comparison(path: Path) -> RunComparison:
    """Read a run's file and compare.

    Raises:
        ContractError: it is missing or broken.
    """
    head, results = read_results(path)
    thresholds = {role: model.thresholds for role, model in head.models.items()}
    pictures: list[ComparedPicture] = []
    doubts: list[LabelDoubt] = []
    for result in results:
        pictures.append(compare_picture(result, thresholds))
        doubts += label_doubts(result.image_id, result.labels, result.found.get(CANDIDATE, ()))
    doubts.sort(key=lambda doubt: -doubt.confidence)
    return RunComparison(head, tuple(pictures), tuple(doubts[:MAX_DOUBTS]))
