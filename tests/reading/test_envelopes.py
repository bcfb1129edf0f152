"""Which records a document holds, and when it is no dump."""

import gzip
import re
from pathlib import Path

import pytest

from agent_roles_dagster.reading.raw_rows import (
    NO_KNOWN_KEYS,
)
from tests.reading.reader import RECORD, read
from tests.reading.texts import short


@pytest.mark.parametrize(
    "document",
    [
        "[{}]",
        "{}",
        '{{"roles": [{}]}}',
        '{{"agents": [{}]}}',
        '{{"data": [{}]}}',
        '{{"data": [{}], "page": 1, "links": {{"next": null}}}}',
        '{{"role": {}}}',
        '{{"agent": {}}}',
        '{{"role": {}, "links": {{}}}}',
        '{{"data": [{}], "role": 1, "roles": null}}',
        '{{"roles": [{}], "agents": null, "data": {{}}}}',
        '{{"r\\u006fles": [{}]}}',
        "\n[ {} ]\n",
        "\ufeff[{}]",
    ],
    ids=short,
)
@pytest.mark.parametrize("is_zipped", [False, True])
def test_a_document_is_an_array_a_lone_record_or_an_envelope(
    tmp_path: Path, document: str, is_zipped: bool
) -> None:
    data = document.format(RECORD).encode()
    if is_zipped:
        data = gzip.compress(data[:7]) + gzip.compress(data[7:])
    found = read(tmp_path, data, "a.json.gz" if is_zipped else "a.json")
    assert found.said() == [("1", "10", None)]
    assert found.summary is not None
    assert found.summary["records"] == 1


@pytest.mark.parametrize("document", ["[]", '{"roles": []}', '{"agents": []}', '{"data": []}'])
def test_a_document_may_have_no_records(tmp_path: Path, document: str) -> None:
    found = read(tmp_path, document)
    assert found.said() == []
    assert found.summary is not None
    assert found.summary["records"] == 0


@pytest.mark.parametrize(
    ("document", "said"),
    [
        # Beside an id, `roles` and `agents` are a record's.
        ('{"id": 1, "roles": [10]}', ("1", "10", None)),
        ('{"id": 10, "agents": [{"id": 1, "agents": [2]}]}', ("1", "10", None)),
        ('{"agent_id": 1, "roles": [{"id": 10, "agents": [2]}]}', ("1", "10", None)),
        ('{"role_id": 10, "agents": [1]}', ("1", "10", None)),
        ('{"agent_id": 1, "role_id": 10, "data": [{"id": 3}]}', ("1", "10", None)),
        ('{"id": 1, "role_id": 10, "data": []}', ("1", "10", None)),
        ('{"agent_ids": [1]}', ("1", None, None)),
        ('{"role_ids": [10], "data": []}', (None, "10", None)),
        ('{"id": 10}', (None, "10", None)),
        ('{"role_id": 10}', (None, "10", None)),
        ('{"agent_id": 1}', ("1", None, None)),
        ('{"id": 10, "role": "admin", "data": null}', (None, "10", None)),
        # An envelope's id is not a record's.
        ('{"id": 7, "data": [{"id": 10, "agents": [1]}]}', ("1", "10", None)),
    ],
)
def test_a_lone_record_is_told_from_an_envelope_by_its_keys(
    tmp_path: Path, document: str, said: tuple[str | None, ...]
) -> None:
    assert read(tmp_path, document).said() == [said]


@pytest.mark.parametrize("key", ["code", "error", "errors", "message"])
def test_an_error_message_with_the_requests_id_is_no_role(tmp_path: Path, key: str) -> None:
    found = read(tmp_path, f'{{"id": 7, "{key}": "no"}}')
    assert found.unreadable is not None


@pytest.mark.parametrize(
    "document",
    [
        "null", "true", "7", '"text"', "{}", '{"error": "unauthorized"}', '{"message": "no"}',
        '{"error": {"id": 1, "agents": [2]}}', '{"errors": [{"id": 1}]}', '{"roles": null}',
        '{"data": null}', '{"data": {"id": 1, "agents": [2]}}', '{"roles": {"id": 1}}',
        '{"role": null}', '{"role": [1]}', '{"agent": 7}', '{"roles": "none"}',
        '{"Roles": [{"id": 1, "agents": [2]}]}', '{"items": [{"id": 1, "agents": [2]}]}',
        f'{{"roles": [{RECORD}], "agents": [{RECORD}]}}', f'{{"roles": [{RECORD}], "data": []}}',
    ],
)  # fmt: skip
def test_json_that_is_no_dump_is_unreadable(tmp_path: Path, document: str) -> None:
    found = read(tmp_path, document)
    assert found.unreadable is not None
    assert "no dump" in found.unreadable
    assert found.rows == []


FAILURES = (
    '"error": "rate limit"', '"error": {"code": 1}', '"errors": [1]', '"error": true', '"error": 0',
    '"error": " "', '"success": false', '"code": 400', '"status_code": 5e2', '"statusCode": 429.5',
    '"code": ' + "9" * 5000, '"error": null, "error": "x"', '"\\u0065rror": 1',
)  # fmt: skip

NO_FAILURES = (
    '"error": null', '"error": false', '"errors": []', '"errors": [ ]', '"errors": {\n}',
    '"error": ""', '"success": true', '"success": null', '"success": "false"', '"success": 0',
    '"code": 399.9', '"code": "500"', '"status_code": null', '"statusCode": -500', '"code": true',
    '"status": 500', '"Error": "x"', '"in": {"error": "x"}',
)  # fmt: skip

LISTS = (
    f'"roles": [{RECORD}]', '"data": []', '"agents": []', f'"role": {RECORD}',
    '"id": 10, "agents": [1]', '"agent_id": 1, "role_id": 10',
)  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES, ids=short)
@pytest.mark.parametrize("listed", LISTS)
def test_a_document_that_says_of_itself_that_it_failed_is_unreadable_whatever_it_carries(
    tmp_path: Path, failure: str, listed: str
) -> None:
    for document in (f"{{{failure}, {listed}}}", f"\n{{{listed}, {failure}}}\n"):
        # A file of one line is that document, too.
        for name in ("a.json", "a.jsonl"):
            found = read(tmp_path, document, name)
            assert found.unreadable is not None
            assert "no dump: it says of itself that it failed" in found.unreadable


@pytest.mark.parametrize("nothing", NO_FAILURES, ids=short)
@pytest.mark.parametrize("listed", LISTS)
def test_a_document_that_says_that_it_went_well_is_a_dump(
    tmp_path: Path, nothing: str, listed: str
) -> None:
    assert read(tmp_path, f"{{{nothing}, {listed}}}").unreadable is None


def test_a_line_among_others_that_says_that_it_failed_is_one_invalid_row(tmp_path: Path) -> None:
    found = read(tmp_path, f'{RECORD}\n{{"error": "timeout"}}\n', "a.jsonl")
    assert sorted(found.problems(), key=repr) == [None, NO_KNOWN_KEYS][::-1]


@pytest.mark.parametrize(
    "document",
    [
        f'{{"roles": [], "roles": [{RECORD}]}}', f'{{"data": [{RECORD}], "data": null}}',
        f'{{"data": [], "d\\u0061ta": [{RECORD}]}}', f'{{"role": {RECORD}, "role": {RECORD}}}',
        f'{{"id": 7, "data": [], "page": 1, "data": [{RECORD}]}}',
    ],
)  # fmt: skip
def test_an_envelope_that_gives_a_list_twice_is_unreadable(tmp_path: Path, document: str) -> None:
    found = read(tmp_path, document)
    assert found.unreadable is not None
    assert re.search(r"no dump: it gives '\w+' twice", found.unreadable)


def test_a_line_is_a_record_and_no_envelope(tmp_path: Path) -> None:
    found = read(tmp_path, f'{{"roles": [{RECORD}]}}\n{{"data": [{RECORD}]}}', "a.jsonl")
    # The first is an agent without an id, that has the role 10.
    assert found.said() == [(None, "10", None), (None, None, None)]
    assert found.problems() == [None, NO_KNOWN_KEYS]
