"""The seal: digests of the files' content, held against the manifest."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from agent_roles_dagster.display import plain
from agent_roles_dagster.landing.content import content
from agent_roles_dagster.landing.dump import Dump, naming, shown_path
from agent_roles_dagster.landing.files import DumpFile
from agent_roles_dagster.landing.manifest import MANIFEST
from agent_roles_dagster.outcomes import Unreadable


def seal(dump: Dump, threads: int = 4) -> str:
    """Read every file once and return the dump's content digest (64 hexadecimal digits).

    Memory does not grow with the files: they are read in pieces.

    Raises:
        Unreadable: a file is blank, not UTF-8, a broken or overlong gzip, or not what the manifest
            says.
        NotRead: a file can't be read.
    """
    with ThreadPoolExecutor(threads) as pool:
        digests = dict(
            zip(
                (file.name for file in dump.files),
                pool.map(lambda file: _file_digest(dump.sync_day, file), dump.files),
                strict=True,
            )
        )
    check_digests(dump, digests)
    return content_digest(digests)


def check_digests(dump: Dump, digests: Mapping[str, str]) -> None:
    """Compare the files' SHA-256, by name, with the manifest's.

    Raises:
        Unreadable: one differs.
    """
    for name, entry in (dump.listed or {}).items():
        check_digest(shown_path(dump.sync_day, name), entry, digests[name])


def check_digest(where: str, entry: Mapping[str, Any], digest: str) -> None:
    expected = entry.get("sha256")
    if expected is not None and expected.lower() != digest:
        raise Unreadable(f"{where}: its SHA-256 is {digest}, but {MANIFEST} says {plain(expected)}")


def content_digest(digests: Mapping[str, str]) -> str:
    """One digest for a dump, from its files' SHA-256 by name."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def _file_digest(sync_day: str, file: DumpFile) -> str:
    digest = hashlib.sha256()
    with naming(shown_path(sync_day, file.name)):
        for _ in content(file, digest):
            pass
    return digest.hexdigest()
