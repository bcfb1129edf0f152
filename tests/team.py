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

import dagster as dg
import psutil

from tests import CHECKOUT
from tests.processes import sessions, stop

START = 300


class Team:
    """Three processes with one DAGSTER_HOME, whose instance is in PostgreSQL."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        self.home = home
        self.env = env
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        code, web = _free_port(), _free_port()
        self.url = f"http://127.0.0.1:{web}"
        here = ("-h", "127.0.0.1", "-p")
        module = ("-m", "agent_roles_dagster.definitions")
        workspace = ("-w", "workspace.yaml")
        self._commands = {
            "code": ("dagster", "api", "grpc", *here, str(code), *module),
            "daemon": ("dagster._daemon", "run", *workspace),
            "webserver": ("dagster_webserver", *here, str(web), *workspace),
        }
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / "deploy" / "dagster.yaml", home)
        text = (CHECKOUT / "deploy" / "workspace.yaml").read_text()
        text = text.replace("host: code", "host: 127.0.0.1").replace("4000", str(code))
        (home / "workspace.yaml").write_text(text)

    def start(self, *names: str) -> None:
        """Start these of them, or all, and wait until the webserver answers."""
        for name in names or self._commands:
            self._run(name, *self._commands[name])
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
                    "DAGSTER_AUTOMATION_TICK_SETTLE_SECONDS": "2",  # as in deploy
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

    def has_looked(self, since: float = 0.0) -> bool:
        """Whether each sensor has ticked since that moment, in seconds since 1970."""
        query = "{ repositoriesOrError { ... on RepositoryConnection { nodes {"
        query += " sensors { sensorState { ticks(limit: 1) { timestamp } } } } } } }"
        nodes = self.ask(query)["repositoriesOrError"].get("nodes", [])
        ticks = [sensor["sensorState"]["ticks"] for node in nodes for sensor in node["sensors"]]
        return bool(ticks) and all(each and each[0]["timestamp"] > since for each in ticks)

    def report_an_event(self) -> None:
        """Without any, a look of the daemon has no end, and the first landing may count twice."""
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            instance.report_runless_asset_event(dg.AssetObservation("another_asset"))

    def runs(self, *, started_again: bool = False) -> list[tuple[str, str]]:
        """Day and status of each run that is not (or that is) started again, oldest first."""
        query = "{ runsOrError { ... on Runs { results { status tags { key value } } } } }"
        found = []
        for run in reversed(self.ask(query)["runsOrError"]["results"]):
            tags = {tag["key"]: tag["value"] for tag in run["tags"]}
            if (tags.get("dagster/will_retry") == "true") == started_again:
                found.append((tags.get("dagster/partition", "many days"), run["status"]))
        return found

    def made_by_the_newest_run(self) -> set[str]:
        """The assets that it materialised."""
        query = "{ runsOrError(limit: 1) { ... on Runs { results {"
        query += " assetMaterializations { assetKey { path } } } } } }"
        [run] = self.ask(query)["runsOrError"]["results"]
        return {made["assetKey"]["path"][-1] for made in run["assetMaterializations"]}

    def stop(self, *names: str) -> list[str]:
        """SIGTERM to each of these; returns the names of what lives on."""
        # As long as deploy/compose.yaml gives them.
        return stop(*(self.processes[name] for name in names), patience=660)

    def run_workers(self) -> list[psutil.Process]:
        """The processes that the code server started for runs, by multiprocessing."""
        started = psutil.Process(self.processes["code"].pid).children(recursive=True)
        return [each for each in started if "multiprocessing.spawn" in _arguments(each)]

    def kill_the_runs(self) -> None:
        """SIGKILL to the processes of the runs."""
        workers = self.run_workers()
        assert workers
        for each in workers:
            each.kill()

    def terminate_the_newest_run(self) -> None:
        """As the button of the interface does."""
        [run] = self.ask("{ runsOrError(limit: 1) { ... on Runs { results { runId } } } }")[
            "runsOrError"
        ]["results"]
        answer = self.ask(f'mutation {{ terminateRun(runId: "{run["runId"]}") {{ __typename }} }}')
        assert answer == {"terminateRun": {"__typename": "TerminateRunSuccess"}}

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


def _arguments(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
