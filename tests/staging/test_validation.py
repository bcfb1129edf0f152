"""The rules that a raw row must keep, as Spark applies them: one session, one job for all rows."""

import re
from array import array
from collections.abc import Iterator
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from agent_roles_dagster.engines.start import spark_resource, started
from agent_roles_dagster.reading.ids import parse_id, parse_ids
from agent_roles_dagster.reading.raw_rows import NO_HOLDERS, NO_KNOWN_KEYS, NOT_AN_OBJECT
from agent_roles_dagster.reading.sides import AGENT, ROLE, Side
from agent_roles_dagster.settings import Settings
from agent_roles_dagster.staging.validation import id_value, message, status_value

# JSON text of an id -> its BIGINT, or what is wrong with it. Texts' escapes are resolved.
IDS: dict[str | None, int | str] = {
    "0": 0,
    "-0": 0,
    "7": 7,
    "-7": -7,
    "9007199254740993": 2**53 + 1,
    "9223372036854775807": 2**63 - 1,
    "-9223372036854775808": -(2**63),
    '"42"': 42,
    '"-42"': -42,
    '"-0"': 0,
    '" 7 "': 7,
    '"\t7"': 7,
    '"7\n"': 7,
    '"\x0b7\x0c"': 7,
    '"\x0c \n\r\t\x0b-7\n"': -7,
    '"\r\n 7 \t"': 7,
    '"9223372036854775807"': 2**63 - 1,
    '"-9223372036854775808"': -(2**63),
    "9223372036854775808": "beyond BIGINT",
    "-9223372036854775809": "beyond BIGINT",
    "18446744073709551617": "beyond BIGINT",
    '"9223372036854775808"': "beyond BIGINT",
    '" -9223372036854775809 "': "beyond BIGINT",
    "9" * 5000: "beyond BIGINT",
    f'"{"9" * 5000}"': "beyond BIGINT",
    "1.0": "a number that is no integer",
    "1.5": "a number that is no integer",
    "-0.0": "a number that is no integer",
    "1e3": "a number that is no integer",
    "1E3": "a number that is no integer",
    "1e400": "a number that is no integer",
    "1e200000": "a number that is no integer",
    "1e-5": "a number that is no integer",
    '""': "text that is no integer",
    '" "': "text that is no integer",
    '"007"': "text that is no integer",
    '"-07"': "text that is no integer",
    '"+7"': "text that is no integer",
    '"--7"': "text that is no integer",
    '"- 7"': "text that is no integer",
    '"1 2"': "text that is no integer",
    '"1_0"': "text that is no integer",
    '"1,0"': "text that is no integer",
    '"1.0"': "text that is no integer",
    '"1e3"': "text that is no integer",
    '"0x1F"': "text that is no integer",
    '"7L"': "text that is no integer",
    '"abc"': "text that is no integer",
    '"null"': "text that is no integer",
    '"true"': "text that is no integer",
    '"[7]"': "text that is no integer",
    '""7""': "text that is no integer",
    '"7\n8"': "text that is no integer",
    '"7"\n': "text that is no integer",
    '"\x1c7"': "text that is no integer",
    '"7\x1f"': "text that is no integer",
    '"\x857"': "text that is no integer",
    '"7\u2028"': "text that is no integer",
    '"\ufeff7"': "text that is no integer",
    '"\u30007"': "text that is no integer",
    '"\x7f7"': "text that is no integer",
    '"٧"': "text that is no integer",
    '"７"': "text that is no integer",
    '"−7"': "text that is no integer",
    '"\u00a07"': "text that is no integer",
    '"7\u2003"': "text that is no integer",
    '"7\u200b"': "text that is no integer",
    '"7\x00"': "text that is no integer",
    '"\x007"': "text that is no integer",
    '"7\\ud800"': "text that is no integer",
    "true": "a boolean, not an integer",
    "false": "a boolean, not an integer",
    "null": "null",
    None: "missing",
    "[]": "a list, not an integer",
    "[7]": "a list, not an integer",
    "{}": "an object, not an integer",
    '{"id": 7}': "an object, not an integer",
}

STATUSES: dict[str | None, str | None] = {
    None: "assigned",
    '"assigned"': "assigned",
    '"removed"': "removed",
    **dict.fromkeys(
        (
            '"Assigned"', '"REMOVED"', '" assigned"', '"assigned "', '"assigned\n"', '""', '"null"',
            '""assigned""', '""assigned"', '"assigned\x00"', "assigned", "removed", "1", "0",
            "true", "false", '["assigned"]', '{"status": "assigned"}', '"active"', '"\\ud800"',
        )
    ),
    "null": None,
}  # fmt: skip

# (agent, role, status, problem) -> message.
ROWS: dict[tuple[str | None, ...], str | None] = {
    ("1", "10", None, None): None,
    ('"1"', '" 10 "', '"removed"', None): None,
    ("null", "10", None, None): "agent_id is null",
    ("1.5", "true", '"paused"', None): "agent_id is a number that is no integer;"
    " role_id is a boolean, not an integer; status is neither assigned nor removed",
    (None, None, "null", None): "agent_id is missing; role_id is missing; status is null",
    ("1", "10", '""', None): "status is neither assigned nor removed",
    # Each id that is there is looked at, and so is the record's own beside a broken list.
    (None, None, None, "the line is no JSON"): "the line is no JSON",
    (None, "10", None, NO_HOLDERS): NO_HOLDERS,
    (None, '"x"', None, NO_HOLDERS): f"{NO_HOLDERS}; role_id is text that is no integer",
    ("null", None, None, "role_ids is null"): "role_ids is null; agent_id is null",
    (None, None, None, "role_ids is no list"): "role_ids is no list; agent_id is missing",
    (None, None, None, "agents is null"): "agents is null; role_id is missing",
    (None, None, None, "agent_ids is null"): "agent_ids is null; role_id is missing",
    (None, "10", None, "agents is null"): "agents is null",
    ("1", None, None, "role_ids is null"): "role_ids is null",
    # An id that is given twice is not missing, too; the other is looked at.
    (None, "10", None, "agent_id is given twice"): "agent_id is given twice",
    (None, None, "1", "agent_id is given twice"): "agent_id is given twice; role_id is missing;"
    " status is neither assigned nor removed",
    ("1", None, None, "role_id is given twice"): "role_id is given twice",
    ("1", "10", None, "status is given twice"): "status is given twice",
    (None, "x", None, "status is given twice"): "status is given twice; agent_id is missing;"
    " role_id is a number that is no integer",
    (None, None, None, "the record gives agents twice"): "the record gives agents twice",
    # What a record can't give, since it says nothing at all, is not missed a second time.
    (None, None, None, NOT_AN_OBJECT): NOT_AN_OBJECT,
    (None, None, None, NO_KNOWN_KEYS): NO_KNOWN_KEYS,
    ("1", None, None, NO_KNOWN_KEYS): NO_KNOWN_KEYS,
}


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    settings = Settings.from_env({"AGENT_ROLES_HOME": str(tmp_path_factory.mktemp("home"))})
    with started(spark_resource(settings), settings) as engine:
        yield engine.session


@pytest.fixture(scope="module")
def checked(spark: SparkSession) -> dict[tuple[str | None, ...], Any]:
    """What becomes of each row, by the row."""
    rows = [
        *((text, "1", None, None) for text in IDS),
        *(("1", text, None, None) for text in IDS),
        *(("1", "1", text, None) for text in STATUSES),
        *ROWS,
    ]
    raw: DataFrame = spark.createDataFrame(
        rows, "agent string, role string, status string, problem string"
    )
    results = raw.select(
        "*",
        id_value("agent").alias("agent_id"),
        id_value("role").alias("role_id"),
        status_value("status").alias("status_value"),
        message("agent", "role", "status", "problem").alias("message"),
    ).collect()
    return {tuple(row)[:4]: row for row in results}


def short(text: Any) -> str:
    return ascii(text)[:40]


@pytest.mark.parametrize(("text", "meaning"), IDS.items(), ids=map(short, IDS))
def test_an_id_is_an_integer_within_bigint_or_text_that_is_one(
    checked: dict[tuple[str | None, ...], Any], text: str | None, meaning: int | str
) -> None:
    agent, role = checked[text, "1", None, None], checked["1", text, None, None]
    if isinstance(meaning, int):
        assert (agent["agent_id"], agent["role_id"], agent["message"]) == (meaning, 1, None)
        assert (role["agent_id"], role["role_id"], role["message"]) == (1, meaning, None)
    else:
        assert (agent["agent_id"], agent["message"]) == (None, f"agent_id is {meaning}")
        assert (role["role_id"], role["message"]) == (None, f"role_id is {meaning}")
        assert (agent["role_id"], role["agent_id"]) == (1, 1), "the other id is read"


@pytest.mark.parametrize(("text", "meaning"), IDS.items(), ids=map(short, IDS))
def test_the_readers_fast_way_takes_no_id_that_is_none_and_gives_each_its_value(
    text: str | None, meaning: int | str
) -> None:
    exact = None if text is None else text.encode()
    parsed = [parse_id(exact), *(_in_a_list(side, exact) for side in (ROLE, AGENT))]
    parsed += [_in_an_object(side, exact) for side in (ROLE, AGENT)]
    is_plain = text is not None and re.fullmatch(r'("?)-?[0-9]+\1', text)
    if isinstance(meaning, int) and is_plain:
        assert parsed == [meaning] * 5
    assert set(parsed) <= {None, meaning}


def _in_a_list(side: Side, text: bytes | None) -> int | None:
    if text is None or text[:1] == b"{" or text != text.strip():
        return None  # an entry of another kind, or no JSON text
    return _only(parse_ids(side, b"[" + text + b"]"))


def _in_an_object(side: Side, text: bytes | None) -> int | None:
    if text is None or text != text.strip():
        return None
    key = side.entry_keys[0].encode()
    return _only(parse_ids(side, b'[{"' + key + b'": ' + text + b"}]"))


def _only(found: "tuple[array[int], list[int]] | None") -> int | None:
    return found[0][0] if found and found[0] else None


@pytest.mark.parametrize(("text", "status"), STATUSES.items(), ids=map(short, STATUSES))
def test_a_status_is_absent_assigned_or_removed_to_the_letter(
    checked: dict[tuple[str | None, ...], Any], text: str | None, status: str | None
) -> None:
    row = checked["1", "1", text, None]
    assert row["status_value"] == status
    assert (row["agent_id"], row["role_id"]) == (1, 1)
    if status is not None:
        assert row["message"] is None
    elif text == "null":
        assert row["message"] == "status is null"
    else:
        assert row["message"] == "status is neither assigned nor removed"


@pytest.mark.parametrize(("row", "said"), ROWS.items(), ids=map(short, ROWS))
def test_a_message_names_every_broken_rule(
    checked: dict[tuple[str | None, ...], Any], row: tuple[str | None, ...], said: str | None
) -> None:
    assert checked[row]["message"] == said
