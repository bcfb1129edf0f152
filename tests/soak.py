"""Days land one after the other on a running system for as long as you like.

    python -m tests.soak 200

One day in ten is broken and corrected two days later, one in ten lands again with other content.
After a sixth of the days the code server gets a SIGTERM, after a third all processes, whatever they
are at, and each is started again. Every five days a line is printed: resident memory (MB) of the
daemon and of the code server, and the median time (ms) of the ticks of each sensor since the last
line. It fails if anything is left behind, if ticks take more than `GROWTH` times as long at the end
as near the beginning, if memory grows by more than `MB_PER_DAY` in the last third, if a broken day
was not told, or anything twice, or if the tables are not those of `tests/model.py`.
"""

import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import dagster as dg
import psutil
import psycopg

from agent_roles_dagster.postgres.embedded.server import running_server
from tests import model
from tests.conftest import with_database
from tests.team import Team, team
from tests.webhooks import webhook
from tests.worlds import write_day

LINES_EVERY = 5
# At most so many runs wait.
WAITING = 3
PATIENCE = 3600
GROWTH = 1.5
MB_PER_DAY = 0.5
QUERIES = {
    "stg_agent_roles": "SELECT agent_id, role_id, status, sync_day FROM stg_agent_roles",
    "history": "SELECT agent_id, role_id, assigned_on, assigned_at, removed_on, removed_at"
    " FROM agent_role_history",
    "agent_role_mapping": "SELECT agent_id, role_id, status, assigned_at, removed_at"
    " FROM agent_role_mapping",
}


class Soak:
    """The running system, what landed on it, and what the tables must come to."""

    def __init__(self, running: Team, landing: Path, database: str) -> None:
        self.running = running
        self.landing = landing
        self.database = database
        self.expected = model.Model(model.Guard(10, 100, 0.2))
        self.landings = 0
        self.last_line = time.time()
        self.measured: dict[str, list[float]] = defaultdict(list)
        self.faults: list[str] = []

    def land(self, day: str, seed: int, *, broken: bool = False) -> None:
        """Land a day, once few enough runs wait; none if it is there, or they would be one."""
        again = (self.landing / day).exists()
        self.wait_for_runs(self.landings - (0 if again else WAITING))
        write_day(self.landing, day, seed)
        if broken:
            (self.landing / day / "2.json").write_text("")
        files = {path.name: path.read_bytes() for path in (self.landing / day).iterdir()}
        self.expected.land(day, files, accept_removals=False)
        self.landings += 1

    def wait_for_runs(self, ended: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while (done := sum(self.ends().values())) < ended:
            assert time.monotonic() < deadline, f"{done} of {ended} runs ended: {self.ends()}"
            time.sleep(1)

    def ends(self) -> Counter[str]:
        """How many runs ended how."""
        statuses = Counter(status for _, status in self.running.runs())
        return Counter({end: statuses[end] for end in ("SUCCESS", "FAILURE", "CANCELED")})

    def line(self, day: str) -> None:
        """Print where it stands."""
        memory = {
            name: psutil.Process(self.running.processes[name].pid).memory_info().rss / 2**20
            for name in ("daemon", "code")
        }
        with dg.DagsterInstance.from_config(str(self.running.home)) as instance:
            ticks = {
                state.instigator_name: [
                    (tick.end_timestamp - tick.timestamp) * 1000
                    for tick in instance.get_ticks(
                        state.instigator_origin_id, state.selector_id, after=self.last_line
                    )
                    if tick.end_timestamp
                ]
                for state in instance.all_instigator_state()
            }
        self.last_line = time.time()
        line = {f"{name} MB": size for name, size in memory.items()}
        line |= {f"{name} ms": statistics.median(each) for name, each in ticks.items() if each}
        for name, value in line.items():
            self.measured[name].append(value)
        shown = (f"{name} {value:.0f}" for name, value in line.items())
        print(day, *shown, dict(self.ends()), sep=", ", flush=True)

    def restart(self, *names: str) -> None:
        """SIGTERM to these processes, and start them again."""
        left = self.running.stop(*names)
        print("SIGTERM to", *names, "left behind:", left, flush=True)
        self.faults += [f"left behind: {each}" for each in left]
        self.running.start(*names)

    def compare(self) -> None:
        """Note what grew, and where the tables are others than the model's."""
        for name, values in self.measured.items():
            part = len(values) // 6
            if name.endswith("MB"):
                # The code server grows with its first hundred runs or so, and levels off.
                first, last = values[-2 * part : -part], values[-part:]
                most = statistics.median(first or [0]) + MB_PER_DAY * part * LINES_EVERY
            else:
                first, last = values[part : 2 * part], values[-part:]
                most = statistics.median(first or [0]) * GROWTH
            if part and statistics.median(last) > most:
                self.faults.append(f"{name} grew: {first} and at the end {last}")
        with psycopg.connect(self.database) as connection:
            for table, query in QUERIES.items():
                found = Counter(connection.execute(query.encode()).fetchall())
                print(f"{table}: {found.total()} rows")
                if found != Counter(getattr(self.expected, table)()):
                    self.faults.append(f"{table} is not the model's")


def main(days: int) -> int:
    # Started by a shell's `&`, it would ignore SIGINT, as would its children, and Dagster then
    # ignores SIGTERM, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="agent-roles-soak-"))
    folder.chmod(0o755)
    server = running_server(folder / "home")
    with psycopg.connect(server, autocommit=True) as connection:
        for name in ("soak", "soak_dagster"):
            connection.execute(f"CREATE DATABASE {name}".encode())
    os.environ["DAGSTER_POSTGRES_URL"] = with_database(server, "soak_dagster")
    landing = folder / "admin_roles"
    landing.mkdir()
    settings = {
        "AGENT_ROLES_AUTOMATION": "on",
        "AGENT_ROLES_LANDING": str(landing),
        "AGENT_ROLES_DATABASE_URL": with_database(server, "soak"),
        "AGENT_ROLES_HOME": os.environ.get("AGENT_ROLES_HOME", str(folder / "home")),
        "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1",
    }
    with (
        webhook() as hook,
        team(folder / "dagster_home", **settings, AGENT_ROLES_WEBHOOK_URL=hook.url) as running,
    ):
        soak = Soak(running, landing, settings["AGENT_ROLES_DATABASE_URL"])
        running.report_an_event()
        for number in range(1, days + 1):
            soak.land(f"day{number}", number, broken=number % 10 == 3)
            if number % 10 == 5:
                soak.land(f"day{number - 2}", number - 2)
            if number % 10 == 7:
                soak.land(f"day{number - 3}", 1000 + number)
            if number == days // 6:
                soak.restart("code")
            if number == days // 3:
                soak.restart("code", "daemon", "webserver")
            if number % LINES_EVERY == 0:
                soak.line(f"day{number}")
        soak.wait_for_runs(soak.landings)
        time.sleep(60)
        soak.line("the end")
        told = Counter(
            text.split(":")[0].removeprefix("ERROR ")
            for text in hook.texts
            if " failed (unreadable): " in text
        )
        broken = Counter(f"day{number}" for number in range(3, days + 1, 10))
        print(f"notices: {len(hook.texts)}, of broken days: {told.total()} of {broken.total()}")
        if told != broken:
            soak.faults.append(f"told were the broken days {told}, not {broken}")
        # Each names its run: a day that landed again may have the same said of it again.
        twice = [text for text, times in Counter(hook.texts).items() if times > 1]
        soak.faults += [f"told twice: {text}" for text in twice]
        soak.compare()
    print("\n".join(soak.faults) or "No fault")
    return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
