"""The same job on clusters, started from what pyspark ships: the same tables.

The workers there have what the README says they need, and not this package: it comes with a job.

Spark Connect does some of the stories in `tests/cases`; `AGENT_ROLES_TEST_CONNECT=all` does all.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.spark_cluster import bare_workers, connect_server

ROOT = Path(__file__).parents[1]
# Invalid rows, a day that is corrected in between, a day that is held, and text of any kind.
STORIES = "04-invalid or 09-older or 14-empty or 18-hostile"


def test_the_stories_end_with_their_tables_over_spark_connect(server: str, tmp_path: Path) -> None:
    # In a process of its own: one that has had a session of its own JVM gets no other kind.
    command = [sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", "-q"]
    command += [f"--basetemp={tmp_path / 'pytest'}", "tests/test_cases.py"]
    if os.environ.get("AGENT_ROLES_TEST_CONNECT") != "all":
        command += ["-k", STORIES]
    with connect_server(tmp_path, bare_workers(tmp_path / "bare")) as url:
        ended = subprocess.run(
            command,
            cwd=ROOT,
            env={
                **os.environ,
                "AGENT_ROLES_SPARK_MASTER": url,
                "AGENT_ROLES_DATABASE_URL": server,
                "AGENT_ROLES_TEST_SERVER_URL": server,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    assert ended.returncode == 0, ended.stdout[-6000:]
