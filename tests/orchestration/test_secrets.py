"""No password and nothing personal is written anywhere but to raw_record, which is made for it.

What a team's set-up writes, with its ticks and its instance in PostgreSQL, is in `test_automation`.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from agent_roles_dagster.landing.files import DumpFile
from agent_roles_dagster.landing.find import find_dump
from agent_roles_dagster.landing.seal import seal
from agent_roles_dagster.outcomes import Unreadable
from agent_roles_dagster.reading.file import read_file
from tests.conftest import Pipeline
from tests.planted import PASSWORD, PERSON, PLANTED, files, leaks, tables, with_password
from tests.processes import killed_at_the_end, start

INVALID = [None, PLANTED, {"id": PLANTED}, {"id": 3, "status": PLANTED}, PERSON, [PLANTED]]


def _document(role_id: int, *agents: object) -> str:
    return json.dumps([{"id": role_id, "agents": agents, **PERSON}])


def test_what_runs_write_has_no_secret_in_it(
    pipeline: Pipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    agents = [{"id": agent, **PERSON} for agent in range(20)]
    person = json.dumps(PERSON)
    lines = f"{person}\n{PLANTED}\n{person} 5\n"
    pipeline.write("day1", {"a.json": _document(10, *agents, *INVALID), "b.jsonl": lines})
    pipeline.write("day2", {"a.json": _document(10, *agents)[:-5]})
    pipeline.write("day3", {"a.json": _document(10, *INVALID)})
    pipeline.write("day4", {"a.json": _document(66, *agents, PLANTED)})
    monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", with_password(pipeline.database))
    monkeypatch.setenv("AGENT_ROLES_SPARK_CONF_hadoop__fs__s3a__secret__key", PASSWORD)
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}")
    with dg.DagsterInstance.local_temp(str(home)) as pipeline.instance:
        outcomes = [pipeline.outcome(pipeline.run("day1"))]
        # Of a row that a constraint refuses, PostgreSQL quotes all columns.
        pipeline.execute("ALTER TABLE agent_role_pipeline_errors ADD CHECK (role_id <> 66)")
        outcomes += [pipeline.outcome(pipeline.run(day)) for day in ("day2", "day3", "day4")]
    assert outcomes == ["staged", "unreadable", "held", "failed"]
    nowhere = f"postgresql://somebody:{PASSWORD}@127.0.0.1:1/roles"
    env = {"DAGSTER_HOME": str(home), "AGENT_ROLES_DATABASE_URL": nowhere}
    process = start("day1", env, tmp_path / "terminal.log")
    with killed_at_the_end(process):
        assert process.wait(300) != 0

    printed = "".join(capfd.readouterr())
    assert "violates check constraint" in printed
    written = {"printed": printed, **dict(files(tmp_path)), **dict(tables(pipeline.database))}
    written |= _server_log(pipeline)
    assert any("connection refused" in text.lower() for text in written.values())
    assert any("spark.sql.session.timeZone" in text for text in written.values()), (
        "snapshots are unpacked"
    )
    assert PLANTED in written.pop("agent_role_pipeline_errors")
    assert leaks(written) == {}


def _server_log(pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    [[data]] = pipeline.rows("SHOW data_directory")
    if (log := Path(data) / "server.log").exists():
        yield "server.log", log.read_text()


UNREADABLE = {
    "cut short": {"a.json": f'[{{"id": 1, "name": "{PLANTED}'},
    "a line cut short": {"a.jsonl": f'{{"id": 1, "name": "{PLANTED}'},
    "no JSON": {"a.json": PLANTED},
    "an API's error": {"a.json": json.dumps({"code": 401, "message": PLANTED, PLANTED: PLANTED})},
    "a bare value": {"a.json": f'"{PLANTED}"'},
    "not UTF-8": {"a.json": f'["{PLANTED}é"]'.encode("latin-1")},
    "a broken gzip": {"a.json.gz": PLANTED.encode()},
    "a time that is none": {"_manifest.json": json.dumps({"observed_at": PLANTED})},
    "a time without an offset": {"_manifest.json": json.dumps({"observed_at": PERSON})},
    "a manifest that is no JSON": {"_manifest.json": PLANTED},
    "a manifest of something else": {"_manifest.json": json.dumps([PERSON])},
    "a list of something else": {"_manifest.json": json.dumps({"files": [{"sha256": PERSON}]})},
}


@pytest.mark.parametrize("files", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_makes_a_day_unreadable_is_told_and_not_quoted(
    tmp_path: Path, files: dict[str, str | bytes]
) -> None:
    (tmp_path / "day1").mkdir()
    for name, content in {"z.json": "[]", **files}.items():
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "day1" / name).write_bytes(data)
    said = []
    try:
        dump = find_dump(str(tmp_path), "day1")
        said += [_told(file) for file in dump.files]
        seal(dump)
    except Unreadable as error:
        said.append(str(error))
    assert any(f"day1/{name}: " in text for text in said for name in files)
    assert not any(PLANTED in text for text in said)


def _told(file: DumpFile) -> str:
    """What the reader says of the file as a whole."""
    return str(list(read_file("day1", file))[-1]["problem"][0])
