"""The real command against the floor and against what else people would use, on the same data.

    pip install -e '.[test]' --group benchmark
    python -m tests.benchmark --server postgresql://postgres@127.0.0.1/postgres --pairs 10000000

For each run a new world lands in a temporary folder and a new database is made on the server; the
command loads day1, day2 and day2 again, and each peer the same two days beside it. Printed are the
medians so far after each run, ratios to the command's day2, and its ratio to the floor: the two
floors' sum. `--sample` instead compares the sample's day2 with an empty asset's run. With
`--engines sail 'local[*]'` each engine does the command, with `--against FOLDER` another checkout,
too. All get the same work_mem; the peers have no errors table, no checks and no protection against
a task that runs twice. Linux only.
"""

import argparse
import os
import statistics
import sys
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmark.measuring import Failed, Measured, measure
from tests.benchmark.peers import JDBC_DRIVER, PEERS, execute, save_staged
from tests.benchmark.world import World
from tests.java import java_for_tests
from tests.processes import COMMAND

OURS = "agent-roles"
Results = dict[tuple[str, str], list[Measured]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_AsWritten)
    parser.add_argument("--server", required=True, help="URL of a PostgreSQL, as a superuser")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--sample", action="store_true", help="compare the sample's day2")
    parser.add_argument("--engines", nargs="*", default=["sail"], help="AGENT_ROLES_SPARK_MASTER")
    parser.add_argument("--against", type=Path, help="another checkout, on its own engine")
    parser.add_argument("--work-mem", default="512MB", help="of the database; dlt needs much")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for each command")
    for name, default in vars(World()).items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    given = parser.parse_args()
    if "first-design" in given.peers and not JDBC_DRIVER.exists():
        parser.error(f"first-design needs {JDBC_DRIVER} (Debian: libpostgresql-jdbc-java)")
    world = World(**{name: getattr(given, name) for name in vars(World())})
    results: Results = defaultdict(list)
    for number in range(1, given.runs + 1):
        print(f"run {number} of {given.runs}", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            _run(given, world, Path(folder), results)
        print(_table(results), flush=True)


class _AsWritten(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    pass


@contextmanager
def _database(given: argparse.Namespace) -> Iterator[str]:
    """URL of an empty database, which is dropped at the end."""
    name = f"benchmark_{uuid.uuid4().hex[:8]}"
    execute(given.server, f"CREATE DATABASE {name}")
    execute(given.server, f"ALTER DATABASE {name} SET work_mem = '{given.work_mem}'")
    try:
        yield urlsplit(given.server)._replace(path=f"/{name}").geturl()
    finally:
        execute(given.server, f"DROP DATABASE {name} WITH (FORCE)")


def _contenders(given: argparse.Namespace) -> dict[str, dict[str, str]]:
    """Who does the command, and with which environment."""
    here = {"PYTHONPATH": os.getcwd()}
    found = {
        OURS if engine == given.engines[0] else f"{OURS}, {engine}": {
            **here,
            "AGENT_ROLES_SPARK_MASTER": engine,
        }
        for engine in given.engines
    }
    if given.against:
        found[f"{OURS}, {given.against.name}"] = {"PYTHONPATH": str(given.against.absolute())}
    return found


def _command(env: Mapping[str, str], day: str) -> list[str]:
    """The command for a day; Dagster looks for the package where it is started, if not told."""
    return [*COMMAND, day, "--working-directory", env["PYTHONPATH"]]


def _run(given: argparse.Namespace, world: World, folder: Path, results: Results) -> None:
    common = {key: value for key, value in os.environ.items() if key != "DAGSTER_HOME"}
    common |= {"AGENT_ROLES_HOME": str(folder / "home"), "JAVA_HOME": java_for_tests()}
    common["PYTHONSAFEPATH"] = "1"  # Else this checkout would come before the other.

    def timed(who: str, day: str, command: Sequence[str], url: str, env: Mapping[str, str]) -> bool:
        # Else the next one would pay for what this one left to be written.
        execute(given.server, "CHECKPOINT")
        env = {**common, "AGENT_ROLES_DATABASE_URL": url, **env}
        try:
            result = measure(command, env, url, given.timeout)
        except Failed as error:
            print(f"  {who} {day}: {error}", file=sys.stderr)
            return False
        results[who, day].append(result)
        print(f"  {who} {day}: {result.wall:.1f} s", file=sys.stderr)
        return True

    landing = {}
    if not given.sample:
        world.write(folder)
        landing = {"AGENT_ROLES_LANDING": str(folder)}
    for who, env in _contenders(given).items():
        with _database(given) as url:
            for day, label in (("day1", "day1"), ("day2", "day2"), ("day2", "day2 again")):
                if not timed(who, label, _command(env, day), url, {**env, **landing}):
                    return  # the floor copies what it staged
            if who != OURS:
                continue
            if given.sample:
                bare = Path(__file__).parent / "bare_dagster.py"
                command = [*COMMAND[:5], "-f", str(bare), "--select", "*"]
                timed("bare Dagster", "", command, url, env)
                continue
            for day in ("day1", "day2") if given.peers else ():
                save_staged(folder, day, url)
            for peer in given.peers:
                for day in ("day1", "day2"):
                    command = [sys.executable, "-m", "tests.benchmark.peers", peer, day]
                    timed(peer, day, [*command, str(folder), url], url, env)


def _table(results: Results) -> str:
    """A Markdown table: medians over the runs, and the ratio to the command's day2 or day1."""
    reference = results.get((OURS, "day2")) or results.get((OURS, "day1"))
    if not reference:
        return "No run ended well."
    unit = statistics.median(result.wall for result in reference)
    lines = [
        "| who | day | wall s | ratio | client CPU s | server CPU s | peak MB | rows | WAL MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (who, day), measured in results.items():

        def median(of: str, measured: list[Measured] = measured) -> float:
            return statistics.median(getattr(result, of) for result in measured)

        kinds = sorted({kind for result in measured for kind in result.memory})
        memory = ", ".join(
            f"{kind} {max(result.memory.get(kind, 0) for result in measured) >> 20}"
            for kind in kinds
        )
        lines.append(
            f"| {who} | {day} | {median('wall'):.1f} | {median('wall') / unit:.2f}"
            f" | {median('cpu'):.1f} | {median('server_cpu'):.1f} | {memory}"
            f" | {median('rows'):,.0f} | {median('wal') / 2**20:,.0f} |"
        )
    for parts in (
        [("floor-parse", "day2"), ("floor-copy", "day2")],
        [("bare Dagster", "")],
    ):
        if all(part in results for part in parts):
            floor = sum(
                statistics.median(result.wall for result in results[part]) for part in parts
            )
            names = " + ".join(name for name, _ in parts)
            lines.append(f"\nday2 is {unit / floor:.2f} times {names}.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
