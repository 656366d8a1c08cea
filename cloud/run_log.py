"""Where ended training runs are told of, beside our own database."""

from collections.abc import Sequence
from typing import Any, Protocol

from cloud.db.tables import TrainingRun


class RunLog(Protocol):
    """A service that keeps runs with their figures, for instance MLflow."""

    def tell(self, run: TrainingRun, history: Sequence[dict[str, Any]]) -> None:
        """Write down a run that has ended; telling it again changes nothing.

        Args:
            run: With its report and what the gates said.
            history: Progress lines with a step, oldest first.

        Raises:
            UnavailableError: the service cannot be reached or does not take it.
        """
        ...
