"""Figures over all history, counted by Spark from the lake: the same as the server gives.

Runs in the process of ``sightline-cloud analyze``; the web process never loads it. Executors read
the lake through fsspec, as training reads its snapshots, so that s3:// needs no Java library.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from cloud.analytics.lake import PICTURES, RESULTS, Lake, LakeDay
from cloud.errors import ConfigurationError, NotFoundError
from cloud.statistics import pareto_bars, wilson_rate
from cloud.tallies import BAD, GOOD, Look, look_of
from models.contract.messages import Verdict

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

FILES_A_TASK = 8
# Java reads a year as four digits.
EARLIEST, LATEST = date(1900, 1, 1), date(9000, 1, 1)
_RESULT_COLUMNS = (
    "cell", "boot_id", "seq", "created_at", "part_id", "verdict", "is_partial", "reasons",
)  # fmt: skip
_PICTURE_COLUMNS = ("hard_reasons", "status", "verdict", "is_bad")
_RESULT_TYPE = (
    "cell string, boot_id string, seq long, created_at timestamp, part_id string, verdict string,"
    " is_partial boolean, reasons array<struct<code: string, category: string>>"
)
_PICTURE_TYPE = "hard_reasons array<string>, status string, verdict string, is_bad boolean"


def analyze_lake(
    url: str,
    *,
    master: str,
    since: datetime | None = None,
    until: datetime | None = None,
) -> dict[str, Any]:
    """Verdicts, first-pass yield, Pareto, escapes and false rejects.

    Args:
        url: What `cloud.analytics.export` wrote.
        master: Of Spark.
        since: First day that counts; the first inspection of a part is looked for in all days.
        until: Day after the last.

    Raises:
        ConfigurationError: Spark is not installed, or fsspec does not know the URL.
        NotFoundError: there is no lake.
    """
    try:
        from models.training.spark_session import open_session  # noqa: PLC0415 - seconds of import
    except ImportError as error:
        raise ConfigurationError(
            "analyze needs Spark: pip install 'sightline[train]' and Java 17"
        ) from error
    days = list(Lake(url).days().values())
    if not days:
        raise NotFoundError("lake", url)
    with open_session(master, reuse_workers=True) as spark:
        spark.conf.set("spark.sql.session.timeZone", "UTC")
        return _Analysis(spark, url, days).figures(
            since.date() if since else EARLIEST, until.date() if until else LATEST
        )


class _Analysis:
    def __init__(self, spark: "SparkSession", url: str, days: list[LakeDay]) -> None:
        self._spark, self._url, self._days = spark, url, days

    def figures(self, since: date, until: date) -> dict[str, Any]:
        import pyspark.sql.functions as f  # noqa: PLC0415
        from pyspark.sql.window import Window  # noqa: PLC0415

        results = self._read("results", _RESULT_COLUMNS, _RESULT_TYPE)
        when = f.to_date(f.col("created_at"))
        inside = (when >= f.lit(since)) & (when < f.lit(until))
        verdicts = _counts(results.where(inside).groupBy("verdict").count())
        order = Window.partitionBy("cell", "part_id").orderBy("created_at", "boot_id", "seq")
        first = (
            results.where(~f.col("is_partial"))
            .withColumn("place", f.row_number().over(order))
            .where(f.col("place") == 1)
        )
        firsts = _counts(first.where(inside).groupBy("verdict").count())
        causes = (
            results.where(inside)
            .select(f.explode("reasons").alias("reason"))
            .groupBy("reason.code", "reason.category")
            .count()
        )
        pareto = pareto_bars(
            (row["code"], row["category"], row["count"]) for row in causes.collect()
        )
        return {
            "results": sum(verdicts.values()),
            "verdicts": dict.fromkeys(map(str, Verdict), 0) | verdicts,
            "first_pass": asdict(wilson_rate(firsts.get("ok", 0), sum(firsts.values()))),
            "pareto": [asdict(bar) for bar in pareto],
            **self._looks(since, until),
            "days": sum(since <= day.day < until for day in self._days),
        }

    def _looks(self, since: date, until: date) -> dict[str, Any]:
        pictures = self._read("pictures", _PICTURE_COLUMNS, _PICTURE_TYPE, since, until)
        labelled = pictures.where("status = 'labelled'")
        looks = {(look, kind): 0 for look in Look for kind in (BAD, GOOD)}
        counted = labelled.groupBy("verdict", "hard_reasons", "is_bad").count()
        for row in counted.collect():
            verdict = Verdict(row["verdict"]) if row["verdict"] else None
            look = look_of(verdict, row["hard_reasons"])
            if look is not None:
                looks[look, BAD if row["is_bad"] else GOOD] += row["count"]
        audits = looks[Look.AUDIT, BAD] + looks[Look.AUDIT, GOOD]
        rejects = looks[Look.REJECT, BAD] + looks[Look.REJECT, GOOD]
        return {
            "escapes": asdict(wilson_rate(looks[Look.AUDIT, BAD], audits)),
            "false_rejects": asdict(wilson_rate(looks[Look.REJECT, GOOD], rejects)),
        }

    def _read(
        self,
        table: str,
        columns: tuple[str, ...],
        schema: str,
        since: date = EARLIEST,
        until: date = LATEST,
    ) -> "DataFrame":
        files = [day.files[table] for day in self._days if since <= day.day < until]
        tasks = max(1, -(-len(files) // FILES_A_TASK))
        paths = self._spark.createDataFrame([(name,) for name in files], "name string")
        return paths.repartition(tasks).mapInArrow(_reader(self._url, columns), schema)


def _counts(frame: "DataFrame") -> dict[str, int]:
    return {row["verdict"]: int(row["count"]) for row in frame.collect()}


def _reader(url: str, columns: tuple[str, ...]) -> Any:  # noqa: ANN401 - what Spark ships
    def read(batches: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        import pyarrow.parquet as pq  # noqa: PLC0415 - on the executor

        lake = Lake(url)
        for batch in batches:
            for name in batch.column("name").to_pylist():
                with lake.filesystem.open(lake.path(name), "rb") as stream:
                    parts = pq.ParquetFile(stream).iter_batches(columns=list(columns))
                    for part in parts:
                        yield part.select(list(columns))

    return read


assert set(_RESULT_COLUMNS) <= set(RESULTS.names)  # noqa: S101 - a misspelt one fails at import
assert set(_PICTURE_COLUMNS) <= set(PICTURES.names)  # noqa: S101
