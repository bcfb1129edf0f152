"""Java: an installed one if it is good enough, else the wheel's, on which Spark really starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent_roles_dagster.java import JavaNotFound, java_home

SESSION = """
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
print(spark.range(10).count(), spark._jvm.System.getProperty("java.version"))
"""


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which no Java is installed."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for folder in ("/bin", "/usr/bin"):
        for tool in Path(folder).iterdir():
            if not tool.name.startswith("java") and not (tools / tool.name).exists():
                (tools / tool.name).symlink_to(tool)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.delenv("JAVA_HOME", raising=False)


def _fake_jdk(home: Path, release: str) -> Path:
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").touch(mode=0o755)
    (home / "release").write_text(release)
    return home


def test_spark_starts_on_the_wheels_java_where_none_is_installed(
    no_java: None, tmp_path: Path
) -> None:
    home = java_home(tmp_path / "a folder with 'quotes'")
    said = subprocess.run(
        [sys.executable, "-c", SESSION],
        env={**os.environ, "JAVA_HOME": str(home), "PYSPARK_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.split()[0] == "10", said.stderr[-2000:]
    assert said.stdout.split()[1].startswith("21.")


def test_an_installed_jdk_comes_first(no_java: None, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    jdk = _fake_jdk(
        tmp_path / "jdk", 'JAVA_VERSION="17.0.1"\nMODULES="java.base jdk.incubator.vector"\n'
    )
    monkeypatch.setenv("JAVA_HOME", str(jdk))
    assert java_home(tmp_path / "cache") == jdk


@pytest.mark.parametrize(
    "release",
    [
        'JAVA_VERSION="11.0.2"\nMODULES="java.base jdk.incubator.vector"\n',
        'JAVA_VERSION="21.0.2"\nMODULES="java.base java.sql"\n',
        "",
    ],
    ids=["too old", "trimmed", "broken"],
)
def test_an_installed_java_that_spark_cannot_use_is_passed_over(
    no_java: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(_fake_jdk(tmp_path / "jdk", release)))
    assert java_home(tmp_path / "cache").is_relative_to(tmp_path / "cache")


def test_without_any_java_a_sentence_says_what_to_install(
    no_java: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(JavaNotFound, match="install a JDK 17"):
        java_home(tmp_path)
