"""The cluster's own settings: ``spark-defaults.conf``, which Python does not see by itself.

Spark reads the file when it starts Java and lets everything that a program sets go before it. What
an administrator wrote there for a cluster must win over what suits a laptop, so it is read here.
"""

import os
import re
from pathlib import Path

DEFAULTS_NAME = "spark-defaults.conf"
_SETTING = re.compile(r"^\s*(spark\.[^\s=:]+)(?:\s*[=:]\s*|\s+)(.*?)\s*$")


def defaults_path() -> Path | None:
    """Where Spark looks for the file; None where nothing says."""
    folder = os.environ.get("SPARK_CONF_DIR")
    home = os.environ.get("SPARK_HOME")
    if folder:
        return Path(folder) / DEFAULTS_NAME
    return Path(home) / "conf" / DEFAULTS_NAME if home else None


def read_defaults(path: Path | None = None) -> dict[str, str]:
    """Settings of the file; empty where there is none."""
    path = path or defaults_path()
    if path is None or not path.is_file():
        return {}
    found = map(_SETTING.match, path.read_text(errors="replace").splitlines())
    return {match[1]: match[2] for match in found if match}
