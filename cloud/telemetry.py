"""What Prometheus learns about the serving process and, through it, about the fleet."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from cloud.cell_models import is_online, reported_of
from cloud.db.session import Database
from cloud.db.tables import Cell, DeadLetter, ReviewStatus
from cloud.errors import UnavailableError
from cloud.statistics_queries import count_pictures


class ServeMetrics:
    """Requests as they happen; the fleet when it is asked."""

    def __init__(self, database: Database) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "sightline_http_requests", "Requests answered", ["method", "route", "status"],
            registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "sightline_http_seconds", "Time to answer a request", ["route"],
            registry=self.registry,
        )  # fmt: skip
        ProcessCollector(registry=self.registry)
        self.registry.register(_Fleet(database))


class _Fleet(Collector):
    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> list[Metric]:
        """Nothing: otherwise registering would already read the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the fleet; an absent database leaves these out rather than all metrics."""
        try:
            with self._database.read() as session:
                cells = session.scalars(select(Cell)).all()
                letters = session.scalar(select(func.count()).select_from(DeadLetter)) or 0
                pending = count_pictures(session)[ReviewStatus.PENDING]
        except UnavailableError:
            return
        online = GaugeMetricFamily("sightline_cell_online", "Agent is there", labels=["cell"])
        outbox = GaugeMetricFamily(
            "sightline_cell_outbox", "Rows that wait in a cell", labels=["cell", "stream"]
        )
        release = GaugeMetricFamily(
            "sightline_cell_release", "Release that a cell runs", labels=["cell"]
        )
        for cell in cells:
            online.add_metric([cell.cell], float(is_online(cell)))
            if (reported := reported_of(cell)) is not None:
                outbox.add_metric([cell.cell, "records"], reported.outbox_records)
                outbox.add_metric([cell.cell, "images"], reported.outbox_images)
                if reported.model is not None:
                    release.add_metric([cell.cell], reported.model.release)
        yield from (online, outbox, release)
        yield GaugeMetricFamily("sightline_dead_letters", "Messages set aside", value=letters)
        yield GaugeMetricFamily(
            "sightline_review_pending", "Pictures that wait for review", value=pending
        )
