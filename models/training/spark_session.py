"""A Spark session that behaves on a laptop and on a cluster; only the master differs."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

import models
from models.training.cores import usable_cores
from models.training.errors import InputError, RunFailedError
from models.training.java import find_java
from models.training.spark_defaults import read_defaults

LOOPBACK = "127.0.0.1"
LOOPBACK_HOSTS = ("localhost", LOOPBACK, "[::1]")
# Rows carry whole pictures, so a batch of Spark's default 10,000 rows would be gigabytes.
ROWS_PER_BATCH = 16
BATCH_SETTING = "spark.sql.execution.arrow.maxRecordsPerBatch"
SLOT_WAIT_S = 30.0
JVM_EXIT_WAIT_S = 15.0
SLOT_POLL_S = 0.2

# Java's optimising compiler and parallel collector cost 13 s of CPU before they gain anything: on a
# laptop the work is done in Python and in native code.
LOCAL_JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

LOG_SETTINGS = """\
rootLogger.level = error
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n%ex
"""


@contextlib.contextmanager
def open_session(
    master: str, *, min_slots: int = 1, log: Path | None = None, reuse_workers: bool = False
) -> Iterator[SparkSession]:
    """Start Spark, lend the session, and leave no process behind however the block ends.

    What Spark, its workers and TensorFlow write to the error stream goes to ``log``.

    Args:
        master: ``local[N]``, ``spark://…``, ``yarn`` or ``k8s://…``.
        min_slots: tasks that must be able to run at the same time.
        log: file for the noise; None throws it away.
        reuse_workers: keep Python workers from task to task; never where TensorFlow runs in them.

    Raises:
        InputError: no Java, no such master, or fewer slots than asked for.
    """
    os.environ["JAVA_HOME"] = str(find_java())
    defaults = read_defaults()
    os.environ.setdefault("PYSPARK_PYTHON", defaults.get("spark.pyspark.python", sys.executable))
    os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    _bypass_proxies()
    _check_local_slots(master, min_slots)
    with tempfile.TemporaryDirectory(prefix="sightline-spark-") as folder:
        with error_stream_to(log):
            session = _start(master, Path(folder), defaults, reuse_workers=reuse_workers)
        try:
            wait_for_slots(session, min_slots)
            yield session
        finally:
            _stop(session)


def is_local(master: str) -> bool:
    """Whether the driver runs the tasks itself."""
    return master == "local" or master.startswith("local[")


def local_slots(master: str) -> int:
    """Tasks that a local master runs at the same time.

    Raises:
        InputError: not of the form ``local[N]``.
    """
    if master == "local":
        return 1
    found = re.fullmatch(r"local\[(\*|\d+)(?:,\s*\d+)?\]", master)
    if not found:
        raise InputError(f"{master!r} is not a master: use local[N], local[*], spark://host:7077 …")
    return usable_cores() if found.group(1) == "*" else max(1, int(found.group(1)))


def wait_for_slots(session: SparkSession, min_slots: int) -> int:
    """Wait until the executors offer enough slots; barrier mode would retry for ten minutes.

    Raises:
        InputError: they do not.
    """
    give_up = time.monotonic() + SLOT_WAIT_S
    while True:
        slots = total_slots(session)
        if slots >= min_slots:
            return slots
        if time.monotonic() > give_up:
            raise InputError(
                f"Spark offers {slots} slots and {min_slots} workers were asked for: "
                "give the cluster more cores or ask for fewer --workers"
            )
        time.sleep(SLOT_POLL_S)


def total_slots(session: SparkSession) -> int:
    """Tasks that can run at the same time now."""
    context = session.sparkContext._jsc.sc()  # noqa: SLF001 - not offered to Python
    profile = context.resourceProfileManager().defaultResourceProfile()
    return int(context.maxNumConcurrentTasks(profile))


def _check_local_slots(master: str, min_slots: int) -> None:
    if is_local(master) and local_slots(master) < min_slots:
        raise InputError(
            f"--master {master} has {local_slots(master)} slots and --workers asks for "
            f"{min_slots}: use --master local[{min_slots}] or fewer workers"
        )


def _bypass_proxies() -> None:
    # TensorFlow's gRPC honours http_proxy even for the loopback address.
    for name in ("no_proxy", "NO_PROXY"):
        kept = [host for host in os.environ.get(name, "").split(",") if host]
        os.environ[name] = ",".join(dict.fromkeys([*kept, "localhost", LOOPBACK]))


def _start(
    master: str, folder: Path, defaults: Mapping[str, str], *, reuse_workers: bool
) -> SparkSession:
    conf = _configuration(master, folder, defaults)
    # A worker that ran TensorFlow in one job hangs in the next.
    conf.set("spark.python.worker.reuse", str(reuse_workers).lower())
    try:
        session = SparkSession.builder.config(conf=conf).getOrCreate()
    except Exception as error:
        # py4j and the launcher raise a dozen types here; all mean that there is no Spark.
        _close_gateway()
        raise RunFailedError(f"Spark did not start on {master}: {_last_line(error)}") from error
    if not is_local(master):
        session.sparkContext.addPyFile(str(_package_archive(folder)))
    return session


def _configuration(master: str, folder: Path, defaults: Mapping[str, str]) -> SparkConf:
    log_file = folder / "log4j2.properties"
    log_file.write_text(LOG_SETTINGS)
    settings = {
        "spark.app.name": "sightline-train",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.dynamicAllocation.enabled": "false",
        "spark.driver.memory": "2g",
        "spark.driver.maxResultSize": "1g",
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile=file:{log_file}",
        BATCH_SETTING: str(ROWS_PER_BATCH),
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.sql.shuffle.partitions": "8",
        # Pictures do not compress and rows carry them through shuffles.
        "spark.sql.adaptive.enabled": "false",
        "spark.executorEnv.no_proxy": os.environ["no_proxy"],
        "spark.executorEnv.TF_CPP_MIN_LOG_LEVEL": "3",
    }
    if is_local(master) or _is_on_loopback(master):
        settings |= {"spark.driver.host": LOOPBACK, "spark.driver.bindAddress": LOOPBACK}
    if is_local(master):
        settings["spark.executorEnv.PYTHONPATH"] = str(_package_root())
        settings["spark.local.dir"] = str(folder)
        settings["spark.driver.extraJavaOptions"] += f" {LOCAL_JAVA_OPTIONS}"
    conf = SparkConf().setMaster(master)
    for name, value in settings.items():
        # What spark-defaults.conf or the submitter says for a cluster wins.
        if not conf.contains(name) and name not in defaults:
            conf.set(name, value)
    return conf


def _is_on_loopback(master: str) -> bool:
    host = re.sub(r"^\w+://", "", master).rsplit(":", 1)[0]
    return host in LOOPBACK_HOSTS


def _package_root() -> Path:
    return Path(next(iter(models.__path__))).resolve().parent


def _package_archive(folder: Path) -> Path:
    """This code as a zip, so that the executors of a cluster run the same version."""
    archive = folder / "sightline-code.zip"
    root = _package_root()
    with zipfile.ZipFile(archive, "w") as out:
        for path in sorted((root / "models").rglob("*.py")):
            out.write(path, path.relative_to(root).as_posix())
    return archive


@contextlib.contextmanager
def error_stream_to(log: Path | None) -> Iterator[None]:
    """Send the error stream of this process, and of those it starts, elsewhere in the block."""
    sys.stderr.flush()
    saved = os.dup(2)
    target = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.dup2(target, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(target)
        os.close(saved)


def end_java() -> None:
    """End Spark from a signal handler, whatever the main thread waits for.

    Java's own shutdown stops the jobs and signs off from the cluster; every call that the main
    thread has under way then fails. Calling Spark itself from here would not do: its connection
    may be in the middle of another call.
    """
    gateway = SparkContext._gateway  # noqa: SLF001 - pyspark has no public way
    if gateway is not None and gateway.proc.poll() is None:
        gateway.proc.terminate()


def _stop(session: SparkSession) -> None:
    # Java may be gone by now, which is all that is wanted.
    with contextlib.suppress(Exception):
        session.stop()
    _close_gateway()


def _close_gateway() -> None:
    """End the Java process; Spark would keep it for the next session of this process."""
    gateway = SparkContext._gateway  # noqa: SLF001 - pyspark has no public way
    if gateway is None:
        return
    process: subprocess.Popen[bytes] = gateway.proc
    with contextlib.suppress(Exception):
        gateway.shutdown()
    if process.stdin:
        # The launcher's Java ends when its standard input does.
        process.stdin.close()
    try:
        process.wait(JVM_EXIT_WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    SparkContext._gateway = None  # noqa: SLF001
    SparkContext._jvm = None  # noqa: SLF001


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
