"""TensorFlow workers as the tasks of one barrier stage: a rank is a partition.

Spark starts all ranks together or none, gives them a way to talk before TensorFlow can
(``allGather``), and ends them all when one dies.
"""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame

from models.training.cores import usable_cores
from models.training.listening import only_on

RESULT_SQL = "rank int, result string"
_RESULT_SCHEMA = pa.schema([("rank", pa.int32()), ("result", pa.string())])


@dataclass(frozen=True, slots=True)
class Rank:
    """A worker's place among its peers.

    Attributes:
        number: 0 is the chief, the only one that writes.
        count: of ranks.
        threads: cores that this rank may use.
        gather: gives every rank what each one sent, in rank order; all must call it.
    """

    number: int
    count: int
    threads: int
    gather: Callable[[str], list[str]]

    @property
    def is_chief(self) -> bool:
        """Whether this rank writes checkpoints and progress."""
        return self.number == 0

    def agree(self, text: str) -> str:
        """The chief's text, on every rank."""
        return self.gather(text)[0]


RankWork = Callable[[Rank, Any, Iterable[pa.RecordBatch]], str]
"""What a rank does: gets its place, its ``tf.distribute`` strategy and its rows; answers text."""


def run_ranks(rows: DataFrame, work: RankWork) -> list[str]:
    """Run one worker for each partition of ``rows``, all at the same time.

    Args:
        rows: as many partitions as there are ranks.
        work: pickled by reference where it is a function of this package.

    Returns:
        The answers in rank order.

    Raises:
        Exception: Spark's, when a rank failed or died.
    """

    def task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rank, strategy = join_peers()
        answer = work(rank, strategy, batches)
        yield pa.RecordBatch.from_pylist([{"rank": rank.number, "result": answer}], _RESULT_SCHEMA)

    answers = rows.mapInArrow(task, RESULT_SQL, barrier=True).toArrow().to_pylist()
    return [row["result"] for row in sorted(answers, key=lambda row: row["rank"])]


def join_peers() -> tuple[Rank, Any]:
    """Meet the other ranks and start TensorFlow's cluster with them."""
    from pyspark import BarrierTaskContext

    os.environ["TF_GRPC_REUSE_PORT"] = "true"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Importing takes 7-20 s; a port that was found free before it would be taken after it.
    import tensorflow as tf

    context = BarrierTaskContext.get()
    number = context.partitionId()
    host = context.getTaskInfos()[number].address.rsplit(":", 1)[0]
    with _reserved_port() as port:
        peers = context.allGather(json.dumps([f"{host}:{port}", socket.gethostname()]))
        addresses, machines = zip(*map(json.loads, peers), strict=True)
        threads = _threads(context.cpus(), machines.count(machines[number]))
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        # A collective waits in an inter-op thread; with a single one nothing else would run.
        tf.config.threading.set_inter_op_parallelism_threads(max(2, threads))
        if len(addresses) > 1:
            os.environ["TF_CONFIG"] = json.dumps(
                {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}}
            )
        else:
            os.environ.pop("TF_CONFIG", None)
        with only_on(host, port):
            strategy = tf.distribute.MultiWorkerMirroredStrategy(
                communication_options=tf.distribute.experimental.CommunicationOptions(
                    implementation=tf.distribute.experimental.CommunicationImplementation.RING
                )
            )
    return Rank(number, len(addresses), threads, context.allGather), strategy


@contextlib.contextmanager
def _reserved_port() -> Iterator[int]:
    """A port that is ours until TensorFlow has bound it too.

    The socket is bound with SO_REUSEPORT and never listens, so no connection goes astray.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("", 0))
        yield int(holder.getsockname()[1])


def _threads(task_cpus: int, neighbours: int) -> int:
    """Threads of a rank: what Spark was told that a task takes, else its share of the machine."""
    return task_cpus if task_cpus > 1 else max(1, usable_cores() // neighbours)
