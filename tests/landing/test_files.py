"""Which files are opened: no link out of the landing folder, and nothing but regular files."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_roles_dagster.landing.days import landed_days, require_landed
from agent_roles_dagster.landing.find import find_dump
from agent_roles_dagster.landing.seal import seal
from agent_roles_dagster.outcomes import Unreadable
from agent_roles_dagster.reading.file import read_file
from tests.landing.dumps import RECORDS, land, names


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
