"""The sensor that reports failed runs, failed checks and an overdue day."""

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
    description="Reports failed runs, failed checks and an overdue day: in its log, and to the"
    " webhook if one is set. It reports each only once, unless the day landed again in between.",
    minimum_interval_seconds=LOOK_EVERY,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def notices(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Report what is new since the last tick. What the webhook refuses, the next tick sends again.

    Raises:
        NotDelivered: the webhook accepted no notice.
        Exception: any other error before the first notice.
    """
    settings = Settings.from_env()
    # The last event of each kind; the number of days, the newest day, since when it is known, and
    # whether it was reported as overdue.
    state: dict[str, Any] = json.loads(context.cursor or "{}")
    reported = 0
    failed = ""
    until = time.monotonic() + _SECONDS
    try:
        for text, page, after in news(context.instance, state, settings.fresh_hours):
            if text:
                if settings.webhook_url:
                    post(settings.webhook_url, text, _link(settings.ui_url, page))
                context.log.warning(text)
                reported += 1
            state.update(after)
            if time.monotonic() > until:
                break  # The next tick goes on. Dagster ends a tick that takes a minute.
    except Exception as error:
        if not reported:
            raise
        # The cursor keeps what was reported. The next tick fails if the error lasts.
        failed = f" {error if isinstance(error, NotDelivered) else type(error).__name__}"
    return dg.SensorResult(
        skip_reason=f"{reported} reported.{failed}" if reported else "Nothing to report",
        cursor=json.dumps(state),
    )


def _link(ui_url: str | None, page: str | None) -> str | None:
    return f"{ui_url.rstrip('/')}/{page}" if ui_url and page else None
