"""Which agent holds which role, by the keys of a record and of an entry."""

from pathlib import Path

import pytest

from agent_roles_dagster.reading.raw_rows import (
    NO_HOLDERS,
    NO_KNOWN_KEYS,
    NOT_AN_OBJECT,
)
from tests.reading.reader import RECORD, one, read


@pytest.mark.parametrize("line", ["null", "7", '"text"', "[]", f"[{RECORD}]", "true", "-1.5e3"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_record_that_is_no_object_is_one_invalid_row(
    tmp_path: Path, line: str, name: str
) -> None:
    found = read(tmp_path, f"[{line}]" if name == "a.json" else line, name)
    assert found.said() == [(None, None, None)]
    assert found.problems() == [NOT_AN_OBJECT]
    assert found.rows[0]["raw"]["record"] == line


@pytest.mark.parametrize(
    ("record", "said"),
    [
        # An assignment comes first.
        ('{"agent_id": 1, "role_id": 10}', [("1", "10", None)]),
        ('{"agent_id": 1, "role_id": 10, "id": 99}', [("1", "10", None)]),
        ('{"agent_id": 1, "role_id": 10, "agents": [5], "role_ids": [6]}', [("1", "10", None)]),
        ('{"agent_id": 1, "role_id": 10, "status": "removed"}', [("1", "10", '"removed"')]),
        ('{"agent_id": 1, "role_id": 10, "status": null}', [("1", "10", "null")]),
        ('{"agent_id": null, "role_id": 10, "agents": [5]}', [("null", "10", None)]),
        ('{"agent_id": 1, "role_id": null, "id": 10}', [("1", "null", None)]),
        # Then a role, which lists its agents.
        ('{"id": 10, "agents": [1, 2]}', [("1", "10", None), ("2", "10", None)]),
        ('{"id": 10, "agent_ids": [1]}', [("1", "10", None)]),
        ('{"role_id": 10, "agents": [1]}', [("1", "10", None)]),
        ('{"id": 10, "role_id": 11, "agents": [1]}', [("1", "10", None)]),
        ('{"id": null, "role_id": 11, "agents": [1]}', [("1", "null", None)]),
        ('{"agents": [1], "agent_id": 5}', [("1", None, None)]),
        ('{"id": 10, "agents": [1], "role_ids": [7], "roles": [8]}', [("1", "10", None)]),
        ('{"id": 10, "agents": [{"id": 1}, {"agent_id": 2}, 3, "4"]}',
         [("1", "10", None), ("2", "10", None), ("3", "10", None), ('"4"', "10", None)]),
        ('{"id": 10, "agents": [{"id": 1, "agent_id": 2}]}', [("1", "10", None)]),
        ('{"id": 10, "agents": [{"id": null, "agent_id": 2}]}', [("null", "10", None)]),
        ('{"id": 10, "agents": [{"role_id": 2}]}', [(None, "10", None)]),
        ('{"id": 10, "agents": [{}]}', [(None, "10", None)]),
        ('{"id": 10, "agents": [{"id": 1, "status": "removed"}, {"id": 2}]}',
         [("1", "10", '"removed"'), ("2", "10", None)]),
        ('{"id": 10, "status": "removed", "agents": [1]}', [("1", "10", None)]),
        ('{"id": 10, "agents": [], "roles": [1]}', []),
        ('{"id": "x", "agents": []}', []),
        # Then an agent, which lists its roles or has one.
        ('{"id": 1, "role_ids": [10, 11]}', [("1", "10", None), ("1", "11", None)]),
        ('{"agent_id": 1, "role_ids": [10]}', [("1", "10", None)]),
        ('{"id": 1, "agent_id": 2, "role_ids": [10]}', [("1", "10", None)]),
        ('{"id": 1, "roles": [10]}', [("1", "10", None)]),
        ('{"id": 1, "role_ids": [10], "roles": [11], "role_id": 12}', [("1", "10", None)]),
        ('{"id": 1, "roles": [11], "role_id": 12}', [("1", "11", None)]),
        ('{"id": 1, "roles": null, "role_id": 12}', [("1", "12", None)]),
        ('{"id": 1, "roles": "all", "role_id": 12}', [("1", "12", None)]),
        ('{"id": 1, "roles": [{"role_id": 10, "id": 3}, {"id": 11}, {"role_id": null, "id": 4}]}',
         [("1", "10", None), ("1", "11", None), ("1", "null", None)]),
        ('{"id": 1, "roles": [{"role_id": 10, "status": "removed"}]}', [("1", "10", '"removed"')]),
        ('{"id": 1, "role_ids": []}', []),
        ('{"id": 1, "role_id": 10}', [("1", "10", None)]),
        ('{"id": 1, "role_id": 10, "status": "removed"}', [("1", "10", None)]),
        ('{"role_id": 10}', [(None, "10", None)]),
        ('{"id": null, "role_id": 10}', [("null", "10", None)]),
        # Keys are known by their meaning; one that decides nothing may be given twice.
        ('{"\\u0069d": 10, "ag\\u0065nts": [1]}', [("1", "10", None)]),
        ('{"id": 10, "agents": [{"id": 1, "n": 2, "n": 3}], "name": "a", "name": "b"}',
         [("1", "10", None)]),
        ('{"id": 10, "agents": [{"id": 1, "agent_id": 2, "agent_id": 3, "in": {"id": 4}}]}',
         [("1", "10", None)]),
        ('{"ID": 3, "id": 10, "Agents": [2], "agents": [1]}', [("1", "10", None)]),
    ],
)  # fmt: skip
def test_a_record_says_who_holds_which_role_by_its_keys(
    tmp_path: Path, record: str, said: list[tuple[str | None, ...]]
) -> None:
    found = read(tmp_path, f"[{record}]")
    assert found.said() == said
    assert set(found.problems()) <= {None}
    assert found.summary is not None
    assert found.summary["records"] == 1


@pytest.mark.parametrize(
    ("record", "ids", "problem"),
    [
        ('{"id": 10}', (None, "10"), NO_HOLDERS),
        ('{"id": 10, "name": "x", "status": "removed"}', (None, "10"), NO_HOLDERS),
        ('{"id": 10, "roles": null}', (None, "10"), NO_HOLDERS),
        ("{}", (None, None), NO_KNOWN_KEYS),
        ('{"name": "x"}', (None, None), NO_KNOWN_KEYS),
        ('{"agent_id": 1}', ("1", None), NO_KNOWN_KEYS),
        ('{"agent": {"id": 1}, "role": {"id": 10}}', (None, None), NO_KNOWN_KEYS),
        ('{"id": 10, "agents": null}', (None, "10"), "agents is null"),
        ('{"id": 10, "agents": 1}', (None, "10"), "agents is no list"),
        ('{"id": 10, "agents": "[1]"}', (None, "10"), "agents is no list"),
        ('{"id": 10, "agents": {"id": 1}}', (None, "10"), "agents is no list"),
        ('{"id": 10, "agent_ids": false}', (None, "10"), "agent_ids is no list"),
        ('{"id": 10, "agents": null, "agent_ids": [1]}', (None, "10"), "agents is null"),
        ('{"id": 1, "role_ids": null}', ("1", None), "role_ids is null"),
        ('{"id": 1, "role_ids": {}, "roles": [10]}', ("1", None), "role_ids is no list"),
        ('{"agents": null}', (None, None), "agents is null"),
    ],
)
def test_a_record_that_gives_no_pair_is_one_invalid_row_with_the_ids_it_has(
    tmp_path: Path, record: str, ids: tuple[str | None, ...], problem: str
) -> None:
    row = one(tmp_path, record)
    assert (row["agent"], row["role"], row["status"], row["problem"]) == (*ids, None, problem)
    assert row["raw"] == {
        "file": "a.json", "record_no": 1, "entry_no": None, "entry": None, "record": record,
    }  # fmt: skip


@pytest.mark.parametrize("key", ["id", "agent_id", "role_id", "agents", "agent_ids", "roles",
                                 "role_ids", "status"])  # fmt: skip
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_record_that_gives_a_deciding_key_twice_is_one_invalid_row_without_ids(
    tmp_path: Path, key: str, name: str
) -> None:
    members = [
        '"id": 1',
        '"agents": [2]',
        f'"{key}": 5',
        f'"{key[:1]}\\u00{ord(key[1]):x}{key[2:]}": [5]',
    ]
    record = f"{{{', '.join(members)}}}"
    found = read(tmp_path, record, name)
    assert found.said() == [(None, None, None)]
    assert found.problems() == [f"the record gives {key} twice"]
    assert found.rows[0]["raw"]["record"] == record


@pytest.mark.parametrize(
    ("entry", "said", "problem"),
    [
        ('{"id": 1, "id": 1}', (None, "10", None), "agent_id is given twice"),
        ('{"id": 1, "\\u0069d": 2}', (None, "10", None), "agent_id is given twice"),
        ('{"agent_id": 1, "agent_id": 2}', (None, "10", None), "agent_id is given twice"),
        ('{"id": 1, "id": 2, "status": "x"}', (None, "10", '"x"'), "agent_id is given twice"),
        ('{"id": 1, "status": "removed", "status": "assigned"}', ("1", "10", None),
         "status is given twice"),
        ('{"id": 1, "id": 2, "status": 1, "status": 2}', (None, "10", None),
         "agent_id is given twice; status is given twice"),
    ],
)  # fmt: skip
def test_an_entry_that_gives_its_id_or_its_status_twice_is_an_invalid_row_of_its_own(
    tmp_path: Path, entry: str, said: tuple[str | None, ...], problem: str
) -> None:
    for before in (0, 1, 70):
        others = ", ".join([*['{"id": 7}'] * before, entry])
        found = read(tmp_path, f'[{{"id": 10, "agents": [{others}]}}]')
        assert found.said()[-1] == said
        assert found.problems()[-1] == problem
        assert found.said()[:-1] == [("7", "10", None)] * before
        assert found.rows[-1]["raw"]["entry"] == entry


def test_an_entry_keeps_its_text_and_its_place(tmp_path: Path) -> None:
    entry = '{"id" : 1.50,  "n": "\\u0041", "x": [1 ,2]}'
    record = f'{{"id":  10, "agents": [7, {entry} , "x"], "name": "R\\u00f4le",  "agents_no": 1e2}}'
    found = read(tmp_path, f"[{RECORD}, {record}]")
    kept = [row["raw"] for row in found.rows if row["raw"]["record_no"] == 2]
    assert [(raw["record_no"], raw["entry_no"]) for raw in kept] == [(2, 1), (2, 2), (2, 3)]
    assert [raw["entry"] for raw in kept] == ["7", entry, '"x"']
    rest = '{"id": 10, "name": "R\\u00f4le", "agents_no": 1e2}'
    assert {raw["record"] for raw in kept} == {rest}
    assert {raw["file"] for raw in kept} == {"a.json"}


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_ids_nested_a_hundred_deep_are_lists_and_refused_as_such(tmp_path: Path, name: str) -> None:
    deep = "[" * 100 + "]" * 100
    found = read(tmp_path, f'{{"id": {deep}, "agents": [{deep}, 7]}}', name)
    assert found.unreadable is None
    assert found.said() == [(deep, deep, None), ("7", deep, None)]
