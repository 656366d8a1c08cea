"""What Prometheus learns about an ingest process."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LAG_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3_600, 86_400)
"""A cell that was cut off sends what it kept: its records are as old as that."""


class IngestMetrics:
    """What Prometheus learns about one ingest process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ["stream"]
        self.taken = Counter(
            "sightline_ingest_taken", "Messages committed", labels, registry=registry
        )
        self.refused = Counter(
            "sightline_ingest_refused", "Messages that became dead letters", labels,
            registry=registry,
        )  # fmt: skip
        self.retries = Counter(
            "sightline_ingest_retries", "Batches that could not be committed", labels,
            registry=registry,
        )  # fmt: skip
        self.commit_s = Histogram(
            "sightline_ingest_commit_seconds", "Time to commit a batch", labels, registry=registry
        )
        self.lag_s = Histogram(
            "sightline_ingest_lag_seconds", "Age of a batch's oldest record when it was committed",
            buckets=LAG_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self.connected = Gauge(
            "sightline_ingest_connected", "Whether this stream has the broker", labels,
            registry=registry,
        )  # fmt: skip
        self.waiting = Gauge(
            "sightline_ingest_waiting", "Messages in memory, not yet committed", labels,
            registry=registry,
        )  # fmt: skip
