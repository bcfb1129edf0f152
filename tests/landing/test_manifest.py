"""What a manifest may say, and when it is broken."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from agent_roles_dagster.landing.seal import seal
from agent_roles_dagster.outcomes import Unreadable
from tests.landing.dumps import RECORDS, land


def test_a_manifest_that_leads_nowhere_makes_the_day_unreadable(tmp_path: Path) -> None:
    (tmp_path / "day1").mkdir()
    (tmp_path / "day1" / "_manifest.json").symlink_to(tmp_path / "gone")
    with pytest.raises(
        Unreadable, match=r"^day1/_manifest\.json: it is not there, or not any more$"
    ):
        land(tmp_path, {"a.json": RECORDS})


def test_a_manifest_too_long_to_be_held_in_memory_makes_the_day_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_roles_dagster.landing.manifest.LONGEST_MANIFEST", 2)
    assert land(tmp_path, {"a.json": RECORDS, "_manifest.json": b"{}"}).observed_at is None
    with pytest.raises(Unreadable, match=r"day1/_manifest\.json: it is more than "):
        land(tmp_path, {"_manifest.json": b"{ }"})


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
