"""Secrets to plant in what the product is given, and the search for them in what it writes."""

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

# Every secret has this word in it, and nothing else does.
PLANTED = "planted"
PASSWORD = f"{PLANTED}Pass-1"
PERSON = {"name": f"{PLANTED} Doe", "email": f"{PLANTED}.doe@example.org", PLANTED: PLANTED}


def with_password(url: str) -> str:
    """The URL of a server that takes any password, with one."""
    assert "@" in url
    return url.replace("@", f":{PASSWORD}@", 1)


def leaks(written: Mapping[str, str]) -> dict[str, str]:
    """The surroundings of the first secret in each of the texts that has one."""
    return {
        name: text[max(0, at - 200) : at + 100]
        for name, text in written.items()
        if (at := text.lower().find(PLANTED)) >= 0
    }


def files(folder: Path) -> Iterator[tuple[str, str]]:
    """Everything below the folder but what landed; of a database of Dagster's also each value."""
    for path in folder.rglob("*"):
        if not path.is_file() or path.is_relative_to(folder / "admin_roles"):
            continue
        yield str(path), path.read_bytes().decode(errors="replace")
        if path.suffix == ".db":
            with closing(sqlite3.connect(path)) as connection:
                tables = connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table'"
                ).fetchall()
                for (table,) in tables:
                    rows = connection.execute(f'SELECT * FROM "{table}"')
                    yield f"{path}, {table}", "\n".join(_texts(rows))


def tables(database: str) -> Iterator[tuple[str, str]]:
    """All values in a PostgreSQL database's tables and views, by their names."""
    with psycopg.connect(database) as connection:
        names = connection.execute(
            "SELECT oid::REGCLASS::TEXT FROM pg_class WHERE relkind IN ('r', 'v')"
            " AND relnamespace::REGNAMESPACE::TEXT IN ('public', 'public_days')"
        ).fetchall()
        for (name,) in names:
            rows = connection.execute(f"SELECT * FROM {name}".encode())
            yield name, "\n".join(_texts(rows))


def _texts(rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """The values as texts; those that Dagster packed are unpacked."""
    for row in rows:
        for value in row:
            if isinstance(value, bytes):
                try:
                    yield zlib.decompress(value).decode()
                except (zlib.error, UnicodeDecodeError):
                    yield value.decode(errors="replace")
            else:
                yield str(value)
