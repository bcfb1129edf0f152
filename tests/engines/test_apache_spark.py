"""Apache Spark's session: its configuration, and a JVM that does not outlive its run."""

import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from agent_roles_dagster.engines.apache_spark import _stopped_afterwards
from agent_roles_dagster.engines.start import spark_resource
from agent_roles_dagster.settings import Settings
from tests.processes import killed_at_the_end, sessions, start, stop
from tests.worlds import write_day


def test_a_spark_connect_url_with_its_token_is_no_part_of_the_configuration_that_is_shown() -> None:
    env = {"AGENT_ROLES_DATABASE_URL": "postgresql://db/roles", "AGENT_ROLES_LANDING": "s3://x"}
    settings = Settings.from_env({**env, "AGENT_ROLES_SPARK_MASTER": "sc://spark/;token=secret"})
    assert "secret" not in repr(spark_resource(settings).spark_config)


@pytest.mark.parametrize("age", [0, 0.5])
def test_a_command_that_is_stopped_while_its_jvm_starts_leaves_none_behind(
    tmp_path: Path, database: str, age: float
) -> None:
    write_day(tmp_path / "admin_roles", "day1", seed=1)
    env = {
        "AGENT_ROLES_LANDING": str(tmp_path / "admin_roles"),
        "AGENT_ROLES_DATABASE_URL": database,
        "AGENT_ROLES_HOME": str(tmp_path),
        "AGENT_ROLES_SPARK_MASTER": "local[1]",
    }
    process = start("day1", env, tmp_path / "log")
    with killed_at_the_end(process):
        while not _starts_a_jvm(process):
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(age)
        assert stop(process, patience=60) == []
    assert process.returncode != 0
    assert "starting the engine" not in (tmp_path / "log").read_text(), (
        "it went on to the day's end"
    )


def test_a_second_signal_ends_a_start_that_hangs() -> None:
    def end(*_: object) -> None:
        raise InterruptedError

    survived = []

    def start_that_hangs() -> None:
        with _stopped_afterwards():
            for number in range(3):
                signal.raise_signal(signal.SIGTERM)
                survived.append(number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        with pytest.raises(InterruptedError):
            start_that_hangs()
        assert survived == [0]
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, before)


def _starts_a_jvm(process: subprocess.Popen[bytes]) -> bool:
    with suppress(psutil.NoSuchProcess):
        return any("pyspark-shell" in each.cmdline() for each in sessions(process))
    return False
