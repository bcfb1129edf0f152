"""Finds the Java that Apache Spark runs on: an installed JDK 17 or newer."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from agent_roles_dagster.engines.errors import JavaNotFound

_OLDEST = 17
_ADVICE = (
    f"install a JDK {_OLDEST} or newer and set JAVA_HOME to its folder, or unset"
    " AGENT_ROLES_SPARK_MASTER to use Sail, which needs none. Nothing was changed in any table."
)


def java_home() -> Path:
    """The folder of the JDK that JAVA_HOME names, or else PATH.

    Raises:
        JavaNotFound: there is no JDK, or it is too old.
    """
    too_old = ""
    for home in _installed():
        version = _version(home)
        if version >= _OLDEST:
            return home
        if version:
            too_old = f" The one in {home} is of version {version}."
    raise JavaNotFound(f"Apache Spark needs a Java.{too_old} Please {_ADVICE}")


def _installed() -> Iterator[Path]:
    if named := os.environ.get("JAVA_HOME"):
        yield Path(named)
    if found := shutil.which("java"):
        yield Path(found).resolve().parents[1]


def _version(home: Path) -> int:
    """The JDK's version, such as 17; 0 if it does not say so, or is not there."""
    java = shutil.which("java", path=str(home / "bin"))
    if java is None:
        return 0
    try:
        said = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=60, check=False
        ).stderr
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found[1]) if found else 0
