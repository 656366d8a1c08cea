"""Figures of the running agent for Prometheus, and the log's format."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info

from models.contract.bundle import ModelRef
from models.contract.messages import StationState, Verdict

VERDICT_BUCKETS_S = (
    *(0.003, 0.004, 0.005, 0.006, 0.008, 0.01, 0.0125, 0.015, 0.02, 0.03, 0.05),
    *(0.075, 0.1, 0.2, 0.5, 1.0, 2.0),
)
PLAIN_LOG = "%(asctime)s %(levelname)-7s %(threadName)s %(name)s: %(message)s%(facts)s"
_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {
    *("message", "asctime", "facts"),
    "color_message",  # uvicorn says everything twice
}


class Telemetry:
    """The agent's metrics in a registry of their own; HTTP serves ``registry``."""

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        self._triggers = Counter(
            "sightline_triggers",
            "Triggers by answer: accepted, repeated, or why not.",
            ["answer"],
            registry=own,
        )
        self._verdicts = Counter("sightline_verdicts", "Verdicts.", ["verdict"], registry=own)
        self._verdict_s = Histogram(
            "sightline_trigger_to_verdict_seconds",
            "From the trigger's arrival to the verdict.",
            buckets=VERDICT_BUCKETS_S,
            registry=own,
        )
        self._inference_s = Histogram(
            "sightline_inference_seconds",
            "The model alone.",
            buckets=VERDICT_BUCKETS_S,
            registry=own,
        )
        self._late = Counter(
            "sightline_deadlines_missed", "Parts not judged in time.", registry=own
        )
        self._unkept = Counter(
            "sightline_verdicts_before_disk",
            "Verdicts that the deadline did not let wait for the disk.",
            registry=own,
        )
        self._state = Enum(
            "sightline_station_state",
            "State of OPC 40100-1.",
            states=[str(state) for state in StationState],
            registry=own,
        )
        self._model = Info("sightline_model", "The model that judges.", registry=own)
        for verdict in Verdict:
            self._verdicts.labels(verdict.value)

    def count_trigger(self, answer: str) -> None:
        """A trigger was answered: ``accepted``, ``repeated`` or the rejection's name."""
        self._triggers.labels(answer).inc()

    def count_verdict(self, verdict: Verdict, *, processing_ms: float) -> None:
        """The PLC was told a verdict."""
        self._verdicts.labels(verdict.value).inc()
        self._verdict_s.observe(processing_ms / 1000)

    def count_inference(self, inference_ms: float) -> None:
        """The model looked at the pictures of one view."""
        self._inference_s.observe(inference_ms / 1000)

    def count_late(self) -> None:
        """A part was answered NOT_DECIDABLE because time ran out."""
        self._late.inc()

    def count_unkept(self) -> None:
        """A verdict went out before the disk had its intent."""
        self._unkept.inc()

    def show_state(self, state: StationState) -> None:
        """The station changed its state."""
        self._state.state(str(state))

    def show_model(self, ref: ModelRef) -> None:
        """Another model judges."""
        self._model.info(
            {"name": ref.name, "bundle_id": ref.bundle_id, "release": str(ref.release)}
        )

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Show a number that is read whenever somebody asks."""
        Gauge(name, text, registry=self.registry).set_function(read)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the facts given in ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "thread": record.threadName,
            "message": record.getMessage(),
        } | _facts(record)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class PlainFormatter(logging.Formatter):
    """One line for a person, with the facts given in ``extra`` behind it."""

    def __init__(self) -> None:
        super().__init__(PLAIN_LOG)

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        record.facts = "".join(f" {name}={value}" for name, value in _facts(record).items())
        return super().format(record)


def start_logging(*, level: str, as_json: bool) -> None:
    """Send the log to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if as_json else PlainFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def _facts(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _OWN_FIELDS}
