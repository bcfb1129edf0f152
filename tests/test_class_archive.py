import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent_roles_dagster.java import class_archive, java_home
from tests.conftest import Pipeline
from tests.processes import killed_at_the_end, start
from tests.worlds import write_day


def test_a_run_takes_its_classes_from_the_archive(
    class_archive_home: Path, pipeline: Pipeline, tmp_path: Path
) -> None:
    if not class_archive(java_home(class_archive_home), class_archive_home).exists():
        pytest.skip("with this machine's Java no archive of classes can be made")
    write_day(pipeline.landing, "day1", seed=1)
    classes, log = tmp_path / "classes", tmp_path / "log"
    env = {
        "AGENT_ROLES_HOME": str(class_archive_home),
        "AGENT_ROLES_SPARK_CONF_driver__extraJavaOptions": f"-Xlog:class+load:file={classes}",
    }
    process = start("day1", env, log)
    with killed_at_the_end(process):
        assert process.wait(300) == 0, log.read_text()[-3000:]
    spark = [line for line in classes.read_text().splitlines() if " org.apache.spark." in line]
    archived = [line for line in spark if "source: shared objects file (top)" in line]
    from_jars = [line for line in spark if "source: file:" in line or "source: jar:" in line]
    assert len(archived) > 1000 > 10 * len(from_jars)


def test_an_archive_is_of_one_java_and_one_spark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = java_home(tmp_path)
    other = tmp_path / "other"
    (other / "bin").mkdir(parents=True)
    (other / "bin" / "java").write_text("another Java")
    archive = class_archive(here, tmp_path)
    assert archive == class_archive(here, tmp_path)
    assert archive != class_archive(other, tmp_path)
    monkeypatch.setattr("pyspark.__version__", "5.0.0")
    assert archive != class_archive(here, tmp_path)


def test_where_no_java_starts_a_sentence_says_that_there_is_nothing_to_make(tmp_path: Path) -> None:
    env = {
        "AGENT_ROLES_HOME": str(tmp_path / "home"),
        "AGENT_ROLES_SPARK_MASTER": "sc://spark:15002",
        "AGENT_ROLES_DATABASE_URL": "postgresql://db/roles",
    }
    command = [sys.executable, "-m", "agent_roles_dagster.class_archive"]
    ended = subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "start no Java on this machine" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "home").exists()
