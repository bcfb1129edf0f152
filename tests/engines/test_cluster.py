"""The same job on clusters, started from what pyspark ships: the same tables.

The workers there have the packages that docs/clusters.md lists for them, and no others. This
package is not among them: it comes with a job.

Spark Connect does some of the stories in `tests/cases`; `AGENT_ROLES_TEST_CONNECT=all` does all.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from subprocess import Popen

import fsspec
import psycopg
from psycopg import sql

from tests import CHECKOUT
from tests.java import java_for_tests
from tests.processes import kill, killed_at_the_end, start
from tests.spark_cluster import bare_workers, connect_server, standalone_workers
from tests.worlds import dump_for_several_tasks, tables

# Invalid rows, a day that is corrected in between, and text of any kind.
ALL = os.environ.get("AGENT_ROLES_TEST_CONNECT") == "all"
STORIES = () if ALL else ("-k", "04-invalid or 09-older or 18-hostile")


def test_the_stories_end_with_their_tables_over_spark_connect(server: str, tmp_path: Path) -> None:
    with connect_server(tmp_path, bare_workers(tmp_path / "bare")) as url:
        _pytest(url, server, tmp_path, "tests/test_cases.py", *STORIES)


def test_histories_end_with_their_tables_on_apache_spark(server: str, tmp_path: Path) -> None:
    _pytest("local[2]", server, tmp_path, "tests/test_guarantees.py")


def _pytest(master: str, server: str, folder: Path, *arguments: str) -> None:
    """Tests on another engine. A process that has had a session of one kind gets no other."""
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", "-q"),
            *(f"--basetemp={folder / 'pytest'}", *arguments),
        ],
        cwd=CHECKOUT,
        env={
            "AGENT_ROLES_TEST_HISTORIES": "10",
            **os.environ,
            "AGENT_ROLES_SPARK_MASTER": master,
            "AGENT_ROLES_DATABASE_URL": server,
            "AGENT_ROLES_LANDING": str(folder),
            "AGENT_ROLES_TEST_SERVER_URL": server,
            "JAVA_HOME": java_for_tests(),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-6000:]
    assert " passed" in ended.stdout


def test_a_worker_killed_in_the_middle_of_the_load_costs_no_row_and_doubles_none(
    database: str, object_store: dict[str, str], tmp_path: Path
) -> None:
    store = fsspec.filesystem("s3")
    for day, agents in ("day1", range(500, 1500)), ("day2", range(1000)):
        for name, content in dump_for_several_tasks(agents).items():
            store.pipe_file(f"dumps/admin_roles/{day}/{name}", content)
        moment = f"2026-01-0{day[-1]}T06:00:00Z"
        manifest = f'{{"observed_at": "{moment}"}}'.encode()
        store.pipe_file(f"dumps/admin_roles/{day}/_manifest.json", manifest)
    log = tmp_path / "log"
    env = {
        "AGENT_ROLES_HOME": str(tmp_path / "home"),
        "AGENT_ROLES_LANDING": "s3://dumps/admin_roles",
        "AGENT_ROLES_DATABASE_URL": database,
        "AGENT_ROLES_HOLD_SHARE": "1",
    }
    before = start("day1", env, log)
    with killed_at_the_end(before):
        assert before.wait() == 0, log.read_text()[-3000:]
    conf = {
        "driver__host": "127.0.0.1",
        "shuffle__io__maxRetries": "1",
        **{f"executorEnv__{name}": value for name, value in object_store.items()},
    }
    with standalone_workers(tmp_path, bare_workers(tmp_path / "bare", "s3fs")) as (master, workers):
        process = start(
            "day2",
            {
                **env,
                "AGENT_ROLES_SPARK_MASTER": master,
                **{f"AGENT_ROLES_SPARK_CONF_{name}": value for name, value in conf.items()},
            },
            log,
        )
        with killed_at_the_end(process):
            _kill_amid_loading(database, log, process, workers)
            process.wait()
    assert process.returncode == 0, log.read_text()[-3000:]
    assert "Lost executor" in log.read_text(), "a worker's tasks had to be done by the other"
    found = tables(database)
    held = [(agent, role, "assigned") for agent in range(1000) for role in range(2)]
    gone = [(agent, role, "removed") for agent in range(1000, 1500) for role in range(2)]
    staged = [row[:3] for row in found["staging"] if row[3] == "day2"]
    assert sorted(staged) == sorted(held + gone)
    assert sorted(row[:3] for row in found["mapping"]) == sorted(held + gone)
    assert len([row for row in found["errors"] if row[0] == "day2"]) == 10


def _kill_amid_loading(
    database: str, log: Path, process: Popen[bytes], workers: list[Popen[bytes]]
) -> None:
    """Kill the first worker when each has a task that wrote rows and has yet to commit them."""
    with psycopg.connect(database) as connection:

        def names(query: str) -> list[tuple[str]]:
            assert process.poll() is None, log.read_text()[-3000:]
            time.sleep(0.1)
            return connection.execute(query.encode()).fetchall()

        loading = "SELECT tablename FROM pg_tables WHERE tablename LIKE 'agent_roles_load_claims_%'"
        while not (found := names(loading)):
            pass
        # A task's last statement before its commit is an INSERT into it.
        claims = sql.Identifier("public_days", *found[0])
        connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(claims))
        waiting = "SELECT pid::text FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
        while len(names(waiting)) < len(workers):
            pass
        kill(workers[0])
