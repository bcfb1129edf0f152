"""The Java that Apache Spark gets, and what is said where there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent_roles_dagster.engines.errors import JavaNotFound
from agent_roles_dagster.engines.java import java_home
from tests.java import java_for_tests

_SPARK = """
import os
from contextlib import suppress

import psutil

from agent_roles_dagster.engines.start import spark_resource, started
from agent_roles_dagster.settings import Settings

settings = Settings.from_env()
with started(spark_resource(settings), settings) as engine:
    spark = engine.session
    print(spark.range(10).count(), spark.conf.get("spark.authenticate"))
    arguments = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            arguments.append(child.cmdline())
    assert "pyspark-shell" in arguments[0]
    assert "a-secret" not in repr(arguments), "other accounts see a process's arguments"
    print(spark.conf.get("spark.my.key"), spark.conf.get("spark.my.default"))
    listening = set()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # A worker may have ended by now.
            for each in child.net_connections(kind="inet"):
                if each.status == psutil.CONN_LISTEN:
                    listening.add(each.laddr.ip.removeprefix("::ffff:"))
    assert listening and listening <= {"127.0.0.1", "::1"}, listening
assert "PYSPARK_SUBMIT_ARGS" not in os.environ, "a process that this one starts makes its own"
"""


@pytest.fixture
def no_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs of PATH, all but Java, and no JAVA_HOME."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for folder in os.get_exec_path():
        for program in Path(folder).iterdir() if Path(folder).is_dir() else ():
            if program.name != "java" and not (programs / program.name).is_symlink():
                (programs / program.name).symlink_to(program)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.delenv("JAVA_HOME", raising=False)


def test_java_home_comes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = _java(tmp_path / "named", "17.0.9")
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert java_home() == home


@pytest.mark.skipif(shutil.which("java") is None, reason="needs an installed JDK")
def test_the_java_of_the_path_is_found_through_its_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert java_home() == Path(str(shutil.which("java"))).resolve().parents[1]


@pytest.mark.usefixtures("no_java")
@pytest.mark.parametrize("version", ["11.0.2", "1.8.0_402"])
def test_a_java_that_is_too_old_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(_java(tmp_path / "old", version)))
    with pytest.raises(JavaNotFound, match=r"old is of version (11|8)\. Please install a JDK 17"):
        java_home()


@pytest.mark.usefixtures("no_java")
def test_without_any_java_the_advice_is_a_jdk_or_sail() -> None:
    with pytest.raises(JavaNotFound) as refused:
        java_home()
    assert str(refused.value) == (
        "Apache Spark needs a Java. Please install a JDK 17 or newer and set JAVA_HOME to its"
        " folder, or unset AGENT_ROLES_SPARK_MASTER to use Sail, which needs none. Nothing was"
        " changed in any table."
    )


def test_apache_spark_says_nothing_and_keeps_its_settings_to_itself(tmp_path: Path) -> None:
    said = _run_spark(tmp_path, java_for_tests())
    said = said.removeprefix("WARNING: Using incubator modules: jdk.incubator.vector\n")
    assert said == "10 true\na-secret of spark-defaults.conf\n"


def test_a_java_that_does_not_run_ends_in_a_sentence_that_names_it(tmp_path: Path) -> None:
    home = _java(tmp_path / "of another machine", "17.0.9")
    assert f"JavaNotFound: The Java in {home} does not run Spark" in _run_spark(tmp_path, str(home))


def _java(home: Path, version: str) -> Path:
    """A folder with a Java that says its version, and does nothing else."""
    (home / "bin").mkdir(parents=True)
    java = home / "bin" / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\nexit 1\n")
    java.chmod(0o755)
    return home


def _run_spark(folder: Path, home: str) -> str:
    (folder / "spark-defaults.conf").write_text("spark.my.default of spark-defaults.conf\n")
    done = subprocess.run(
        [sys.executable, "-c", _SPARK],
        env={
            **os.environ,
            "AGENT_ROLES_HOME": str(folder),
            "AGENT_ROLES_SPARK_MASTER": "local[1]",
            "AGENT_ROLES_SPARK_CONF_my__key": "a-secret",
            "JAVA_HOME": home,
            "SPARK_CONF_DIR": str(folder),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout
