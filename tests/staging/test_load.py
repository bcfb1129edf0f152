"""Loading by Spark's tasks: a task that is retried or runs twice leaves each row once."""

from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.conftest import Pipeline
from tests.processes import killed_at_the_end, start
from tests.spark_cluster import connect_server, faults, standalone_cluster
from tests.worlds import dump_for_several_tasks, tables

AGENTS = range(1000)


def _run(pipeline: Pipeline, tmp_path: Path, env: dict[str, str]) -> None:
    pipeline.write("day1", dict(dump_for_several_tasks(AGENTS)))
    log = tmp_path / "log"
    process = start(
        "day1",
        {
            "AGENT_ROLES_LANDING": str(pipeline.landing),
            "AGENT_ROLES_DATABASE_URL": pipeline.database,
            "AGENT_ROLES_HOME": str(tmp_path / "home"),
            **env,
        },
        log,
    )
    with killed_at_the_end(process):
        process.wait(400)
    assert process.returncode == 0, log.read_text(errors="replace")[-4000:]


def _retried(tmp_path: Path) -> set[str]:
    """Partitions that were tried more than once."""
    lines = (tmp_path / "faults" / "log").read_text().splitlines()
    return {line.split()[0] for line in lines if line.split()[1] != "0"}


def _assert_each_row_once(pipeline: Pipeline) -> None:
    pairs = {(agent, role) for agent in AGENTS for role in range(2)}
    found = tables(pipeline.database)
    for name in ("staging", "mapping"):
        assert len(found[name]) == len(pairs)
        assert {row[:2] for row in found[name]} == pairs
    assert len(found["errors"]) == 10
    assert max(Counter(found["errors"]).values()) == 1


@pytest.mark.parametrize("through", ["a session of its own", "Spark Connect"])
def test_tasks_that_die_after_they_committed_leave_each_row_once(
    pipeline: Pipeline, tmp_path: Path, through: str
) -> None:
    env = faults(tmp_path / "faults", "die")
    local = "local[2,4]"
    is_connect = through == "Spark Connect"
    with connect_server(tmp_path, env, local) if is_connect else nullcontext(local) as master:
        _run(pipeline, tmp_path, {**env, "AGENT_ROLES_SPARK_MASTER": master})
    assert len(_retried(tmp_path)) >= 3, "several tasks died and were tried again"
    _assert_each_row_once(pipeline)


def test_tasks_that_run_twice_on_a_cluster_leave_each_row_once(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    env = faults(tmp_path / "faults", "slow")
    speculation = {
        "AGENT_ROLES_SPARK_CONF_speculation": "true",
        "AGENT_ROLES_SPARK_CONF_speculation__quantile": "0.1",
        "AGENT_ROLES_SPARK_CONF_speculation__multiplier": "1.1",
        "AGENT_ROLES_SPARK_CONF_speculation__minTaskRuntime": "100ms",
        "AGENT_ROLES_SPARK_CONF_speculation__interval": "100ms",
        "AGENT_ROLES_SPARK_CONF_driver__host": "127.0.0.1",
    }
    with standalone_cluster(tmp_path, env) as master:
        _run(
            pipeline,
            tmp_path,
            {**env, **speculation, "AGENT_ROLES_SPARK_MASTER": master},
        )
    assert _retried(tmp_path) == {"0"}, "the slow task ran a second time beside the first"
    _assert_each_row_once(pipeline)
