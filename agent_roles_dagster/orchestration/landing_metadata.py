"""What Dagster shows of a day's folder: as the sensor sees it, and as raw_roles reads it."""

import time
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from agent_roles_dagster.display import in_markdown
from agent_roles_dagster.landing.arrival import Arrival
from agent_roles_dagster.landing.dump import Dump
from agent_roles_dagster.landing.files import shown
from agent_roles_dagster.orchestration.reports import TIME
from agent_roles_dagster.settings import Settings

_LISTED = 50


def what_landed(day: str, arrival: Arrival, settings: Settings) -> dict[str, Any]:
    """Metadata of a day's landed_dump."""
    changed = datetime.fromtimestamp(arrival.changed_at, UTC)
    why = f"nothing had changed for {settings.settle_seconds:g} seconds"
    if arrival.listed:
        why = "the manifest lists its files"
    elif not arrival.is_complete(time.time(), settings.settle_seconds):
        why = "a person loaded it before that was sure"
    return {
        "dagster/uri": f"{shown(settings.landing)}/{day}",
        "files": arrival.files,
        "size": f"{arrival.size:,} bytes",
        "last changed at": f"{changed:{TIME}} UTC",
        "complete because": why,
    }


def what_was_sealed(landing: str, dump: Dump, digest: str) -> dict[str, Any]:
    """Metadata of a day's raw_roles."""
    return {
        "dagster/uri": f"{shown(landing)}/{dump.sync_day}",
        "files": len(dump.files),
        "size": f"{dump.size:,} bytes",
        "observed at": f"{dump.observed_at or dump.modified_at:{TIME}} UTC",
        "observed at is from": "the manifest" if dump.observed_at else "the files' times",
        "names and sizes": dg.MetadataValue.md(_names_and_sizes(dump)),
        "digest": digest,
    }


def _names_and_sizes(dump: Dump) -> str:
    lines = [f"- {in_markdown(file.name)}: {file.size:,} bytes" for file in dump.files[:_LISTED]]
    more = len(dump.files) - len(lines)
    return "\n".join(lines) + (f"\n\nand {more:,} more." if more else "")
