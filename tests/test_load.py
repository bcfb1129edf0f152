"""Loading by Spark's tasks: a task that is retried or runs twice leaves each row once."""

import json
from collections import Counter
from pathlib import Path

from tests.conftest import Pipeline
from tests.processes import killed_at_the_end, start
from tests.spark_cluster import faults, standalone_cluster
from tests.worlds import tables

ROLES, AGENTS = 60, 12_000


def _land_megabytes(landing: Path) -> int:
    """A dump that is large enough for several tasks to load it; returns its number of pairs."""
    folder = landing / "day1"
    folder.mkdir(parents=True)
    for role in range(ROLES):
        agents = [21_000_000_000 + agent for agent in range(AGENTS)]
        invalid = ["?"] * 5
        record = {"id": role, "agents": agents + agents[:10] + invalid}
        (folder / f"{role}.json").write_text(json.dumps([record]))
    (folder / "_manifest.json").write_text('{"observed_at": "2026-01-01T06:00:00Z"}')
    return ROLES * AGENTS


def _run(pipeline: Pipeline, tmp_path: Path, env: dict[str, str]) -> None:
    log = tmp_path / "log"
    process = start(
        "day1",
        {
            "AGENT_ROLES_LANDING": str(pipeline.landing),
            "AGENT_ROLES_DATABASE_URL": pipeline.database,
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


def _assert_each_row_once(pipeline: Pipeline, pairs: int) -> None:
    found = tables(pipeline.database)
    assert len(found["staging"]) == pairs
    assert len(set(found["staging"])) == pairs
    assert len(found["mapping"]) == pairs
    assert len(found["errors"]) == ROLES * 5
    assert max(Counter(found["errors"]).values()) == 1


def test_tasks_that_die_after_they_committed_leave_each_row_once(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    pairs = _land_megabytes(pipeline.landing)
    env = faults(tmp_path / "faults", "die")
    _run(pipeline, tmp_path, {**env, "AGENT_ROLES_SPARK_MASTER": "local[2,4]"})
    assert len(_retried(tmp_path)) >= 3, "several tasks died and were tried again"
    _assert_each_row_once(pipeline, pairs)


def test_tasks_that_run_twice_on_a_cluster_leave_each_row_once(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    pairs = _land_megabytes(pipeline.landing)
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
        _run(pipeline, tmp_path, {**env, **speculation, "AGENT_ROLES_SPARK_MASTER": master})
    assert _retried(tmp_path) == {"0"}, "the slow task ran a second time beside the first"
    _assert_each_row_once(pipeline, pairs)
