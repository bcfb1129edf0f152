"""What the tables hold of a day, in a few short texts: whether they are what a run left there."""

import hashlib
import sys
from dataclasses import astuple, dataclass
from pathlib import Path

import msgspec
import pyarrow as pa
import pyspark

from agent_roles_dagster.database import Connection, rows_of_file, sql_file


def _digest_of_code() -> str:
    """Another one with each version of the code, or of the packages here that judge a dump."""
    versions = (sys.version, pyspark.__version__, pa.__version__, msgspec.__version__)
    digest = hashlib.sha256(repr(versions).encode())
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(module.read_bytes())
    for name in ("021_publish_errors", "022_publish_day"):
        digest.update(sql_file(name).encode())
    return digest.hexdigest()


# When it is imported: later, the files may be those of another version than what runs.
_CODE_DIGEST = _digest_of_code()


@dataclass(frozen=True)
class Checksums:
    """Of a day, and of the pairs of the day before, with the SHA-256 of the code that runs.

    Attributes:
        pairs, record: None if the day is not staged.
        previous_pairs: None if no day before it is.
    """

    pairs: str | None
    record: str | None
    previous_pairs: str | None
    code_digest: str

    def are_of(self, *, pairs: int, changes: int) -> bool:
        """Whether the tables hold so many pairs and changes of the day, and no more."""
        return f"{self.pairs}".startswith(f"({pairs},") and f"{self.record}".startswith(
            f"({changes},"
        )


def take_checksums(connection: Connection, sync_day: str | None, previous: str | None) -> Checksums:
    """What the tables hold now; each ten million pairs take PostgreSQL about a second.

    Raises:
        psycopg.Error: the database.
    """

    def checksum(file: str, day: str | None) -> str | None:
        rows = rows_of_file(connection, file, sync_day=day) if day is not None else []
        return str(rows[0]["checksum"]) if rows else None

    return Checksums(
        checksum("025_checksum_pairs", sync_day),
        checksum("026_checksum_record", sync_day),
        checksum("025_checksum_pairs", previous),
        _CODE_DIGEST,
    )


def kept_checksums(connection: Connection, sync_day: str) -> Checksums | None:
    """What `keep_checksums` kept last, None if it never did."""
    row = connection.execute(
        "SELECT pairs, record, previous_pairs, code_digest FROM agent_role_checksums"
        " WHERE sync_day = %s",
        (sync_day,),
    ).fetchone()
    return None if row is None else Checksums(**row)


def keep_checksums(connection: Connection, sync_day: str, found: Checksums) -> None:
    """Remember what the tables hold of a staged day that was compared with its dump."""
    connection.execute(
        "INSERT INTO agent_role_checksums AS known"
        " (sync_day, pairs, record, previous_pairs, code_digest) VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (sync_day) DO UPDATE SET pairs = excluded.pairs, record = excluded.record,"
        " previous_pairs = excluded.previous_pairs, code_digest = excluded.code_digest"
        " WHERE known.* IS DISTINCT FROM excluded.*",
        (sync_day, *astuple(found)),
    )
