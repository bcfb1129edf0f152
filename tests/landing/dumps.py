"""Lands dumps for the tests of this folder."""

import gzip
import json
from pathlib import Path
from typing import Any

from agent_roles_dagster.landing.dump import Dump
from agent_roles_dagster.landing.find import find_dump

RECORDS = b'[{"id": 10, "agents": [1, 2]}]'
ZIPPED = gzip.compress(RECORDS, mtime=0)


def land(root: Path, files: dict[str, bytes], manifest: Any = None) -> Dump:
    """Land the files as day1 and find them."""
    folder = root / "day1"
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    if manifest is not None:
        text = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        (folder / "_manifest.json").write_bytes(text)
    return find_dump(str(root), "day1")


def names(dump: Dump) -> list[str]:
    return [file.name for file in dump.files]
