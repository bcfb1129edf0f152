"""`python -m tests.parity FILE`: what becomes of generated rows in the transform, on one engine.

The rows are the same at each call. The file gets a JSON list of what came of them.
"""

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from agent_roles_dagster.engines.start import spark_resource, started
from agent_roles_dagster.engines.tasks import Batches, map_in_arrow
from agent_roles_dagster.reading.raw_rows import NO_HOLDERS, NO_KNOWN_KEYS, NOT_AN_OBJECT, RAW_ROWS
from agent_roles_dagster.settings import Settings
from agent_roles_dagster.staging.transform import SNAPSHOT_SCHEMA, Seen, transform_agent_roles

ROWS = 6000
_BLANKS = " \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u202f\u3000\ufeff\u200b"
_DIGITS = ["0", "7", "-7", "-0", "00", "+7", "7.0", "1e3", "7-", "٧", "７", "²", "1_000", "0x7"]
_DIGITS += [str(2**63 - 1), str(2**63), str(-(2**63)), str(-(2**63) - 1), "9" * 40, "--7", "-"]
_TEXTS = ["null", "true", "false", "{}", "[]", "[1]", '{"id": 1}', '""', '"null"', '"', "'7'"]
_TEXTS += ['"\\u0000"', '"\\ud800"', '"a;b"', '"$1"', '"\\\\"', '"%"', '"日本\U0001f600"', "", "é"]
_STATUSES = ['"assigned"', '"removed"', "null", '"Assigned"', '" assigned"', '"assigned\n"', "1"]
_PROBLEMS = [NO_HOLDERS, NO_KNOWN_KEYS, NOT_AN_OBJECT, "agents is null", "roles is no list", "'\n"]


def raw_rows(chance: random.Random) -> Iterator[dict[str, Any]]:
    """Rows that a reader could give, and many that it never does."""
    for number in range(ROWS):
        if chance.random() < 0.3:
            ids = {"agent_id": chance.randrange(40), "role_id": chance.randrange(5)}
            yield {"kind": "row", **ids}
            continue
        row: dict[str, Any] = {
            "kind": chance.choice(["row"] * 30 + ["file", "unreadable", "not read"]),
            "agent": _id(chance),
            "role": _id(chance),
            "status": chance.choice([None] * 5 + _STATUSES),
            "problem": chance.choice([None] * 9 + [chance.choice(_PROBLEMS)]),
        }
        raw = {"file": _text(chance), "record_no": number, "record": _text(chance)}
        yield row | {"raw": chance.choice([None, raw, raw | {"entry_no": 1, "entry": "\x7f\v"}])}


def _id(chance: random.Random) -> str | None:
    kind = chance.random()
    if kind < 0.4:
        return str(chance.randrange(40))
    if kind < 0.5:
        return None
    text = chance.choice(_DIGITS)
    if kind < 0.8:
        before, after = (chance.choice(["", "", chance.choice(_BLANKS)]) for _ in range(2))
        return f'"{before}{text}{after}"'
    return chance.choice([text, _text(chance)])


def _text(chance: random.Random) -> str:
    return chance.choice(_TEXTS) + chance.choice(["", "", chance.choice(_BLANKS)])


def snapshot_rows(chance: random.Random) -> Iterator[dict[str, Any]]:
    for _ in range(ROWS // 10):
        seen = chance.choice([flag for flag in Seen if flag and flag < Seen.IN_ROW])
        ids = {"agent_id": chance.randrange(60), "role_id": chance.choice([None, *range(6)])}
        yield {**ids, "seen": int(seen)}


def main(file: Path) -> None:
    raw = pa.RecordBatch.from_pylist(list(raw_rows(random.Random(1))), RAW_ROWS)
    snapshots = pa.RecordBatch.from_pylist(list(snapshot_rows(random.Random(2))), SNAPSHOT_SCHEMA)

    def give(batch: pa.RecordBatch) -> Any:
        def give_it(batches: Batches) -> Batches:
            for _ in batches:
                yield batch

        return give_it

    settings = Settings.from_env()
    found = []
    with started(spark_resource(settings), settings) as engine:
        one = engine.session.range(0, 1, 1, 1)
        for has_next in (False, True):
            decided = transform_agent_roles(
                map_in_arrow(one, give(raw), RAW_ROWS),
                map_in_arrow(one, give(snapshots), SNAPSHOT_SCHEMA),
                has_next=has_next,
                partitions=3,
            )
            for row in decided.collect():
                # Engines write an escape as \\u000b or \\u000B.
                refused = row["refused"] and json.loads(row["refused"])
                found.append({**row.asDict(), "refused": refused, "has_next": has_next})
    file.write_text(json.dumps(sorted(found, key=json.dumps)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
