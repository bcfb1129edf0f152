"""Small worlds for the tests that run the real command in processes of its own."""

import errno
import json
import math
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agent_roles_dagster.landing.files import DumpFile

TABLES = {
    "staging": "SELECT agent_id, role_id, status, sync_day, source FROM stg_agent_roles",
    "errors": "SELECT sync_day, agent_id, role_id, error_message, raw_record::text"
    " FROM agent_role_pipeline_errors",
    "mapping": "SELECT * FROM agent_role_mapping",
    "history": "SELECT * FROM agent_role_history",
    "days": "SELECT sync_day, day_no, digest, files, observed_at, records, raw_rows, valid_pairs,"
    " duplicates, invalid_rows, error_rows, assigned, removed, accepted_reason"
    " FROM agent_role_sync_days",
}
Tables = dict[str, list[tuple[Any, ...]]]


def break_disk(monkeypatch: pytest.MonkeyPatch, sync_day: str, *, times: float = math.inf) -> None:
    """The next reads of the day's files fail, as from a broken disk."""
    opened = DumpFile.open
    failed = []

    def fail(file: DumpFile) -> Any:
        if f"/{sync_day}/" in file.path and len(failed) < times:
            failed.append(file)
            raise OSError(errno.EIO, "as a broken disk")
        return opened(file)

    monkeypatch.setattr(DumpFile, "open", fail)


def write_day(
    landing: Path, sync_day: str, seed: int, *, agents: int = 40, clean: bool = False
) -> None:
    """Land a dump for the day: every agent in some of five roles, if not clean a few invalid."""
    chance = random.Random(seed)
    folder = landing / sync_day
    folder.mkdir(parents=True, exist_ok=True)
    for role in range(1, 6):
        held = [agent for agent in range(agents) if chance.random() < 0.5]
        invalid = [None] * (0 if clean else chance.randrange(3))
        record = {"id": role, "agents": held + held[:2] + invalid}
        write_atomically(folder / f"{role}.json", json.dumps([record]))
    number = int("".join(filter(str.isdigit, sync_day)))
    moment = (datetime(2026, 1, 1, 6, tzinfo=UTC) + timedelta(days=number - 1)).isoformat()
    files = [{"name": f"{role}.json"} for role in range(1, 6)]
    manifest = json.dumps({"observed_at": moment, "files": files})
    write_atomically(folder / "_manifest.json", manifest)


def dump_for_several_tasks(agents: range) -> dict[str, bytes]:
    """Files of few pairs that are long enough for two tasks to read them, and five to load them.

    Both the roles 0 and 1 have all the agents, some of them twice, and five invalid ones each.
    """
    held = [*agents, *agents[:10], *["?"] * 5]
    return {
        f"{role}.json": json.dumps([{"id": role, "agents": held}]).encode().ljust(9 << 20)
        for role in range(2)
    }


def with_bulk(url: str, setting: str) -> str:
    """The URL, with indexes built at the end of each run that adds rows ("on"), or of none."""
    return f"{url}&options=-cagent_roles.bulk%3D{setting}"


def write_atomically(path: Path, text: str) -> None:
    part = path.with_name(f"_{path.name}.part")
    part.write_text(text)
    part.replace(path)


def tables(database: str) -> Tables:
    """The tables' contents without load times and serial ids, read in one snapshot."""
    with psycopg.connect(database) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        found = {
            name: sorted(connection.execute(query.encode()).fetchall(), key=repr)
            for name, query in TABLES.items()
        }
    return found
