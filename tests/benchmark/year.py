"""A year of days in one run, beside what an expert's loop in one process takes for the same days.

    python -m tests.benchmark.year --server postgresql://postgres@127.0.0.1/postgres

The days land in a temporary folder: each has so many pairs, of which half of the churn is gone and
as many others came since the day before, and some entries that are no id. `load_landed_days` loads
them into an empty database, as the command does that a person would type, and DuckDB into another
one, in a loop over the days with one connection to each. Printed are both times and their ratio,
the seconds of a day and the peak of memory near the beginning and at the end. It fails if the
tables are not those that the days say. The loop has no errors table, no checks, no reports, and
nothing that would notice a page that is missing.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import psutil
import psycopg

from agent_roles_dagster.postgres.arrow import ArrowConnection
from tests.benchmark.__main__ import _database
from tests.benchmark.peers import duckdb_pairs, execute
from tests.processes import LOAD_COMMAND, killed_at_the_end

ROLES = 100
FILES = 4
BROKEN = 1000  # One entry in so many is no id.
Pair = tuple[int, int]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--server", required=True, help="URL of a PostgreSQL, as a superuser")
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--churn", type=float, default=0.005)
    parser.add_argument("--work-mem", default="64MB", help="of the database")
    parser.add_argument("--alone", action="store_true", help="without the loop beside it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        landing = Path(folder) / "landing"
        days = write_days(landing, given.days, given.pairs, given.churn)
        with _database(given) as url:
            ours = _ours(Path(folder), landing, url, given.days)
            _compare(url, days)
        if not given.alone:
            with _database(given) as url:
                began, cpu = time.monotonic(), time.process_time()
                _loop(landing, days, url)
                theirs, cpu = time.monotonic() - began, time.process_time() - cpu
            each = f"{theirs / given.days:.3f} s a day, of its own {cpu / given.days:.3f} s CPU"
            print(f"DuckDB's loop: {theirs:.1f} s, {each}; ours {ours / theirs:.2f} times that")


def write_days(landing: Path, number: int, pairs: int, churn: float) -> dict[str, set[Pair]]:
    """Land the days, and say what each assigns, as (agent, role)."""
    chance = random.Random(1)
    held = [(1 + pair // ROLES, 1 + pair % ROLES) for pair in range(pairs)]
    fresh = pairs // ROLES + 1
    days = {}
    for day in range(number):
        if day:
            for place in chance.sample(range(pairs), round(pairs * churn / 2)):
                held[place] = (fresh, held[place][1])
                fresh += 1
        name = (date(2026, 1, 1) + timedelta(day)).isoformat()
        _write_day(landing / name, name, held)
        days[name] = set(held)
    return days


def _write_day(folder: Path, name: str, held: list[Pair]) -> None:
    folder.mkdir(parents=True)
    roles: defaultdict[int, list[int | str]] = defaultdict(list)
    for number, (agent, role) in enumerate(held):
        roles[role].append(agent)
        if number % BROKEN == BROKEN // 2:
            roles[role].append(f"unknown-{number}")
    for page in range(FILES):
        records = [
            {"id": role, "name": f"Role {role}", "agents": [{"id": agent} for agent in agents]}
            for role, agents in sorted(roles.items())
            if role % FILES == page
        ]
        (folder / f"page-{page}.json").write_text(json.dumps({"roles": records}))
    (folder / "_manifest.json").write_text(json.dumps({"observed_at": f"{name}T06:00:00Z"}))


def _ours(folder: Path, landing: Path, url: str, days: int) -> float:
    """The command; prints what it took, and returns its seconds."""
    home = folder / "dagster_home"
    home.mkdir()
    shutil.copy("dagster.yaml", home)
    env = os.environ | {
        "PYTHONPATH": os.getcwd(),
        "DAGSTER_HOME": str(home),
        "AGENT_ROLES_HOME": str(folder / "home"),
        "AGENT_ROLES_LANDING": str(landing),
        "AGENT_ROLES_DATABASE_URL": url,
    }
    began = time.monotonic()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(LOAD_COMMAND, env=env, stdout=log, stderr=subprocess.STDOUT)
    marks: list[tuple[float, int, int]] = []
    with killed_at_the_end(process), psycopg.connect(url, autocommit=True) as connection:
        while process.poll() is None:
            time.sleep(0.5)
            with suppress(psycopg.Error, psutil.Error):
                row = connection.execute(
                    "SELECT count(*) FROM agent_role_sync_days WHERE applied_at IS NOT NULL"
                ).fetchone()
                memory = psutil.Process(process.pid).memory_info().rss
                marks.append((time.monotonic(), row[0] if row else 0, memory))
    seconds = time.monotonic() - began
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit((folder / "log").read_text()[-4000:])
    early = next(mark for mark in marks if mark[1] >= days * 0.1)
    late = next(mark for mark in marks if mark[1] >= days * 0.9)
    each = (late[0] - early[0]) / (late[1] - early[1])
    print(
        f"load_landed_days: {seconds:.1f} s, {each:.3f} s a day, of its own"
        f" {(cpu.ru_utime + cpu.ru_stime) / days:.3f} s CPU; memory {early[2] >> 20} MB after"
        f" {early[1]} days, {late[2] >> 20} MB after {late[1]}",
        flush=True,
    )
    return seconds


def _loop(landing: Path, days: Iterable[str], url: str) -> None:
    """DuckDB reads and compares, ADBC copies, and only what changed reaches the mapping."""
    import duckdb

    execute(
        url,
        "CREATE TABLE staging (agent_id bigint, role_id bigint, status text, sync_day text,"
        " source text, ingested_at timestamp)",
        "CREATE TABLE mapping (agent_id bigint, role_id bigint, status text,"
        " assigned_at timestamp, removed_at timestamp, PRIMARY KEY (agent_id, role_id))",
        "CREATE TABLE changes (agent_id bigint, role_id bigint, status text)",
    )
    duck = duckdb.connect()
    duck.execute("CREATE TABLE before (agent_id bigint, role_id bigint)")
    with ArrowConnection(url) as connection:
        for day in days:
            duck.execute("CREATE OR REPLACE TEMP TABLE now (agent_id bigint, role_id bigint)")
            duckdb_pairs(duck, day, landing).insert_into("now")
            moment = f"TIMESTAMP '{day} 06:00'"
            constants = f"'{day}' AS sync_day, 'api' AS source, {moment} AS ingested_at"
            removed = "(FROM before ANTI JOIN now USING (agent_id, role_id))"
            added = "(FROM now ANTI JOIN before USING (agent_id, role_id))"
            for name, status, rows in (
                ("staging", "assigned", "now"),
                ("staging", "removed", removed),
                ("changes", "assigned", added),
                ("changes", "removed", removed),
            ):
                more = f", {constants}" if name == "staging" else ""
                query = f"SELECT agent_id, role_id, '{status}' AS status{more} FROM {rows}"
                connection.ingest("public", name, duck.sql(query).to_arrow_table())
            connection.execute(
                f"""
                INSERT INTO mapping
                SELECT agent_id, role_id, status,
                    CASE WHEN status = 'assigned' THEN at END,
                    CASE WHEN status = 'removed' THEN at END
                FROM (SELECT *, {moment} AS at FROM changes) AS changed
                ON CONFLICT (agent_id, role_id) DO UPDATE SET status = excluded.status,
                    assigned_at = coalesce(excluded.assigned_at, mapping.assigned_at),
                    removed_at = excluded.removed_at
                """
            )
            connection.execute("TRUNCATE changes")
            connection.commit()
            duck.execute("TRUNCATE before; INSERT INTO before FROM now")


def _compare(url: str, days: Mapping[str, set[Pair]]) -> None:
    """Fail if staging, the mapping and the history are not what the days say."""
    staged, history = set(), set()
    begun: dict[Pair, str] = {}
    latest: dict[Pair, tuple[str, str | None]] = {}
    before: set[Pair] = set()
    for day, held in days.items():
        staged |= {(*pair, "assigned", day) for pair in held}
        staged |= {(*pair, "removed", day) for pair in before - held}
        for pair in held - before:
            begun[pair] = day
            latest[pair] = (day, None)
        for pair in before - held:
            latest[pair] = (begun.pop(pair), day)
            history.add((*pair, *latest[pair]))
        before = held
    history |= {(*pair, day, None) for pair, day in begun.items()}
    mapping = {
        (*pair, "removed" if ended else "assigned", began, ended)
        for pair, (began, ended) in latest.items()
    }
    with psycopg.connect(url) as connection:
        for what, query, expected in (
            ("staging", "SELECT agent_id, role_id, status, sync_day FROM stg_agent_roles", staged),
            (
                "the mapping",
                "SELECT agent_id, role_id, status, assigned_at::date::text,"
                " removed_at::date::text FROM agent_role_mapping",
                mapping,
            ),
            (
                "the history",
                "SELECT agent_id, role_id, assigned_on, removed_on FROM agent_role_history",
                history,
            ),
        ):
            rows = connection.execute(query.encode()).fetchall()
            assert len(rows) == len(expected), what
            assert set(rows) == expected, what
    print(f"The tables are those that the {len(days)} days say.", flush=True)


if __name__ == "__main__":
    main()
