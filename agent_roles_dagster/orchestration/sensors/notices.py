"""The sensor that tells of failed runs, failed checks and an overdue day."""

import json
import time
from typing import Any

import dagster as dg

from agent_roles_dagster.orchestration.automation import LOOK_EVERY
from agent_roles_dagster.orchestration.notices.news import news
from agent_roles_dagster.orchestration.notices.webhook import NotDelivered, post
from agent_roles_dagster.settings import Settings

_SECONDS = 30


@dg.sensor(
    description="Tells of failed runs, failed checks and a day that is overdue: in its log, and to"
    " the webhook if one is set. Each once, unless the day landed again in between.",
    minimum_interval_seconds=LOOK_EVERY,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def notices(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Tells what is new since the last tick; what the webhook does not take, it keeps for the next.

    Raises:
        NotDelivered: the webhook takes none.
        Exception: whatever else kept it from telling anything.
    """
    settings = Settings.from_env()
    # The last event told of each kind; how many days there are, the newest, since when, and whether
    # that was told.
    state: dict[str, Any] = json.loads(context.cursor or "{}")
    told = 0
    said = ""
    until = time.monotonic() + _SECONDS
    try:
        for text, page, after in news(context.instance, state, settings.fresh_hours):
            if text:
                if settings.webhook_url:
                    post(settings.webhook_url, text, _link(settings.ui_url, page))
                context.log.warning(text)
                told += 1
            state.update(after)
            if time.monotonic() > until:
                break  # The rest at the next tick: Dagster ends one that takes a minute.
    except Exception as error:
        if not told:
            raise
        # What was told is kept; the next tick fails if this lasts.
        said = f" {error if isinstance(error, NotDelivered) else type(error).__name__}"
    return dg.SensorResult(
        skip_reason=f"{told} told.{said}" if told else "Nothing to tell",
        cursor=json.dumps(state),
    )


def _link(ui_url: str | None, page: str | None) -> str | None:
    return f"{ui_url.rstrip('/')}/{page}" if ui_url and page else None
