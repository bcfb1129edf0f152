"""The SQL files, run as they stand."""

from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

Connection = psycopg.Connection[dict[str, Any]]

_PACKAGE = Path(__file__).parents[1]


@cache
def sql_file(name: str) -> str:
    """The text of sql/<name>.sql: beside the package in a checkout, inside it once installed."""
    folders = (_PACKAGE.parent / "sql", _PACKAGE / "sql")
    folder = next(folder for folder in folders if (folder / "schema/010_schema.sql").is_file())
    return (folder / f"{name}.sql").read_text(encoding="utf-8")


def run_file(connection: Connection, name: str) -> list[int]:
    """Run a SQL file as it stands; returns the number of rows of each of its statements."""
    cursor = connection.execute(sql_file(name).encode())
    counts = [cursor.rowcount]
    while cursor.nextset():
        counts.append(cursor.rowcount)
    return counts


def rows_of_file(connection: Connection, name: str, **parameters: str) -> list[dict[str, Any]]:
    """The rows of a SQL file's one SELECT, which reads its parameters as `agent_roles.<name>`."""
    # All at once, which is one transaction: a day asks dozens of such questions.
    settings = [
        sql.SQL("SELECT set_config({}, {}, TRUE);").format(f"agent_roles.{key}", value)
        for key, value in parameters.items()
    ]
    cursor = connection.execute(sql.SQL("").join(settings).as_bytes() + sql_file(name).encode())
    while cursor.nextset():
        pass
    return cursor.fetchall()


def one(connection: Connection, query: str, parameters: tuple[Any, ...] = ()) -> Any:
    """The first column of the query's first row."""
    row = connection.execute(query.encode(), parameters).fetchone()
    return None if row is None else next(iter(row.values()))
