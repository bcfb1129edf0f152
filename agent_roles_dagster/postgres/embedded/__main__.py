"""Runs psql on the embedded server, or pg_dump or pg_restore if that is the first argument."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from agent_roles_dagster.postgres.embedded.account import EmbeddedPostgresError, environment_of
from agent_roles_dagster.postgres.embedded.programs import wheel_folder
from agent_roles_dagster.postgres.embedded.server import running_server
from agent_roles_dagster.settings import Settings


def main(arguments: Sequence[str]) -> int:
    """Run psql, or the program named first, on the server of the settings. Returns its status."""
    program, rest = "psql", list(arguments)
    if rest[:1] in (["pg_dump"], ["pg_restore"]):
        program = rest.pop(0)
    try:
        url = running_server(Settings.from_env().home)
        path = wheel_folder() / "bin" / program
    except EmbeddedPostgresError as error:
        print(error, file=sys.stderr)
        return 1
    # Ctrl-C is for psql, which cancels a query. psql would inherit SIG_IGN, but not a handler.
    signal.signal(signal.SIGINT, lambda *_: None)
    options = {name: value for name, value in os.environ.items() if name == "PGOPTIONS"}
    return subprocess.call([path, "-d", url, *rest], env=environment_of() | options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
