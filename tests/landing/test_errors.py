"""Errors of the disk or the store: a missing file, and one that is not given."""

import errno
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from s3fs import S3FileSystem

from agent_roles_dagster.landing.days import require_landed
from agent_roles_dagster.landing.find import find_dump
from agent_roles_dagster.landing.seal import seal
from agent_roles_dagster.outcomes import NotRead, Unreadable
from agent_roles_dagster.reading.file import read_file
from tests.landing.dumps import RECORDS, land


def test_a_file_that_is_replaced_by_nothing_makes_the_day_unreadable(tmp_path: Path) -> None:
    dump = land(tmp_path, {"a.json": RECORDS})
    (tmp_path / "day1" / "a.json").unlink()
    with pytest.raises(Unreadable, match=r"^day1/a\.json: it is not there, or not any more$"):
        seal(dump)


def test_a_file_that_the_disk_does_not_give_is_not_read_which_says_nothing_of_the_dump(
    tmp_path: Path,
) -> None:
    dump = land(tmp_path, {"a.json": RECORDS})
    (tmp_path / "day1").rename(tmp_path / "gone")
    (tmp_path / "day1").write_text("a file")
    with pytest.raises(NotRead, match=r"^day1/a\.json: can't be read \(NotADirectoryError\)$"):
        seal(dump)


def test_an_object_that_is_gone_since_it_was_listed_makes_the_day_unreadable(
    object_store: dict[str, str],
) -> None:
    store = fsspec.filesystem("s3")
    store.pipe_file("dumps/admin_roles/day1/a.json", RECORDS)
    dump = find_dump("s3://dumps/admin_roles", "day1")
    # By somebody else: this file system still takes it for there, and asks only when it reads.
    S3FileSystem(skip_instance_cache=True).rm_file("dumps/admin_roles/day1/a.json")
    gone = "day1/a.json: it is not there, or not any more"
    with pytest.raises(Unreadable, match=f"^{gone}$"):
        seal(dump)
    assert list(read_file("day1", dump.files[0]))[-1]["problem"].to_pylist() == [gone]


@pytest.mark.parametrize("asked", ["info", "ls", "modified"])
def test_a_disk_that_gives_an_error_is_not_taken_for_an_empty_one_and_its_text_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    land(tmp_path, {"a.json": RECORDS})

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, "private")

    monkeypatch.setattr(LocalFileSystem, asked, fail)
    ask = require_landed if asked == "info" else find_dump
    with pytest.raises(NotRead, match=r"^day1: can't be read \(OSError\)$"):
        ask(str(tmp_path), "day1")
