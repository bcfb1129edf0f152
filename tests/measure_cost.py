"""What a day with 1 % change costs the mapping and the history, by their size and by the days.

    python -m tests.measure_cost postgresql://user@host/empty_database

Prints rows written and pages touched (buffers of table and indexes, hit or read) in each table
while the day is published and applied. Work that grows with the tables, or with the number of
staged days, shows as a column that grows faster than the change.
"""

import itertools
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import psycopg

from agent_roles_dagster.engines.start import spark_resource, started
from agent_roles_dagster.mapping.apply import apply_day
from agent_roles_dagster.settings import Settings
from agent_roles_dagster.staging.stage import stage_day

TABLES = ("agent_role_mapping", "agent_role_changes")
QUERY = """
    SELECT s.relname,
        s.n_tup_ins + s.n_tup_upd + s.n_tup_del AS rows_written,
        io.heap_blks_hit + io.heap_blks_read
        + coalesce(io.idx_blks_hit + io.idx_blks_read, 0) AS pages
    FROM pg_stat_user_tables AS s JOIN pg_statio_user_tables AS io USING (relid)
    WHERE s.relname = ANY(%s)
"""


def main(url: str, landing: Path) -> None:
    settings = Settings.from_env({"AGENT_ROLES_LANDING": str(landing)})

    def run(day: str) -> None:
        stage_day(
            settings,
            url,
            lambda: started(spark_resource(settings), settings),
            day,
            sealed=None,
            run_id="measure",
            accept_removals=None,
            say=print,
        )
        apply_day(url, day, "measure", say=print)

    print("| pairs | staged days | changed | table | rows written | pages touched |")
    print("|---|---|---|---|---|---|")
    for pairs, days in itertools.product((10_000, 100_000, 1_000_000), (3, 30)):
        with psycopg.connect(url) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        chance = random.Random(1)
        held = set(range(pairs))
        for number in range(1, days + 1):
            if number > 1:
                gone = chance.sample(sorted(held), pairs // 200)
                new = range(pairs * number, pairs * number + pairs // 200)
                held = held.difference(gone).union(new)
            _land(landing, f"day{number}", held)
            if number == days:
                before = _counters(url)
            run(f"day{number}")
        after = _counters(url)
        for table in TABLES:
            written, pages = (a - b for a, b in zip(after[table], before[table], strict=True))
            print(f"| {pairs:,} | {days} | {pairs // 100:,} | {table} | {written:,} | {pages:,} |")
        shutil.rmtree(landing)
        landing.mkdir()


def _land(landing: Path, day: str, held: set[int]) -> None:
    roles: dict[int, list[int]] = {}
    for pair in held:
        roles.setdefault(pair % 100, []).append(pair // 100)
    folder = landing / day
    folder.mkdir(parents=True)
    records = [{"id": role, "agents": agents} for role, agents in roles.items()]
    (folder / "roles.json").write_text(json.dumps(records))


def _counters(url: str) -> dict[str, tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(QUERY.encode(), (list(TABLES),)).fetchall()
    return {row[0]: row[1:] for row in rows}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(sys.argv[1], Path(folder))
