"""The landing folder: days, dump files, manifests, and what the seal sees in the bytes."""

import errno
import gzip
import hashlib
import json
import os
import re
import socket
import zlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given
from hypothesis import strategies as st
from s3fs import S3FileSystem

from agent_roles_dagster.display import plain
from agent_roles_dagster.landing import content as content_module
from agent_roles_dagster.landing import find as find_module
from agent_roles_dagster.landing import manifest as manifest_module
from agent_roles_dagster.landing.content import inflate
from agent_roles_dagster.landing.days import landed_days, require_landed
from agent_roles_dagster.landing.dump import Dump, is_dump_file
from agent_roles_dagster.landing.find import find_dump
from agent_roles_dagster.landing.seal import content_digest, seal
from agent_roles_dagster.outcomes import NotRead, Unreadable
from agent_roles_dagster.reading.file import read_file
from agent_roles_dagster.sync_days import EXPECTED, InvalidSyncDay

RECORDS = b'[{"id": 10, "agents": [1, 2]}]'
ZIPPED = gzip.compress(RECORDS, mtime=0)


def land(root: Path, files: dict[str, bytes], manifest: Any = None) -> Dump:
    """Land the files as day1 and find them."""
    folder = root / "day1"
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    if manifest is not None:
        text = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        (folder / "_manifest.json").write_bytes(text)
    return find_dump(str(root), "day1")


def names(dump: Dump) -> list[str]:
    return [file.name for file in dump.files]


# Days


def test_landed_days_are_the_folders_with_a_days_name_in_their_order(tmp_path: Path) -> None:
    for name in ("day10", "day9", "2026-01-01", "day01", "2026-02-30", "_tmp", "Day3", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "day7").write_text("a file")
    assert landed_days(str(tmp_path)) == ["day9", "day10", "2026-01-01"]
    assert landed_days(f"{tmp_path}/") == landed_days(f"file://{tmp_path}")


def test_no_days_have_landed_where_there_is_no_folder(tmp_path: Path) -> None:
    assert landed_days(str(tmp_path / "nowhere")) == []


def test_a_folder_that_is_a_link_is_a_landed_day(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "day1").symlink_to(tmp_path / "elsewhere")
    require_landed(str(tmp_path), "day1")
    assert landed_days(str(tmp_path)) == ["day1"]


def test_a_day_that_lands_later_is_seen(tmp_path: Path) -> None:
    assert landed_days(str(tmp_path)) == []
    (tmp_path / "day1").mkdir()
    assert landed_days(str(tmp_path)) == ["day1"]


@pytest.mark.parametrize("name", ["day0", "../day2", "day2/../day2", "", ".", "day1", "2026-02-30"])
def test_what_is_no_landed_day_is_refused_with_what_is_expected_and_what_is_there(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "day2").mkdir()
    (tmp_path / "day11").mkdir()
    with pytest.raises(InvalidSyncDay) as refused:
        require_landed(str(tmp_path), name)
    text = str(refused.value)
    assert EXPECTED in text
    assert text.endswith(f"Landed so far under {tmp_path}: day2, day11")


def test_a_landed_day_is_not_refused_though_it_is_empty(tmp_path: Path) -> None:
    (tmp_path / "day1").mkdir()
    require_landed(str(tmp_path), "day1")


def test_a_file_is_no_landed_day(tmp_path: Path) -> None:
    (tmp_path / "day1").write_text("a file")
    with pytest.raises(InvalidSyncDay, match=r"Landed so far under .*: none"):
        require_landed(str(tmp_path), "day1")


def test_of_many_landed_days_the_newest_are_named(tmp_path: Path) -> None:
    for number in range(1, 31):
        (tmp_path / f"day{number}").mkdir()
    with pytest.raises(InvalidSyncDay, match=r"20 earlier ones, day21, .*day29, day30$"):
        require_landed(str(tmp_path), "day31")


# Files


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


def test_a_dump_is_the_files_directly_in_the_days_folder(tmp_path: Path) -> None:
    (tmp_path / "day1" / "nested").mkdir(parents=True)
    (tmp_path / "day1" / "nested" / "c.json").write_bytes(RECORDS)
    others = {"_b.json": b"{", ".b.json": b"", "readme.txt": b"", "_SUCCESS": b""}
    dump = land(tmp_path, {"b.json": RECORDS, "a.jsonl.gz": ZIPPED, **others})
    assert names(dump) == ["a.jsonl.gz", "b.json"]
    assert [file.size for file in dump.files] == [len(ZIPPED), len(RECORDS)]
    assert dump.sync_day == "day1"
    assert dump.listed is None
    assert dump.observed_at is None


@pytest.mark.parametrize(
    "name",
    ["a*.json", "[a].json", "a?b.json", "a#b.json", "a%20b.json", "a b.json", "~.json", "é{1}.json",
     "$HOME.json", "a\nb.json", "a:b.json", "a::b.json", "simplecache::a.json"],
)  # fmt: skip
def test_a_dump_files_name_is_taken_literally(tmp_path: Path, name: str) -> None:
    dump = land(tmp_path, {name: RECORDS})
    with dump.files[0].open() as stream:
        assert stream.read() == RECORDS
    seal(dump)


def test_a_file_that_is_a_link_is_part_of_the_dump(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(RECORDS)
    (tmp_path / "day1").mkdir()
    (tmp_path / "day1" / "b.json").symlink_to(tmp_path / "elsewhere")
    dump = land(tmp_path, {"a.json": RECORDS})
    assert names(dump) == ["a.json", "b.json"]
    assert dump.files[1].size == len(RECORDS)


def test_a_link_to_nothing_makes_the_day_unreadable(tmp_path: Path) -> None:
    (tmp_path / "day1").mkdir()
    (tmp_path / "day1" / "b.json").symlink_to(tmp_path / "gone")
    with pytest.raises(Unreadable, match=r"day1/b\.json"):
        seal(land(tmp_path, {"a.json": RECORDS}))


# What makes something that is no regular file.
ODD_FILES: dict[str, Callable[[Path], object]] = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "socket": lambda path: socket.socket(socket.AF_UNIX).bind(os.path.relpath(path)),
    "link to itself": lambda path: path.symlink_to(path),
    "link to a folder": lambda path: path.symlink_to(path.parent),
}


@pytest.mark.parametrize("kind", ODD_FILES)
@pytest.mark.parametrize("name", ["b.json", "b.jsonl.gz", "_manifest.json", "listed.csv"])
@pytest.mark.timeout(30)
def test_what_is_no_regular_file_makes_the_day_unreadable_and_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    (tmp_path / "day1").mkdir()
    ODD_FILES[kind](tmp_path / "day1" / name)
    manifest = {"files": [{"name": name}]} if name == "listed.csv" else None
    with pytest.raises(Unreadable, match=rf"^day1/{name}: it is no regular file$"):
        land(tmp_path, {"a.json": RECORDS}, manifest)


@pytest.mark.timeout(30)
def test_a_file_that_became_a_pipe_since_it_was_found_makes_the_day_unreadable(
    tmp_path: Path,
) -> None:
    dump = land(tmp_path, {"a.json": RECORDS})
    (tmp_path / "day1" / "a.json").unlink()
    os.mkfifo(tmp_path / "day1" / "a.json")
    with pytest.raises(Unreadable, match=r"^day1/a\.json: it is no regular file$"):
        seal(dump)
    (row,) = (row for batch in read_file("day1", dump.files[0]) for row in batch.to_pylist())
    assert (row["kind"], row["problem"]) == ("unreadable", "day1/a.json: it is no regular file")


def test_a_name_that_is_no_dump_files_may_be_anything(tmp_path: Path) -> None:
    (tmp_path / "day1").mkdir()
    os.mkfifo(tmp_path / "day1" / "pipe")
    (tmp_path / "day1" / "_link.json").symlink_to("/dev/zero")
    (tmp_path / "day1" / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"")
    seal(land(tmp_path, {"a.json": RECORDS}))


@pytest.mark.parametrize("name", ["b.json", "_manifest.json", "listed.csv"])
@pytest.mark.parametrize("target", ["{}/secret", "/dev/zero", "../../secret"])
def test_a_link_that_leads_out_of_the_landing_folder_makes_the_day_unreadable(
    tmp_path: Path, name: str, target: str
) -> None:
    (tmp_path / "secret").write_text("[]")
    root = tmp_path / "landing"
    (root / "day1").mkdir(parents=True)
    (root / "day1" / name).symlink_to(target.format(tmp_path))
    manifest = {"files": [{"name": name}]} if name == "listed.csv" else None
    out = rf"^day1/{name}: it is a link that leads out of the landing folder$"
    with pytest.raises(Unreadable, match=out):
        land(root, {"a.json": RECORDS}, manifest)


def test_a_file_that_became_a_link_to_a_secret_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('[{"id": 1, "agents": ["s3cret"]}]')
    root = tmp_path / "landing"
    root.mkdir()
    dump = land(root, {"a.json": RECORDS})
    (root / "day1" / "a.json").unlink()
    (root / "day1" / "a.json").symlink_to(tmp_path / "secret")
    rows = [row for batch in read_file("day1", dump.files[0]) for row in batch.to_pylist()]
    assert [row["kind"] for row in rows] == ["unreadable"]
    assert "a link that leads out of the landing folder" in rows[0]["problem"]


def test_a_day_whose_folder_is_a_link_out_of_the_landing_folder_is_unreadable(
    tmp_path: Path,
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.json").write_bytes(RECORDS)
    root = tmp_path / "landing"
    root.mkdir()
    (root / "day1").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unreadable, match=r"^day1: it is a link that leads out of the landing"):
        find_dump(str(root), "day1")


def test_the_landing_folder_may_be_a_link_and_links_within_it_are_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    root = tmp_path / "landing"
    root.symlink_to(tmp_path / "disk")
    land(root, {"a.json": RECORDS})
    (root / "day2").symlink_to("day1")
    (root / "day1" / "b.json").symlink_to(root / "day1" / "a.json")
    dump = find_dump(str(root), "day2")
    assert names(dump) == ["a.json", "b.json"]
    seal(dump)


@pytest.mark.parametrize("name", [b"caf\xe9.json", b"\xff.jsonl.gz"])
def test_a_name_that_is_not_utf8_makes_the_day_unreadable(tmp_path: Path, name: bytes) -> None:
    shown = re.escape(plain(os.fsdecode(name)))
    with pytest.raises(Unreadable, match=rf"^day1/{shown}: its name is not UTF-8$"):
        land(tmp_path, {"a.json": RECORDS, os.fsdecode(name): RECORDS})
    assert shown.isascii()


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_landing_folder_may_have_two_colons_in_its_path(tmp_path: Path, form: str) -> None:
    root = tmp_path / "a::b" / "c:d"
    root.mkdir(parents=True)
    land(root, {"a.json": RECORDS})
    assert landed_days(form.format(root)) == ["day1"]
    require_landed(form.format(root), "day1")
    dump = find_dump(form.format(root), "day1")
    seal(dump)
    assert list(read_file("day1", dump.files[0]))[-1]["kind"].to_pylist() == ["file"]


def test_a_folder_that_becomes_a_link_while_its_file_is_opened_lets_nothing_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    dump = land(landing, {"a.json": RECORDS})
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "a.json").write_bytes(RECORDS)
    opened = os.open

    def after_a_swap(path: str, *args: Any, **options: Any) -> int:
        if path.endswith("day1/a.json"):
            (landing / "day1").rename(landing / "before")
            (landing / "day1").symlink_to(tmp_path / "secrets")
        return opened(path, *args, **options)

    monkeypatch.setattr(os, "open", after_a_swap)
    with pytest.raises(Unreadable, match=r"^day1/a\.json: it is a link that leads out of"):
        seal(dump)


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


def test_a_manifest_that_leads_nowhere_makes_the_day_unreadable(tmp_path: Path) -> None:
    (tmp_path / "day1").mkdir()
    (tmp_path / "day1" / "_manifest.json").symlink_to(tmp_path / "gone")
    with pytest.raises(
        Unreadable, match=r"^day1/_manifest\.json: it is not there, or not any more$"
    ):
        land(tmp_path, {"a.json": RECORDS})


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


def test_a_manifest_too_long_to_be_held_in_memory_makes_the_day_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_module, "LONGEST_MANIFEST", 2)
    assert land(tmp_path, {"a.json": RECORDS, "_manifest.json": b"{}"}).observed_at is None
    with pytest.raises(Unreadable, match=r"day1/_manifest\.json: it is more than "):
        land(tmp_path, {"_manifest.json": b"{ }"})


@pytest.mark.parametrize("files", [{}, {"_manifest.json": b"{}"}, {"a.txt": b"x", "_a.json": b"x"}])
def test_a_day_without_a_dump_file_is_unreadable(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(Unreadable, match="day1: no dump file"):
        land(tmp_path, files)


def test_a_day_without_a_folder_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="day2: no dump file"):
        find_dump(str(tmp_path), "day2")


@pytest.mark.parametrize("name", ["b.json", "b.jsonl.gz"])
def test_one_empty_file_makes_the_day_unreadable_by_its_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unreadable, match=rf"day1/{name}: .*empty"):
        land(tmp_path, {"a.json": RECORDS, name: b""})


def test_a_day_of_more_files_than_can_be_kept_track_of_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find_module, "MOST_FILES", 3)
    (tmp_path / "day1").mkdir()
    for number in range(3):
        (tmp_path / "day1" / f"{number}.json").write_text("[]")
    assert len(find_dump(str(tmp_path), "day1").files) == 3
    (tmp_path / "day1" / "3.json").write_text("[]")
    with pytest.raises(Unreadable, match="day1: more than 3 files have landed"):
        find_dump(str(tmp_path), "day1")


def test_the_newest_modification_time_of_the_dump_files_is_the_days(tmp_path: Path) -> None:
    land(tmp_path, {"a.json": RECORDS, "b.json": RECORDS, "c.txt": b"x"}, {})
    times = {"a.json": 1_700_000_000.25, "b.json": 1_600_000_000, "c.txt": 1_800_000_000}
    for name, time in times.items():
        os.utime(tmp_path / "day1" / name, (time, time))
    os.utime(tmp_path / "day1" / "_manifest.json", (1_800_000_000, 1_800_000_000))
    dump = find_dump(str(tmp_path), "day1")
    assert dump.modified_at == datetime(2023, 11, 14, 22, 13, 20, 250_000)


# The manifest


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-23T10:00:00Z", datetime(2026, 11, 23, 10)),
        ("2026-11-23T10:00:00+00:00", datetime(2026, 11, 23, 10)),
        ("2026-11-23T10:00:00-00:00", datetime(2026, 11, 23, 10)),
        ("2026-11-23T10:00:00.123456+05:30", datetime(2026, 11, 23, 4, 30, 0, 123456)),
        ("2026-11-23T23:30:00-08:00", datetime(2026, 11, 24, 7, 30)),
        ("2026-11-23 10:00Z", datetime(2026, 11, 23, 10)),
        ("20261123T100000Z", datetime(2026, 11, 23, 10)),
        ("2026-11-23t10:00:00z", datetime(2026, 11, 23, 10)),
        ("2026-W48-1T10:00:00Z", datetime(2026, 11, 23, 10)),
        ("2026-w48-1t10:00z", datetime(2026, 11, 23, 10)),
        ("2026-327T10:00:00Z", datetime(2026, 11, 23, 10)),
        ("2026327T100000Z", datetime(2026, 11, 23, 10)),
        ("2024-366T00:00:00+00:00", datetime(2024, 12, 31)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1)),
        ("2016-12-31T23:59:60.75Z", datetime(2017, 1, 1)),
        ("20161231T235960Z", datetime(2017, 1, 1)),
        ("2017-01-01T05:29:60+05:30", datetime(2017, 1, 1)),
    ],
)
def test_observed_at_is_the_moment_in_utc(tmp_path: Path, text: str, utc: datetime) -> None:
    assert land(tmp_path, {"a.json": RECORDS}, {"observed_at": text}).observed_at == utc


@pytest.mark.parametrize(
    "observed_at",
    ["2026-11-23T10:00:00", "2026-11-23", "yesterday", "", "10:00Z", "2026-02-30T10:00:00Z",
     1_700_000_000, None, True, [], {}, "0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00",
     "2026-366T10:00:00Z", "2026-000T10:00:00Z", "2026-W54-1T10:00:00Z", "2026-327T10:00:00",
     "2016-12-31T10:59:60Z", "2016-12-31T23:59:61Z", "2016-12-31T23:58:60Z",
     "9999-12-31T23:59:60Z", "2016-12-31T23:59:60"],
)  # fmt: skip
def test_observed_at_without_offset_or_sense_makes_the_day_unreadable(
    tmp_path: Path, observed_at: Any
) -> None:
    with pytest.raises(Unreadable, match=r'day1/_manifest\.json: "observed_at"'):
        land(tmp_path, {"a.json": RECORDS}, {"observed_at": observed_at})


@pytest.mark.parametrize(
    "manifest",
    [b"", b" ", b"{", b"[]", b"null", b"7", b'"text"', b"\xff", b"{}{}", b"[" * 100_000,
     b'{"n": %s}' % (b"9" * 5000), b'{"files": null}', b'{"files": {}}', b'{"files": "a.json"}',
     b'{"files": ["a.json"]}', b'{"files": [{}]}', b'{"files": [{"name": 7}]}',
     b'{"files": [{"name": "a.json", "sha256": 7}]}',
     b'{"files": [{"name": "a.json", "sha256": null}]}',
     b'{"files": [{"name": "a.json", "records": "1"}]}',
     b'{"files": [{"name": "a.json", "records": 1.0}]}',
     b'{"files": [{"name": "a.json", "records": true}]}'],
    ids=lambda manifest: ascii(manifest)[:50],
)  # fmt: skip
def test_a_broken_manifest_makes_the_day_unreadable(tmp_path: Path, manifest: bytes) -> None:
    with pytest.raises(Unreadable, match=r"day1/_manifest\.json: "):
        land(tmp_path, {"a.json": RECORDS}, manifest)


def test_a_manifest_may_begin_with_a_byte_order_mark_and_have_further_keys(tmp_path: Path) -> None:
    dump = land(tmp_path, {"a.json": RECORDS}, b'\xef\xbb\xbf{"by": ["somebody"]}')
    assert dump.listed is None
    seal(dump)


@pytest.mark.parametrize(
    ("listed", "named"),
    [
        (["a.json", "b.json"], "b.json"),
        (["a.json", "../day1/a.json"], "../day1/a.json"),
        (["a.json", "a.json"], "_manifest.json"),
    ],
)
def test_the_manifests_files_must_all_be_there_once(
    tmp_path: Path, listed: list[str], named: str
) -> None:
    manifest = {"files": [{"name": name} for name in listed]}
    with pytest.raises(Unreadable, match=f"day1/{named}: .*(named|twice)"):
        land(tmp_path, {"a.json": RECORDS, "ignored.txt": b"x"}, manifest)


def test_a_file_that_is_no_dump_file_may_be_named_and_must_match(tmp_path: Path) -> None:
    files = {"a.json": RECORDS, "report.csv": b"id,name\n\xff"}
    said = {"name": "report.csv", "sha256": hashlib.sha256(files["report.csv"]).hexdigest()}
    for named in (said, {"name": "report.csv"}):
        dump = land(tmp_path, files, {"files": [{"name": "a.json"}, named]})
        assert names(dump) == ["a.json"]
        seal(dump)
    with pytest.raises(Unreadable, match=r"day1/report\.csv: its SHA-256 is"):
        land(tmp_path, files, {"files": [{**said, "sha256": "0" * 64}]})
    with pytest.raises(Unreadable, match=r"day1/report\.csv: .* by its name it is no dump file"):
        land(tmp_path, files, {"files": [{**said, "records": 1}]})


def test_files_that_the_manifest_does_not_name_are_part_of_the_dump(tmp_path: Path) -> None:
    dump = land(tmp_path, {"a.json": RECORDS, "b.json": RECORDS}, {"files": [{"name": "a.json"}]})
    assert names(dump) == ["a.json", "b.json"]


def test_zeros_after_a_gzip_file_are_padding(tmp_path: Path) -> None:
    seal(land(tmp_path, {"a.json.gz": ZIPPED + bytes(1000) + ZIPPED + bytes(1 << 21)}))


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


# The seal


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


@pytest.mark.parametrize(
    "content", [b" ", b"\n", b" \t\r\n\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n"]
)
@pytest.mark.parametrize("is_zipped", [False, True])
def test_a_blank_file_makes_the_day_unreadable(
    tmp_path: Path, content: bytes, is_zipped: bool
) -> None:
    name = "b.json.gz" if is_zipped else "b.json"
    data = gzip.compress(content) if is_zipped else content
    with pytest.raises(Unreadable, match=rf"day1/{name}: .*blank"):
        seal(land(tmp_path, {"a.json": RECORDS, name: data}))


@pytest.mark.parametrize(
    "content",
    [b"\xff", b'["\xe9"]', b'["\xc3', b'["\xed\xa0\x80"]', b'["\xc0\x80"]', b'["\xf5\x80\x80\x80"]',
     RECORDS.decode().encode("utf-16"), ZIPPED],
    ids=ascii,
)  # fmt: skip
def test_what_is_not_utf8_makes_the_day_unreadable(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(Unreadable, match=r"day1/a\.json: .*not UTF-8"):
        seal(land(tmp_path, {"a.json": content}))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_character_may_lie_over_two_pieces_and_must_be_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(content_module, "_CHUNK", size)
    text = '["é€😀 \u2028"]'.encode()
    seal(land(tmp_path, {"a.json": text, "b.json.gz": gzip.compress(text)}))
    for broken in (text.replace(b"\x82", b"\x28"), text[: text.index(b"\xf0") + 3]):
        with pytest.raises(Unreadable, match="not UTF-8"):
            seal(land(tmp_path, {"a.json": broken, "b.json.gz": gzip.compress(broken)}))


@pytest.mark.parametrize("content", [b"\0", b"[]\0", b"\0" * 5000 + b"[]", b"[]\n\0\0"])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz"])
def test_a_nul_byte_makes_the_day_unreadable(tmp_path: Path, content: bytes, name: str) -> None:
    data = gzip.compress(content) if name.endswith(".gz") else content
    with pytest.raises(Unreadable, match=rf"^day1/{name}: it holds a NUL byte"):
        seal(land(tmp_path, {name: data}))


BROKEN_GZIPS = {
    "cut in its trailer": ZIPPED[:-1],
    "cut before its trailer": ZIPPED[:-8],
    "cut in its middle": ZIPPED[: len(ZIPPED) // 2],
    "cut in its header": ZIPPED[:5],
    "only a magic number": b"\x1f\x8b",
    "one byte": b"\x1f",
    "not zipped": RECORDS,
    "a wrong check sum": ZIPPED[:-8] + bytes([ZIPPED[-8] ^ 1]) + ZIPPED[-7:],
    "a wrong length": ZIPPED[:-4] + bytes([ZIPPED[-4] ^ 1]) + ZIPPED[-3:],
    "garbage after it": ZIPPED + b"garbage",
    "one byte after it": ZIPPED + b"\x1f",
    "a second member cut short": ZIPPED + ZIPPED[:-3],
    "a second member damaged": ZIPPED + ZIPPED[:-8] + b"\0" * 8,
    "zlib instead of gzip": zlib.compress(RECORDS),
}


@pytest.mark.parametrize("data", BROKEN_GZIPS.values(), ids=BROKEN_GZIPS.keys())
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_broken_gzip_makes_the_day_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, size: int
) -> None:
    monkeypatch.setattr(content_module, "_CHUNK", size)
    with pytest.raises(Unreadable, match=r"day1/a\.json\.gz: a broken gzip"):
        seal(land(tmp_path, {"a.json.gz": data}))


def test_a_gzip_of_nothing_is_blank(tmp_path: Path) -> None:
    for data in (gzip.compress(b""), gzip.compress(b"") * 3):
        with pytest.raises(Unreadable, match="blank"):
            seal(land(tmp_path, {"a.json.gz": data}))


@given(
    parts=st.lists(st.binary(max_size=60), min_size=1, max_size=4),
    repeated=st.integers(1, 300),
    chunk=st.integers(1, 40),
    limit=st.integers(1, 64),
)
def test_a_gzip_file_is_all_its_members_however_it_is_cut_into_pieces(
    parts: list[bytes], repeated: int, chunk: int, limit: int
) -> None:
    contents = [part * repeated for part in parts]
    data = b"".join(gzip.compress(content, mtime=0) for content in contents)
    chunks = (data[at : at + chunk] for at in range(0, len(data), chunk))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content_module, "_CHUNK", limit)
        pieces = list(inflate(chunks, "a.json.gz"))
    assert b"".join(pieces) == b"".join(contents)
    assert all(0 < len(piece) <= limit for piece in pieces), "a bomb must not fill the memory"


@pytest.mark.parametrize("content", [b" ", b"1\n"])
def test_a_bomb_is_refused_before_it_has_filled_anything(tmp_path: Path, content: bytes) -> None:
    bomb = gzip.compress(content * (65 << 20))
    with pytest.raises(Unreadable, match=r"day1/a\.jsonl\.gz: .* 200 times as long"):
        seal(land(tmp_path, {"a.jsonl.gz": bomb}))
    passed = []
    with pytest.raises(Unreadable):
        passed.extend(map(len, inflate(iter([bomb]), "a.jsonl.gz")))
    assert sum(passed) <= 64 << 20


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_gzip_that_is_cut_anywhere_is_never_whole(content: bytes, data: st.DataObject) -> None:
    zipped = gzip.compress(content, mtime=0)
    cut = zipped[: data.draw(st.integers(0, len(zipped) - 1))]
    with pytest.raises(Unreadable, match=r"^a broken gzip file \(cut short\)$"):
        list(inflate(iter([cut] if cut else []), "a.json.gz"))


def test_a_day_with_other_files_only_says_which(tmp_path: Path) -> None:
    (tmp_path / "day1").mkdir()
    for names, only in (
        ((), ""),
        (("export.csv",), ", only export.csv"),
        (("a.txt", "b.txt", "c.txt"), ", only a.txt, b.txt, c.txt and others"),
    ):
        for name in names:
            (tmp_path / "day1" / name).write_text("agent,role")
        with pytest.raises(Unreadable) as refused:
            find_dump(str(tmp_path), "day1")
        assert str(refused.value) == (
            f"day1: no dump file (*.json, *.jsonl, *.ndjson, *.gz) has landed{only}"
        )


def test_a_landing_folder_that_is_none_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "dump.json").write_text("[]")
    for name, why in (("nowhere", "is not there"), ("dump.json", "is no folder")):
        landing = str(tmp_path / name)
        with pytest.raises(InvalidSyncDay) as refused:
            require_landed(landing, "day1")
        assert str(refused.value) == (
            f"'day1' has not landed: there is no such folder; {EXPECTED}."
            f" {landing}, which AGENT_ROLES_LANDING names, {why}"
        )
