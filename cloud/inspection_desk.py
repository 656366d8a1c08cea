"""Where requests for central inspection come in: how many at once, and answers given before."""

from collections.abc import Iterator
from contextlib import contextmanager

from cloud.central_inspection import CentralInspection
from cloud.errors import BusyError
from models.contract.idempotency import AnswerBook
from models.contract.inspection_answer import InspectionAnswer


class InspectionDesk:
    """Counts requests before their bodies are read; event loop only.

    Args:
        inspection: Judges the pictures.
        max_requests: More at once are sent away.
    """

    def __init__(self, inspection: CentralInspection, *, max_requests: int) -> None:
        self.inspection = inspection
        self.answers = AnswerBook[InspectionAnswer]()
        self._max_requests = max_requests
        self._num_requests = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among the requests in progress.

        Raises:
            BusyError: all are taken.
        """
        if self._num_requests >= self._max_requests:
            raise BusyError(f"{self._num_requests} pictures are being taken in: come again later")
        self._num_requests += 1
        try:
            yield
        finally:
            self._num_requests -= 1
