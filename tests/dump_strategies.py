"""Hypothesis strategies for what may land: dumps of every shape, with every flaw, small.

A dump is a dict of file contents by name. What it means is not decided here but by `model`.
"""

import gzip
import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import strategies as st

from tests import model

AGENTS = (1, 2, 3, 0, -5, 2**63 - 1)
ROLES = (10, 11, 2**53 + 1, -(2**63))
# Both kinds of names, and numbers that are not in the order of their texts.
DAYS = ("day1", "day2", "day9", "day10", "day12", "2026-01-31", "2026-02-01", "2025-12-31")

PAIRS = st.sampled_from([(agent, role) for role in ROLES for agent in AGENTS])
FEW_PAIRS = st.sets(st.sampled_from([(a, r) for r in ROLES[:2] for a in AGENTS]), max_size=7)

Dump = dict[str, bytes]

# JSON texts that are no id, or an unusual one.
_ODD_IDS = (
    "null", "true", "1.5", "1.0", "1.00", "1e2", "1E400", "-0", '"-0"', '"abc"', '""', '"01"',
    '"+1"', '"1.0"', '" 3 "', '"\\u0032"', '"\\t2\\n"', '"1 2"', '"\\u0661"', "[5]", "{}",
    '"\\u000b3\\f"', '"\\u001c3"', '"3\\u001f"', '"\\u00a03"', '"3\\u2003"', '"\\u00853"',
    '{"id": 1}', "9223372036854775807", "9223372036854775808", "-9223372036854775808",
    "-9223372036854775809",
    '"9223372036854775808"', "1" + "0" * 40, '"\\u0000"', '"\\ud800"', '"1\\u0000"', '"é"',
)  # fmt: skip
_STATUSES = (
    '"assigned"', '"assigned"', '"removed"', '"removed"', '"\\u0061ssigned"', '"paused"', "null",
    '"Assigned"', '"assigned "', '""', "1", "true", '["assigned"]', '{"a": "assigned"}',
    '"assigned\\u0000"', '"\\ud800"',
)  # fmt: skip
# Members that say nothing about assignments; the last ones JSONB can't hold to the letter.
_OTHER_MEMBERS = (
    '"name": "Role"', '"description": null', '"name": "é \\ud83d\\ude00 \U0001f600 \\" \\\\ /"',
    '"name": "\\\\u0000"', '"limit": 1e3', '"limit": 12345678901234567890.5',
    '"group": {"roles": [1], "agents": [2], "id": 3, "status": "removed"}',
    '"name": "\\u0000"', '"name": "\\ud800"', '"name": "a", "name": "b"',
    '"x": [{"a": 1, "a": 2}]', '"status": "removed"',
)  # fmt: skip
# Whole records that are odd.
_ODD_RECORDS = (
    "null", "42", '"text"', "[1, 2]", "[]", "{}", "true", '{"name": "nobody"}',
    '{"id": 10}', '{"id": null}', '{"id": "10", "name": "Role"}', '{"agent_id": 1}',
    '{"id": 10, "agents": []}', '{"id": 10, "agents": null}', '{"id": 11, "agents": "1"}',
    '{"id": 11, "agents": {"id": 1}}', '{"id": "x", "agent_ids": null}', '{"agents": [1]}',
    '{"agent_ids": []}', '{"role_ids": [10]}', '{"id": 1, "role_ids": null}',
    '{"id": 1, "role_ids": []}', '{"id": 1, "role_ids": 10}', '{"id": 1, "roles": null}',
    '{"id": 1, "roles": "10"}', '{"id": 1, "roles": []}', '{"role_id": 10}',
    '{"id": 2, "roles": "x", "role_id": 11}', '{"id": 2, "roles": null, "role_id": 10}',
    '{"id": null, "role_id": 10}', '{"agent_id": 1, "role_id": null}',
    '{"agent_id": null, "role_id": 10, "agents": [1]}', '{"id": 9, "id": 10, "agents": [1]}',
    '{"id": 10, "agents": [2], "agents": [3, null]}', '{"\\u0069d": 10, "ag\\u0065nts": [1]}',
    '{"id": 1, "role_ids": [10], "roles": [{"role_id": 11}]}', '{"roles": [10]}',
    '{"id": 10, "role_id": 11, "agents": [1]}', '{"id": 1, "agent_id": 2, "role_ids": [10]}',
)  # fmt: skip
# Lines of JSON Lines that are no JSON.
_BROKEN_LINES = (
    '{"id": 10, "agents": [1', "nonsense", '{"id": 10} {"id": 11}', "NaN", '{"id": NaN}', "{'a'}",
    '{"id": 10,}', "[1,]", "01", "\ufeff{}",
)  # fmt: skip
_NO_DUMPS = (
    '{"error": "unauthorized"}', '{"description": "not found"}', "null", "7", '"text"', "{}",
    '{"success": false, "data": []}', '{"error": "x", "roles": [{"id": 10, "agents": [1]}]}',
    '{"id": 10, "agents": [], "statusCode": 500}', '{"code": 429, "agents": []}',
    '{"roles": [], "roles": [{"id": 10, "agents": [1]}]}', "[]\0", '{"data": [], "data": []}',
    '{"roles": null}', '{"data": {}}', '{"role": []}', '{"roles": "none"}', "<html></html>",
)  # fmt: skip


def _one_in(n: int) -> st.SearchStrategy[bool]:
    """True about once in n draws; shrinks to False."""
    return st.integers(0, n - 1).map(lambda drawn: drawn == n - 1)


@st.composite
def _id_text(draw: st.DrawFn, value: int) -> str:
    """An id as JSON: the integer, or text that is one."""
    form = draw(st.sampled_from(("{}", "{}", "{}", '"{}"', '" {} "')))
    return form.format(value)


def _object(members: Iterable[str]) -> str:
    return "{" + ", ".join(members) + "}"


@st.composite
def _with_others(draw: st.DrawFn, members: list[str]) -> str:
    """An object of the members and others that say nothing, in any order."""
    others = draw(st.lists(st.sampled_from(_OTHER_MEMBERS), max_size=2)) if draw(_one_in(3)) else []
    if others:
        members = draw(st.permutations([*members, *others]))
    return _object(members)


@st.composite
def _with_twice(draw: st.DrawFn, members: list[str]) -> list[str]:
    """The members, mostly; or one of them twice, perhaps with another value or in another form."""
    if not draw(_one_in(6)):
        return members
    key, value = draw(st.sampled_from(members)).split(": ", 1)
    if draw(st.booleans()):
        key = f'"\\u{ord(key[1]):04x}{key[2:]}'
    return [*members, f"{key}: {draw(st.sampled_from((value, '1', '[10]', 'null')))}"]


@st.composite
def _entry(draw: st.DrawFn, keys: tuple[str, ...], value: int) -> str:
    """An entry of a list: the id, or an object that has it under one of the keys."""
    text = draw(_id_text(value))
    key = draw(st.sampled_from((None, None, *keys)))
    if key is None:
        return text
    members = [f'"{key}": {text}']
    if draw(_one_in(4)):
        members.append(f'"status": {draw(st.sampled_from(_STATUSES))}')
    return draw(_with_others(members))


@st.composite
def _odd_entry(draw: st.DrawFn, keys: tuple[str, ...]) -> str:
    text = draw(st.sampled_from(_ODD_IDS))
    key = draw(st.sampled_from((None, *keys, "other")))
    if key is None:
        return text
    members = [f'"{key}": {text}']
    if draw(_one_in(3)):
        members.append(f'"status": {draw(st.sampled_from(_STATUSES))}')
    if key == keys[0] and draw(_one_in(3)):
        members.append(f'"{keys[1]}": 1')  # not looked at, since the first key is there
    return draw(_with_others(draw(_with_twice(members))))


@st.composite
def _listing(draw: st.DrawFn, flawed: bool, side: str, owner: int, others: list[int]) -> str:
    """A record that lists a role's agents (side "role") or an agent's roles (side "agent")."""
    keys = ("id", "agent_id") if side == "role" else ("role_id", "id")
    entries = [draw(_entry(keys, other)) for other in others]
    if flawed and draw(_one_in(2)):
        entries += draw(st.lists(_odd_entry(keys), min_size=1, max_size=3))
        entries = draw(st.permutations(entries))
    owner_text = draw(_id_text(owner))
    if flawed and draw(_one_in(6)):
        owner_text = draw(st.sampled_from(_ODD_IDS))
    owner_key = draw(st.sampled_from(("id", "id", f"{side}_id")))
    lists = ("agents", "agent_ids") if side == "role" else ("role_ids", "roles")
    listed = f'"{draw(st.sampled_from(lists))}": [{", ".join(entries)}]'
    members = [f'"{owner_key}": {owner_text}', listed]
    return draw(_with_others(draw(_with_twice(members)) if flawed else members))


@st.composite
def _single(draw: st.DrawFn, flawed: bool, agent: int, role: int) -> str:
    """A record of one pair: an assignment, or an agent with a lone role_id."""
    key = draw(st.sampled_from(("agent_id", "agent_id", "id")))
    texts = [draw(_id_text(agent)), draw(_id_text(role))]
    if flawed and draw(_one_in(4)):
        texts[draw(st.integers(0, 1))] = draw(st.sampled_from(_ODD_IDS))
    members = [f'"{key}": {texts[0]}', f'"role_id": {texts[1]}']
    if draw(_one_in(4)):
        members.append(f'"status": {draw(st.sampled_from(_STATUSES))}')
    return draw(_with_others(draw(_with_twice(members)) if flawed else members))


@st.composite
def _records(draw: st.DrawFn, pairs: set[tuple[int, int]], flawed: bool) -> list[str]:
    """Records, as JSON texts, that together say the pairs, and perhaps more."""
    side = draw(st.sampled_from(("role", "role", "agent", "single")))
    said = sorted(pairs)
    if said and draw(_one_in(4)):
        said += draw(st.lists(st.sampled_from(said), min_size=1, max_size=3))
    records = []
    if side == "single":
        records = [draw(_single(flawed, *pair)) for pair in said]
    else:
        at = 1 if side == "role" else 0
        for owner in sorted({pair[at] for pair in said}):
            others = [pair[1 - at] for pair in said if pair[at] == owner]
            records.append(draw(_listing(flawed, side, owner, others)))
    if flawed:
        records += draw(st.lists(st.sampled_from(_ODD_RECORDS), max_size=3))
    return records


@st.composite
def _page(draw: st.DrawFn, records: list[str], flawed: bool) -> tuple[str, bytes]:
    """A file's ending and content, from records."""
    mark = "\ufeff" if draw(_one_in(6)) else ""
    if records and draw(_one_in(3)):
        lines = list(records)
        if flawed:
            lines += draw(st.lists(st.sampled_from((*_BROKEN_LINES, "", " \t")), max_size=2))
            lines = draw(st.permutations(lines))
        ending = draw(st.sampled_from(("\n", "\r\n")))
        text = ending.join(lines)
        # A last line that breaks off makes the whole file unreadable: that is for `_broken`.
        if draw(st.booleans()) or model.breaks_off(lines[-1]):
            text += ending
        suffix = draw(st.sampled_from((".jsonl", ".ndjson")))
    else:
        forms = ["[{}]", "[{}]", '{{"roles": [{}]}}', '{{"agents": [{}]}}']
        forms += ['{{"entity": "roles", "data": [{}], "page": 1}}', "\n[ {} ]\n"]
        if len(records) == 1 and records[0].startswith("{"):
            forms += [
                "{}",
                "\n {}\r\n",
                '{{"role": {}}}',
                '{{"agent": {}}}',
                '{{"links": {{}}, "role": {}}}',
            ]
        text = draw(st.sampled_from(forms)).format(", ".join(records))
        suffix = ".json"
    data = (mark + text).encode()
    if draw(_one_in(4)):
        at = draw(st.sampled_from((0, len(data) // 2)))  # a gzip file may have several members
        parts = [part for part in (data[:at], data[at:]) if part]
        return suffix + ".gz", b"".join(gzip.compress(part, mtime=0) for part in parts)
    return suffix, data


@st.composite
def pages(draw: st.DrawFn, pairs: set[tuple[int, int]], most: int = 3) -> Dump:
    """A dump's files, without a manifest, that say the pairs, and perhaps more."""
    flawed = draw(_one_in(2))
    records = draw(_records(pairs, flawed))
    count = draw(st.integers(1, most)) if len(records) > 1 else 1
    files = {}
    for number in range(count):
        suffix, data = draw(_page(records[number::count], flawed))
        files[draw(st.sampled_from(("roles", "é page", "a.b"))) + f"-{number}{suffix}"] = data
    return files


@st.composite
def _broken(draw: st.DrawFn, files: Dump) -> Dump:
    """The files, one of them damaged, none left, or another one beside them."""
    name = draw(st.sampled_from(sorted(files)))
    data = files[name]
    damage = draw(st.integers(0, 7))
    if damage == 0:
        return {}
    if damage == 1:
        data = data[: draw(st.integers(0, len(data) - 1))]
    elif damage == 2:
        data = draw(st.sampled_from((b"", b"\n", b" \t\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n")))
    elif damage == 3:
        data = draw(st.sampled_from((data + b"\xff", b"\xff\xfe[\x00]\x00", b'["\xed\xa0\x80"]')))
    elif damage == 4 and name.endswith(".gz"):
        data = data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]
    elif damage == 5 and not name.endswith(".gz"):
        return {**files, name + ".gz": data}
    else:
        return {**files, "z.json": draw(st.sampled_from(_NO_DUMPS)).encode()}
    return {**files, name: data}


def any_pages(pairs: set[tuple[int, int]]) -> st.SearchStrategy[Dump]:
    """A dump's files, without a manifest, that may be damaged."""
    return st.one_of(pages(pairs), pages(pairs).flatmap(_broken))


@st.composite
def times(draw: st.DrawFn) -> str:
    """An ISO 8601 time with an offset, one of few moments."""
    moment = datetime(2026, 1, 1, 6, tzinfo=UTC) + timedelta(hours=draw(st.integers(0, 6)))
    if draw(st.booleans()):
        return moment.isoformat().replace("+00:00", "Z")
    return moment.astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat()


@st.composite
def manifest(draw: st.DrawFn, files: Dump, may_be_wrong: bool) -> bytes:
    """A manifest for the files: right, unless it may be wrong and is."""
    said: dict[str, object] = {"observed_at": draw(times())}
    wrong = draw(st.integers(0, 7)) if may_be_wrong else -1
    if wrong == 0:
        broken = (b"", b"{", b"[]", b'{"observed_at": "yesterday"}', b'{"observed_at": 5}')
        return draw(st.sampled_from((*broken, b'{"observed_at": "2026-01-01T06:00:00"}')))
    if draw(_one_in(3)) or may_be_wrong:
        entries = []
        for name, data in files.items():
            if not model.is_dump_file(name) and draw(st.booleans()):
                continue
            entry: dict[str, object] = {"name": name}
            if draw(st.booleans()):
                entry["sha256"] = hashlib.sha256(data).hexdigest()
            if model.is_dump_file(name) and draw(st.booleans()):
                try:
                    entry["records"] = len(list(model.file_records(name, data)))
                except model.NoSnapshot:
                    entry["records"] = 1
            entries.append(entry)
        if entries and wrong == 1:
            entries[0]["sha256"] = "0" * 64
        elif entries and wrong == 2:
            entries[-1]["records"] = 99
        elif wrong == 3:
            entries.append({"name": "missing.json"})
        said["files"] = entries
    return json.dumps(said).encode()


@st.composite
def dumps(draw: st.DrawFn, pairs: set[tuple[int, int]]) -> Dump:
    """All files of a day's folder: mostly a readable dump that says the pairs, and perhaps more."""
    files = draw(pages(pairs))
    flaw = draw(st.integers(0, 15))
    if flaw == 14:
        files = draw(_broken(files))
    if draw(_one_in(5)):
        files = {**files, ".partial.json": b"{", "_old.json": b"", "notes.txt": b"\xff"}
    return {**files, "_manifest.json": draw(manifest(files, may_be_wrong=flaw == 15))}
