"""The seal, and the digests that the manifest lists."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from agent_roles_dagster.landing.find import find_dump
from agent_roles_dagster.landing.seal import content_digest, seal
from agent_roles_dagster.outcomes import Unreadable
from tests.landing.dumps import RECORDS, ZIPPED, land


@pytest.mark.parametrize("form", [str.lower, str.upper])
def test_the_seal_accepts_the_digests_that_the_manifest_says(tmp_path: Path, form: Any) -> None:
    files = {"a.json": RECORDS, "b.json.gz": ZIPPED}
    said = [
        {"name": name, "sha256": form(hashlib.sha256(data).hexdigest()), "records": 1}
        for name, data in files.items()
    ]
    seal(land(tmp_path, files, {"files": said}))


@pytest.mark.parametrize(
    "sha256", ["", "0" * 64, hashlib.sha256(RECORDS + b" ").hexdigest(), "no digest"]
)
def test_the_seal_refuses_a_file_whose_digest_is_another(tmp_path: Path, sha256: str) -> None:
    listed = [{"name": "a.json"}, {"name": "b.json", "sha256": sha256}]
    dump = land(tmp_path, {"a.json": RECORDS, "b.json": RECORDS}, {"files": listed})
    with pytest.raises(Unreadable, match=r"day1/b\.json: its SHA-256 is"):
        seal(dump)


def test_a_zipped_files_digest_is_that_of_its_bytes_as_they_landed(tmp_path: Path) -> None:
    said = {"name": "a.json.gz", "sha256": hashlib.sha256(RECORDS).hexdigest()}
    dump = land(tmp_path, {"a.json.gz": ZIPPED}, {"files": [said]})
    with pytest.raises(Unreadable):
        seal(dump)


def test_how_many_records_the_manifest_says_is_compared_only_where_they_are_read(
    tmp_path: Path,
) -> None:
    dump = land(tmp_path, {"a.json": RECORDS}, {"files": [{"name": "a.json", "records": 99}]})
    seal(dump)
    assert dump.listed == {"a.json": {"name": "a.json", "records": 99}}


def test_the_seal_is_a_function_of_names_and_bytes(tmp_path: Path) -> None:
    first = seal(land(tmp_path, {"a.json": RECORDS, "b.json": RECORDS}))
    os.utime(tmp_path / "day1" / "a.json", (1, 1))
    assert seal(find_dump(str(tmp_path), "day1")) == first
    assert len(first) == 64
    seals = {first}
    seals.add(seal(land(tmp_path, {"a.json": RECORDS + b"\n"})))
    (tmp_path / "day1" / "b.json").rename(tmp_path / "day1" / "c.json")
    seals.add(seal(find_dump(str(tmp_path), "day1")))
    (tmp_path / "day1" / "c.json").unlink()
    seals.add(seal(find_dump(str(tmp_path), "day1")))
    assert len(seals) == 4


def test_the_content_digest_does_not_depend_on_the_order_of_files() -> None:
    digests = {"a.json": "1", "b.json": "2"}
    assert content_digest(digests) == content_digest(dict(reversed(digests.items())))
    assert content_digest(digests) != content_digest({"a.json": "2", "b.json": "1"})
