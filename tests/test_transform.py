"""The transform on both engines: the same of every row, whatever text is in it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.java import java_for_tests


def _decided(master: str, folder: Path) -> list[dict[str, Any]]:
    file = folder / f"{master}.json"
    env = {"AGENT_ROLES_SPARK_MASTER": master, "AGENT_ROLES_HOME": str(folder / "home")}
    subprocess.run(
        [sys.executable, "-m", "tests.parity", str(file)],
        env={**os.environ, "JAVA_HOME": java_for_tests(), **env},
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(file.read_text())
    return found


def test_sail_and_apache_spark_decide_the_same_of_thousands_of_rows(tmp_path: Path) -> None:
    sail, spark = _decided("sail", tmp_path), _decided("local[2]", tmp_path)
    for ours, theirs in zip(sail, spark, strict=True):
        assert ours == theirs
    kinds = {row["refused"] and row["refused"]["message"] for row in sail}
    assert len(sail) > 5000
    assert len(kinds) > 40, "many rules are broken, alone and together"
