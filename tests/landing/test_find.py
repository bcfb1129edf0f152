"""Which files are a day's dump, and what else the manifest may list."""

import hashlib
import os
import re
from datetime import datetime
from pathlib import Path

import pytest

from agent_roles_dagster.display import plain
from agent_roles_dagster.landing.find import find_dump
from agent_roles_dagster.landing.seal import seal
from agent_roles_dagster.outcomes import Unreadable
from tests.landing.dumps import RECORDS, ZIPPED, land, names


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


@pytest.mark.parametrize("name", [b"caf\xe9.json", b"\xff.jsonl.gz"])
def test_a_name_that_is_not_utf8_makes_the_day_unreadable(tmp_path: Path, name: bytes) -> None:
    shown = re.escape(plain(os.fsdecode(name)))
    with pytest.raises(Unreadable, match=rf"^day1/{shown}: its name is not UTF-8$"):
        land(tmp_path, {"a.json": RECORDS, os.fsdecode(name): RECORDS})
    assert shown.isascii()


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
    monkeypatch.setattr("agent_roles_dagster.landing.find.MOST_FILES", 3)
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


def test_a_day_with_other_files_only_says_which(tmp_path: Path) -> None:
    (tmp_path / "day1").mkdir()
    for others, only in (
        ((), ""),
        (("export.csv",), ", only export.csv"),
        (("a.txt", "b.txt", "c.txt"), ", only a.txt, b.txt, c.txt and others"),
    ):
        for name in others:
            (tmp_path / "day1" / name).write_text("agent,role")
        with pytest.raises(Unreadable) as refused:
            find_dump(str(tmp_path), "day1")
        assert str(refused.value) == (
            f"day1: no dump file (*.json, *.jsonl, *.ndjson, *.gz) has landed{only}"
        )
