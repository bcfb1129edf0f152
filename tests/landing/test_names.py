"""Which names are those of dump files."""

import pytest

from agent_roles_dagster.landing.names import is_dump_file


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("roles.json", True),
        ("roles.jsonl", True),
        ("roles.ndjson", True),
        ("roles.json.gz", True),
        ("roles.jsonl.gz", True),
        ("roles.ndjson.gz", True),
        ("page 1.of.2.json", True),
        ("é.json", True),
        ("-.json", True),
        ("_manifest.json", False),
        ("_roles.json", False),
        (".roles.json", False),
        (".json", False),
        (".json.gz", False),
        ("roles.json.tmp", False),
        ("roles.json.gz.part", False),
        ("roles.json.gz.gz", False),
        ("roles.json.zip", False),
        ("roles.gz", False),
        ("roles.csv", False),
        ("rolesjson", False),
        ("json", False),
        ("roles.json ", False),
        ("roles.jsonx", False),
    ],
)
def test_a_dump_file_is_told_by_its_name(name: str, is_one: bool) -> None:
    assert is_dump_file(name) is is_one
