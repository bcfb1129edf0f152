"""The transform on its own: a few rows in, what is to be staged and refused out."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from agent_roles_dagster.engines.start import spark_resource, started
from agent_roles_dagster.engines.tasks import Batches, map_in_arrow
from agent_roles_dagster.reading.raw_rows import RAW_ROWS
from agent_roles_dagster.settings import Settings
from agent_roles_dagster.staging.transform import (
    SNAPSHOT_SCHEMA,
    Decision,
    Seen,
    transform_agent_roles,
)
from tests.java import java_for_tests

Pair = tuple[int | None, int | None]
# Decisions by pair.
Decide = Callable[..., dict[Pair, Decision]]
PAIR = (1, 10)
# What the day says of a pair of the day before that it does not have, and of a new one.
LOST = Decision.IN_PREVIOUS | Decision.REMOVED | Decision.STAGE_REMOVED | Decision.IS_CHANGED
NEW = Decision.IN_DAY | Decision.ASSIGNED | Decision.STAGE_ASSIGNED | Decision.IS_CHANGED
# Staged before, as it is still said: nothing is written.
STAGED, SAID = Seen.OLD_ASSIGNED, Seen.KNOWN_ASSIGNED


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    settings = Settings.from_env({"AGENT_ROLES_HOME": str(tmp_path_factory.mktemp("home"))})
    with started(spark_resource(settings), settings) as engine:
        yield engine.session


@pytest.fixture
def transformed(spark: SparkSession) -> Callable[..., list[dict[str, Any]]]:
    """The transform's rows for raw rows and (pair, seen) of snapshots."""

    def transform(
        raw: Iterable[dict[str, Any]],
        snapshots: Iterable[tuple[Pair, Seen]] = (),
        *,
        has_next: bool = False,
    ) -> list[dict[str, Any]]:
        seen = [{"agent_id": a, "role_id": r, "seen": int(s)} for (a, r), s in snapshots]
        found = transform_agent_roles(
            _frame(spark, [{"kind": "row", **row} for row in raw], RAW_ROWS),
            _frame(spark, seen, SNAPSHOT_SCHEMA),
            has_next=has_next,
            partitions=2,
        )
        return [row.asDict() for row in found.collect()]

    return transform


@pytest.fixture
def decide(transformed: Callable[..., list[dict[str, Any]]]) -> Decide:
    def decide(*args: Any, **options: Any) -> dict[Pair, Decision]:
        rows = transformed(*args, **options)
        assert all(row["refused"] is None for row in rows)
        found = {(row["agent_id"], row["role_id"]): Decision(row["decision"]) for row in rows}
        assert len(found) == len(rows), "a row for each pair"
        return found

    return decide


def _frame(spark: SparkSession, rows: list[dict[str, Any]], schema: pa.Schema) -> DataFrame:
    batch = pa.RecordBatch.from_pylist(rows, schema)

    def give(batches: Batches) -> Batches:
        for _ in batches:
            yield batch

    return map_in_arrow(spark.range(0, 1, 1, 1), give, schema)


def _says(pair: Pair = PAIR, status: str | None = None) -> dict[str, Any]:
    """A raw row, as JSON texts."""
    told = None if status is None else json.dumps(status)
    return {"agent": json.dumps(pair[0]), "role": json.dumps(pair[1]), "status": told}


def test_a_pair_that_the_day_before_does_not_have_is_assigned(decide: Decide) -> None:
    assert decide([_says()]) == {PAIR: NEW}


def test_a_pair_that_the_day_before_has_is_staged_and_changes_nothing(decide: Decide) -> None:
    unchanged = Decision.IN_DAY | Decision.IN_PREVIOUS | Decision.STAGE_ASSIGNED
    assert decide([_says()], [(PAIR, Seen.IN_PREVIOUS)]) == {PAIR: unchanged}


def test_a_pair_that_only_the_day_before_has_is_removed(decide: Decide) -> None:
    assert decide([], [(PAIR, Seen.IN_PREVIOUS)]) == {PAIR: LOST}


def test_removed_in_the_dump_means_absent(decide: Decide) -> None:
    assert decide([_says(status="removed")], [(PAIR, Seen.IN_PREVIOUS)]) == {PAIR: LOST}
    assert decide([_says(status="removed")]) == {PAIR: Decision(0)}


def test_assigned_wins_over_removed(decide: Decide) -> None:
    for rows in ([_says(), _says(status="removed")], [_says(status="removed"), _says()]):
        assert decide(rows) == {PAIR: NEW}


def test_duplicates_are_one_pair_and_are_counted(transformed: Any) -> None:
    text_id = {"agent": '" 1 "', "role": "10", "status": None}
    read_fast = {"agent_id": 1, "role_id": 10}
    [row] = transformed([_says(), _says(status="assigned"), text_id, read_fast])
    assert (row["valid_rows"], Decision(row["decision"])) == (4, NEW)


def test_an_invalid_row_is_refused_with_every_rule_it_breaks_and_is_no_pair(
    transformed: Any,
) -> None:
    raw = {"file": "a.json", "record_no": 3, "record": '{"id": 10}'}
    bad = {"agent": "1.5", "role": "10", "status": '"gone"', "raw": raw}
    [row] = transformed([bad])
    refused = json.loads(row["refused"])
    assert (row["agent_id"], row["role_id"], row["decision"]) == (None, 10, 0)
    assert refused["message"] == (
        "agent_id is a number that is no integer; status is neither assigned nor removed"
    )
    assert (refused["kind"], refused["raw"]) == ("row", raw)


def test_an_invalid_row_does_not_keep_a_pair_from_being_removed(transformed: Any) -> None:
    rows = transformed([_says(status="gone")], [(PAIR, Seen.IN_PREVIOUS)])
    assert {(row["refused"] is None, row["decision"]) for row in rows} == {
        (True, int(LOST)),
        (False, 0),
    }


def test_each_invalid_row_is_refused_though_another_is_just_like_it(transformed: Any) -> None:
    raw = {"file": "a.json", "record_no": 3, "record": "{}"}
    twice = [{**_says((1, 10), "gone"), "raw": {**raw, "entry_no": no}} for no in (1, 2)]
    assert len(transformed(twice)) == 2


def test_the_readers_notes_pass_through(transformed: Any) -> None:
    [row] = transformed([{"kind": "unreadable", "problem": "day1/a.json: the file is empty"}])
    assert json.loads(row["refused"])["message"] == "day1/a.json: the file is empty"


def test_the_same_day_again_writes_nothing(decide: Decide) -> None:
    other, gone = (2, 10), (3, 10)
    unchanged = decide(
        [_says(), _says(other)],
        [
            (PAIR, STAGED),
            (PAIR, SAID),
            (other, Seen.IN_PREVIOUS),
            (other, STAGED),
            (gone, Seen.IN_PREVIOUS),
            (gone, Seen.OLD_REMOVED),
            (gone, Seen.KNOWN_REMOVED),
        ],
    )
    assert unchanged == {
        PAIR: Decision.IN_DAY | Decision.ASSIGNED,
        other: Decision.IN_DAY | Decision.IN_PREVIOUS,
        gone: Decision.IN_PREVIOUS | Decision.REMOVED,
    }


def test_a_correction_unstages_what_the_day_does_not_say_any_more(decide: Decide) -> None:
    taken_back = decide([], [(PAIR, STAGED), (PAIR, SAID)])
    assert taken_back == {PAIR: Decision.UNSTAGE | Decision.IS_CHANGED}


def test_a_pair_that_is_back_replaces_its_removal(decide: Decide) -> None:
    seen = [(PAIR, Seen.IN_PREVIOUS), (PAIR, Seen.OLD_REMOVED), (PAIR, Seen.KNOWN_REMOVED)]
    back = Decision.IN_DAY | Decision.IN_PREVIOUS | Decision.STAGE_ASSIGNED
    assert decide([_says()], seen) == {PAIR: back | Decision.UNSTAGE | Decision.IS_CHANGED}


def test_what_somebody_else_staged_is_replaced(decide: Decide) -> None:
    mended = Decision.IN_DAY | Decision.ASSIGNED | Decision.STAGE_ASSIGNED | Decision.UNSTAGE
    for forged in ([(PAIR, STAGED), (PAIR, STAGED)], [(PAIR, Seen.OLD_OTHER)]):
        assert decide([_says()], [*forged, (PAIR, SAID)]) == {PAIR: mended}
    nobody = (None, 10)
    assert decide([], [(nobody, Seen.OLD_ASSIGNED)]) == {nobody: Decision.UNSTAGE}


def test_a_late_day_takes_a_removal_from_the_next_day_or_gives_it_one(decide: Decide) -> None:
    """The next day was compared with an earlier one, which had the pair, or had it not."""
    here = decide([_says()], has_next=True)[PAIR]
    assert here == NEW | (
        Decision.NEXT_STAGE_REMOVED | Decision.NEXT_REMOVED | Decision.NEXT_IS_CHANGED
    )
    was_removed = [(PAIR, Seen.NEXT_REMOVED), (PAIR, Seen.NEXT_KNOWN_REMOVED)]
    gone = decide([], [(PAIR, Seen.IN_PREVIOUS), *was_removed], has_next=True)[PAIR]
    assert gone == LOST | Decision.NEXT_UNSTAGE | Decision.NEXT_IS_CHANGED


def test_the_next_day_assigns_what_this_day_has_not(decide: Decide) -> None:
    seen = [(PAIR, Seen.IN_PREVIOUS), (PAIR, Seen.NEXT_ASSIGNED)]
    assert decide([], seen, has_next=True)[PAIR] == LOST | (
        Decision.IN_NEXT | Decision.NEXT_ASSIGNED | Decision.NEXT_IS_CHANGED
    )
    known = [(PAIR, Seen.NEXT_ASSIGNED), (PAIR, Seen.NEXT_KNOWN_ASSIGNED)]
    assert decide([_says()], known, has_next=True)[PAIR] == NEW | (
        Decision.IN_NEXT | Decision.NEXT_IS_CHANGED
    )


def test_a_removal_of_the_next_day_that_still_holds_is_left_alone(decide: Decide) -> None:
    known = [(PAIR, Seen.NEXT_REMOVED), (PAIR, Seen.NEXT_KNOWN_REMOVED)]
    assert decide([_says()], known, has_next=True)[PAIR] == NEW | Decision.NEXT_REMOVED


def _decided(master: str, folder: Path) -> list[dict[str, Any]]:
    file = folder / f"{master}.json"
    # Without what the session of this module's other tests has set for this process.
    env = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_")}
    env |= {"AGENT_ROLES_SPARK_MASTER": master, "AGENT_ROLES_HOME": str(folder / "home")}
    subprocess.run(
        [sys.executable, "-m", "tests.parity", str(file)],
        env={**env, "JAVA_HOME": java_for_tests()},
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(file.read_text())
    return found


def test_sail_and_apache_spark_decide_the_same_of_thousands_of_rows(tmp_path: Path) -> None:
    sail, spark = _decided("sail", tmp_path), _decided("local[2]", tmp_path)
    for ours, theirs in zip(sail, spark, strict=True):
        assert ours == theirs
    kinds = {row["refused"] and row["refused"]["message"] for row in sail}
    assert len(sail) > 5000
    assert len(kinds) > 40, "many rules are broken, alone and together"
