"""Keeping Dagster's event log open, which is most of what a small day costs."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME


@contextmanager
def event_log_kept_open(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Keep the event log open, where that is in SQLite.

    Dagster opens it anew for each event. The last connection that closes writes the whole log back,
    which takes more than half of the time of a small day.
    """
    storage: Any = instance.event_log_storage
    shards = [INDEX_SHARD_NAME, run_id] if isinstance(storage, SqliteEventLogStorage) else []
    with ExitStack() as opened:
        for shard in shards:
            kept = sqlite3.connect(storage.path_for_shard(shard))
            opened.enter_context(closing(kept))
            kept.execute("SELECT count(*) FROM sqlite_master").fetchall()  # it opens the file then
        yield
