"""Rows of the driver as tasks of a size that is known, the same on every master."""

from collections.abc import Sequence

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn


def deal_rows(
    session: SparkSession, table: pa.Table, rows_per_task: int, parallelism: int
) -> DataFrame:
    """Deal rows out like cards to as many tasks as run at the same time, or a multiple of it."""
    rounds = max(1, round(len(table) / rows_per_task / parallelism))
    tasks = rounds * parallelism
    return number_rows(session, table, [place % tasks for place in range(len(table))], tasks)


def number_rows(
    session: SparkSession, table: pa.Table, numbers: Sequence[int], num_tasks: int
) -> DataFrame:
    """Send each row to the task of its number."""
    numbered = session.createDataFrame(table.append_column("task", pa.array(numbers, pa.int32())))
    return numbered.repartitionById(num_tasks, fn.col("task")).drop("task")
