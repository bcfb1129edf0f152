"""A dump file's bytes: unzipped, and held to UTF-8."""

import gzip
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_roles_dagster.landing.content import unzip
from agent_roles_dagster.landing.seal import seal
from agent_roles_dagster.outcomes import Unreadable
from tests.landing.dumps import RECORDS, ZIPPED, land


def test_zeros_after_a_gzip_file_are_padding(tmp_path: Path) -> None:
    seal(land(tmp_path, {"a.json.gz": ZIPPED + bytes(1000) + ZIPPED + bytes(1 << 21)}))


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
    monkeypatch.setattr("agent_roles_dagster.landing.content._CHUNK", size)
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
    monkeypatch.setattr("agent_roles_dagster.landing.content._CHUNK", size)
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
        patch.setattr("agent_roles_dagster.landing.content._CHUNK", limit)
        pieces = list(unzip(chunks, "a.json.gz"))
    assert b"".join(pieces) == b"".join(contents)
    assert all(0 < len(piece) <= limit for piece in pieces), "a bomb must not fill the memory"


@pytest.mark.parametrize("content", [b" ", b"1\n"])
def test_a_bomb_is_refused_before_it_has_filled_anything(tmp_path: Path, content: bytes) -> None:
    bomb = gzip.compress(content * (65 << 20))
    with pytest.raises(Unreadable, match=r"day1/a\.jsonl\.gz: .* 200 times as long"):
        seal(land(tmp_path, {"a.jsonl.gz": bomb}))
    passed = []
    with pytest.raises(Unreadable):
        passed.extend(map(len, unzip(iter([bomb]), "a.jsonl.gz")))
    assert sum(passed) <= 64 << 20


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_gzip_that_is_cut_anywhere_is_never_whole(content: bytes, data: st.DataObject) -> None:
    zipped = gzip.compress(content, mtime=0)
    cut = zipped[: data.draw(st.integers(0, len(zipped) - 1))]
    with pytest.raises(Unreadable, match=r"^a broken gzip file \(cut short\)$"):
        list(unzip(iter([cut] if cut else []), "a.json.gz"))
