"""The seal: the digest of the dump's files. Each file's digest is compared with the manifest."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from agent_roles_dagster.display import plain
from agent_roles_dagster.landing.content import read_text
from agent_roles_dagster.landing.dump import Dump
from agent_roles_dagster.landing.errors import errors_about
from agent_roles_dagster.landing.files import DumpFile
from agent_roles_dagster.landing.manifest import MANIFEST
from agent_roles_dagster.landing.names import shown_path
from agent_roles_dagster.outcomes import Unreadable


def seal(dump: Dump, threads: int = 4) -> str:
    """Read each file once, in pieces, and return the dump's digest: 64 hexadecimal digits.

    Raises:
        Unreadable: a file is not one that `read_text` takes, or does not match the manifest.
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
    """Compare each file's SHA-256 with the manifest.

    Args:
        digests: the files' SHA-256, by name.

    Raises:
        Unreadable: a file has another SHA-256.
    """
    for name, entry in (dump.listed or {}).items():
        check_digest(shown_path(dump.sync_day, name), entry, digests[name])


def check_digest(where: str, entry: Mapping[str, Any], digest: str) -> None:
    """The same for one file, by its entry in the manifest. `where` begins the error's text."""
    expected = entry.get("sha256")
    if expected is not None and expected.lower() != digest:
        raise Unreadable(f"{where}: its SHA-256 is {digest}, but {MANIFEST} says {plain(expected)}")


def content_digest(digests: Mapping[str, str]) -> str:
    """The dump's digest, from its files' SHA-256 by name."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def _file_digest(sync_day: str, file: DumpFile) -> str:
    digest = hashlib.sha256()
    with errors_about(shown_path(sync_day, file.name)):
        for _ in read_text(file, digest):
            pass
    return digest.hexdigest()
