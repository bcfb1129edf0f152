"""Which days are looked into, and what a folder shows from outside; the rest is `test_sensors`'."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from agent_roles_dagster.landing.arrival import Arrival, days_to_look_at, look_at

DAYS = [f"day{number}" for number in range(1, 1001)]


def test_new_days_are_taken_in_by_and_by_in_their_order() -> None:
    registered: list[str] = []
    last = None
    while len(registered) < len(DAYS):
        chosen, in_turn = days_to_look_at(DAYS, registered, last, 0)
        assert len(chosen) <= 150
        assert set(in_turn) <= set(chosen) & set(registered)
        registered += [day for day in chosen if day not in registered]
        last = in_turn[-1] if in_turn else None
    assert registered == DAYS


def test_of_a_thousand_old_days_few_are_looked_into_and_each_sooner_or_later() -> None:
    seen: set[str] = set()
    last = None
    for _ in range(33):
        chosen, in_turn = days_to_look_at(DAYS, DAYS, last, 0)
        assert len(chosen) <= 50
        assert set(DAYS[-20:]) <= set(chosen)
        seen.update(chosen)
        last = in_turn[-1]
    assert seen == set(DAYS)


def test_where_there_is_time_for_two_days_only_no_day_is_left_out_for_ever() -> None:
    days = DAYS[:60]
    seen: set[str] = set()
    last = None
    for turn in range(41):
        chosen, in_turn = days_to_look_at(days, days, last, turn)
        seen.update(chosen[:2])
        last = next((day for day in chosen[:2] if day in in_turn), last)
    assert seen == set(days)


def test_a_day_that_is_gone_does_not_stop_the_turn() -> None:
    _, in_turn = days_to_look_at(DAYS, DAYS, "day4711", 0)
    assert in_turn == DAYS[:30]
    assert days_to_look_at([], DAYS, "day30", 0) == ([], [])


def seen(landing: Path, known: str | None = None) -> Arrival:
    found = look_at(str(landing), "day1", known, time.time())
    assert found is not None
    return found


def test_any_other_content_is_another_fingerprint_and_the_same_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "day1"
    folder.mkdir()
    file = folder / "roles.json"
    fingerprints = []

    def write(path: Path, text: str, moment: int) -> None:
        path.write_text(text)
        os.utime(path, (moment, moment))
        fingerprints.append(seen(tmp_path).fingerprint)

    write(file, "[]", 1000)
    write(file, "[ ]", 1000)  # as old, but longer
    write(file, "[1]", 2000)  # as long, but later
    write(folder / "_manifest.json", "{}", 2000)
    write(folder / "more.json", "[]", 2000)
    assert len(set(fingerprints)) == len(fingerprints)
    write(folder / "_more.json.part", "[", 3000)
    write(folder / ".hidden", "[", 3000)
    assert set(fingerprints[-2:]) == {fingerprints[-3]}
    assert look_at(str(tmp_path), "day1", fingerprints[-1], time.time()) is None
    (folder / "more.json").unlink()
    assert seen(tmp_path, known=fingerprints[-1]).fingerprint == fingerprints[3]
    (folder / "roles.json").rename(folder / "others.json")
    assert seen(tmp_path).fingerprint not in fingerprints


def test_what_was_copied_with_its_old_times_or_removed_changed_now(tmp_path: Path) -> None:
    before = time.time() - 5
    (tmp_path / "elsewhere").mkdir()
    for name in ("1.json", "2.json"):
        (tmp_path / "elsewhere" / name).write_text("[]")
        os.utime(tmp_path / "elsewhere" / name, (1000, 1000))
    shutil.copytree(tmp_path / "elsewhere", tmp_path / "day1")
    assert seen(tmp_path).changed_at > before
    assert not seen(tmp_path).is_complete(time.time(), settle_seconds=3600)
    assert seen(tmp_path).is_complete(time.time() + 3601, settle_seconds=3600)
    copied = seen(tmp_path).changed_at
    time.sleep(0.05)
    (tmp_path / "day1" / "2.json").unlink()
    assert seen(tmp_path).changed_at > copied


def test_a_clock_that_was_years_ahead_keeps_no_day_waiting(tmp_path: Path) -> None:
    (tmp_path / "day1").mkdir()
    (tmp_path / "day1" / "roles.json").write_text("[]")
    os.utime(tmp_path / "day1" / "roles.json", (4e9, 4e9))
    assert seen(tmp_path).changed_at <= time.time()


def test_a_manifest_says_that_all_is_there_only_if_it_lists_files_and_is_no_older(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "day1"
    folder.mkdir()
    (folder / "roles.json").write_text("[]")
    for manifest, listed in (
        ({"files": [{"name": "roles.json"}]}, True),
        ({"files": [{"name": "roles.json"}, {"name": "more.json"}]}, False),
        ({"files": []}, False),
        ({"files": [{}]}, False),
        ({"files": "roles.json"}, False),
        ({"observed_at": "2026-03-01T06:00:00Z"}, False),
        ([], False),
    ):
        (folder / "_manifest.json").write_text(json.dumps(manifest))
        assert seen(tmp_path).listed is listed, manifest
    (folder / "_manifest.json").write_text('{"files": [{"name": "roles.json"}]}')
    later = time.time() + 100
    for name in ("roles.json", "more.json"):  # the second is not listed, but part of the dump
        (folder / name).write_text("[]")
        os.utime(folder / name, (later, later))
        assert not seen(tmp_path).listed
        os.utime(folder / name, (1000, 1000))
        (folder / "_manifest.json").write_text('{"files": [{"name": "roles.json"}]}')
        assert seen(tmp_path).listed


def test_a_manifest_too_long_to_be_held_in_memory_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "day1").mkdir()
    (tmp_path / "day1" / "roles.json").write_text("[]")
    manifest = '{"files": [{"name": "roles.json"}]}'
    (tmp_path / "day1" / "_manifest.json").write_text(manifest)
    monkeypatch.setattr("agent_roles_dagster.landing.manifest.LONGEST_MANIFEST", len(manifest))
    assert seen(tmp_path).listed
    monkeypatch.setattr("agent_roles_dagster.landing.manifest.LONGEST_MANIFEST", len(manifest) - 1)
    assert not seen(tmp_path).listed


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.timeout(30)
def test_a_manifest_that_is_no_regular_file_is_not_waited_for(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    (tmp_path / "day1").mkdir()
    (tmp_path / "day1" / "roles.json").write_text("[]")
    make(tmp_path / "day1" / "_manifest.json")
    assert not seen(tmp_path).listed


def test_a_day_that_is_gone_shows_nothing(tmp_path: Path) -> None:
    assert look_at(str(tmp_path), "day1", None, time.time()) is None


def test_a_day_of_more_files_than_can_be_staged_is_reported_once_to_be_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_roles_dagster.landing.find.MOST_FILES", 3)
    (tmp_path / "day1").mkdir()
    for number in range(4):
        (tmp_path / "day1" / f"{number}.json").write_text("[]")
    many = seen(tmp_path)
    assert many.is_complete(time.time() + 60, settle_seconds=30)
    assert look_at(str(tmp_path), "day1", many.fingerprint, time.time()) is None
    (tmp_path / "day1" / "3.json").unlink()
    assert seen(tmp_path, known=many.fingerprint).fingerprint != many.fingerprint


def test_of_an_object_stores_listings_none_is_kept(object_store: dict[str, str]) -> None:
    store = fsspec.filesystem("s3")
    store.pipe_file("dumps/admin_roles/day1/roles.json", b"[]")
    manifest = b'{"files": [{"name": "roles.json"}]}'
    store.pipe_file("dumps/admin_roles/day1/_manifest.json", manifest)
    found = look_at("s3://dumps/admin_roles", "day1", None, time.time())
    assert found is not None
    assert found.listed
    assert "dumps/admin_roles/day1" not in store.dircache
    store.pipe_file("dumps/admin_roles/day1/roles.json", b"[1]")
    again = look_at("s3://dumps/admin_roles", "day1", found.fingerprint, time.time())
    assert again is not None, "what is there is looked at, not what was there before"
