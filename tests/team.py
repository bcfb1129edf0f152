"""The set-up for a team as it runs: code server, daemon and webserver, a process each."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.processes import sessions, stop

CHECKOUT = Path(__file__).parent.parent
START = 300


class Team:
    """Three processes with one DAGSTER_HOME, whose instance is in PostgreSQL."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        self.home = home
        self.env = env
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.url = ""

    def start(self) -> None:
        """Start them, and wait until the webserver answers."""
        self.home.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / ".deploy" / "dagster.yaml", self.home)
        workspace = (CHECKOUT / ".deploy" / "workspace.yaml").read_text()
        code, web = _free_port(), _free_port()
        workspace = workspace.replace("host: code", "host: 127.0.0.1")
        (self.home / "workspace.yaml").write_text(workspace.replace("4000", str(code)))
        module = ["-m", "agent_roles_dagster.definitions"]
        self._run("code", "dagster", "api", "grpc", "-h", "127.0.0.1", "-p", str(code), *module)
        self._run("daemon", "dagster._daemon", "run", "-w", "workspace.yaml")
        self._run(
            "webserver",
            *("dagster_webserver", "-h", "127.0.0.1", "-p", str(web), "-w", "workspace.yaml"),
        )
        self.url = f"http://127.0.0.1:{web}"
        deadline = time.monotonic() + START
        while True:
            try:
                self.ask("{ version }")
                return
            except OSError:
                assert time.monotonic() < deadline, f"the webserver did not start\n{self.log()}"
                time.sleep(0.5)

    def _run(self, name: str, module: str, *arguments: str) -> None:
        with (self.home / f"{name}.log").open("ab") as output:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=self.home,
                env={
                    **os.environ,
                    "DAGSTER_HOME": str(self.home),
                    "DAGSTER_AUTOMATION_TICK_SETTLE_SECONDS": "2",  # as in .deploy
                    **self.env,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ask(self, query: str) -> Any:
        """The webserver's answer to a GraphQL query."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["data"]

    def runs(self) -> list[tuple[str, str]]:
        """Day and status of each run, oldest first."""
        query = "{ runsOrError { ... on Runs { results { status tags { key value } } } } }"
        found = []
        for run in reversed(self.ask(query)["runsOrError"]["results"]):
            tags = {tag["key"]: tag["value"] for tag in run["tags"]}
            found.append((tags["dagster/partition"], run["status"]))
        return found

    def stop(self) -> list[str]:
        """SIGTERM to each; returns the names of what lives on."""
        return stop(*self.processes.values())

    def kill(self) -> None:
        """End what there is of them."""
        for each in sessions(*self.processes.values()):
            with suppress(psutil.NoSuchProcess):
                each.kill()
        for process in self.processes.values():
            process.wait()

    def log(self) -> str:
        """The ends of the processes' logs."""
        return "\n".join(
            f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-40:])
            for path in sorted(self.home.glob("*.log"))
        )


@contextmanager
def team(home: Path, **env: str) -> Iterator[Team]:
    """A running team set-up; none of it outlives the block."""
    running = Team(home, env)
    try:
        running.start()
        yield running
    except BaseException:
        print(running.log())
        raise
    finally:
        running.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
