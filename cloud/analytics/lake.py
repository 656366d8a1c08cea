"""The lake: a folder or URL with a part for each day, whole or not there.

::

    days/2026-01-31.json                         which files hold the day, and what it was like
    results/day=2026-01-31/{fingerprint}.parquet
    pictures/day=2026-01-31/{fingerprint}.parquet

A day's file of `days` is written after its parts and names them, so whoever reads by it never sees
half a day. A day whose fingerprint is the same need not be written again.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import fsspec
import pyarrow as pa

from cloud.errors import ConfigurationError, UnavailableError

_REASON = pa.struct([("code", pa.string()), ("category", pa.string())])
_BOX = pa.struct(
    [
        ("category", pa.string()),
        ("score", pa.float64()),
        ("bbox", pa.list_(pa.float64())),
    ]
)
_MOMENT = pa.timestamp("us", tz="UTC")
RESULTS = pa.schema(
    [
        ("cell", pa.string()), ("boot_id", pa.string()), ("seq", pa.int64()),
        ("created_at", _MOMENT), ("received_at", _MOMENT), ("result_id", pa.string()),
        ("part_id", pa.string()), ("view", pa.string()), ("verdict", pa.string()),
        ("is_partial", pa.bool_()), ("reasons", pa.list_(_REASON)),
        ("detections", pa.list_(_BOX)), ("recipe_id", pa.string()),
        ("recipe_version", pa.int64()), ("release", pa.int64()), ("bundle_id", pa.string()),
        ("processing_ms", pa.float64()), ("hard_reasons", pa.list_(pa.string())),
        ("is_simulated", pa.bool_()),
    ]
)  # fmt: skip
PICTURES = pa.schema(
    [
        ("sha256", pa.string()), ("cell", pa.string()), ("created_at", _MOMENT),
        ("result_id", pa.string()), ("part_id", pa.string()),
        ("hard_reasons", pa.list_(pa.string())), ("status", pa.string()),
        ("verdict", pa.string()), ("is_bad", pa.bool_()),
    ]
)  # fmt: skip
SCHEMAS = {"results": RESULTS, "pictures": PICTURES}


@dataclass(frozen=True, slots=True)
class LakeDay:
    """A day that is there."""

    day: date
    fingerprint: str
    files: dict[str, str]
    """Of each table, below the lake's root."""
    rows: dict[str, int]


class Lake:
    """Reads and writes the days of a lake.

    Raises:
        ConfigurationError: fsspec does not know the URL.
    """

    def __init__(self, url: str) -> None:
        try:
            filesystem, root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ConfigurationError(f"lake {url}: {error}") from error
        self.filesystem: Any = filesystem
        self.root: str = root.rstrip("/")

    def days(self) -> dict[date, LakeDay]:
        """Every day that is there."""
        return {day.day: day for day in self._read_days()}

    def _read_days(self) -> Iterator[LakeDay]:
        folder = f"{self.root}/days"
        try:
            names = self.filesystem.ls(folder, detail=False)
        except FileNotFoundError:
            return
        for name in sorted(names):
            if name.endswith(".json"):
                content = json.loads(self.filesystem.cat_file(name))
                content["day"] = date.fromisoformat(content["day"])
                yield LakeDay(**content)

    def path(self, name: str) -> str:
        """Full path of a file of the lake."""
        return f"{self.root}/{name}"

    def open_part(self, name: str) -> Any:  # noqa: ANN401 - what fsspec opens
        """Open a part for writing.

        Raises:
            UnavailableError: it cannot be written.
        """
        path = self.path(name)
        try:
            self.filesystem.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            return self.filesystem.open(path, "wb")
        except OSError as error:
            raise UnavailableError(f"the lake cannot be written: {error}") from error

    def keep(self, day: LakeDay) -> None:
        """Make a day's parts the ones that count, and remove those of before."""
        name = self.path(f"days/{day.day}.json")
        self.filesystem.makedirs(self.path("days"), exist_ok=True)
        content = asdict(day) | {"day": str(day.day)}
        partial = f"{name}.partial"
        self.filesystem.pipe_file(partial, json.dumps(content, indent=1).encode())
        self.filesystem.mv(partial, name)
        for table, kept in day.files.items():
            for path in self.filesystem.ls(self.path(f"{table}/day={day.day}"), detail=False):
                if not path.endswith(kept.rsplit("/", 1)[-1]):
                    self.filesystem.rm_file(path)
