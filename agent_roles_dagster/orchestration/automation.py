"""The automation conditions: when a day runs by itself.

https://docs.dagster.io/guides/automate/declarative-automation
"""

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorStatus, InstigatorType
from dagster._core.storage.tags import RETRY_STRATEGY_TAG

from agent_roles_dagster.settings import Settings

# Seconds between two ticks of a sensor.
LOOK_EVERY = 10

# The job that loads many days in one run, and the tag of its runs.
LOAD = "load_landed_days"
LOADED = "agent_roles/loaded"
TAKE_BACK = "take_back_newest_day"

_Condition = dg.AutomationCondition

# First, each day that has landed and was never run. Then once for each landing that the sensor
# reports, no matter whether the run fails. Unlike with eager(), a run in progress does not count as
# an answer to a landing: it may have read the earlier dump.
_AT_FIRST = _Condition.initial_evaluation()
# A run that loads many days has read the landings that it reports.
_LANDED = _Condition.any_deps_match(
    _Condition.newly_updated() & ~_Condition.all_new_updates_have_run_tags(tag_keys={LOADED})
)
# A day that the first evaluation requested may look newly updated at the second.
_SEEN_AT_FIRST = (~_AT_FIRST).newly_true() & _Condition.newly_requested()
ON_LANDING = (_AT_FIRST & _Condition.missing() & ~_Condition.any_deps_missing()) | (
    _LANDED & ~_SEEN_AT_FIRST
)

# In one run with the upstream assets, if these are requested: a failed blocking check then stops
# the run. A person who runs only the upstream assets may want to look at them first.
WITH_UPSTREAM = _Condition.any_deps_match(_Condition.will_be_requested())


_SENSOR = "landed_days_run"


def automation_is_on(instance: dg.DagsterInstance, settings: Settings) -> bool:
    """Whether the automation's sensor is on. Its switch comes before the setting."""
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        if state.name == _SENSOR and state.status != InstigatorStatus.DECLARED_IN_CODE:
            return state.status == InstigatorStatus.RUNNING
    return settings.automation


def automation_sensor(settings: Settings) -> dg.AutomationConditionSensorDefinition:
    """The sensor that launches the runs that the conditions request. The setting turns it on."""
    status = dg.DefaultSensorStatus
    return dg.AutomationConditionSensorDefinition(
        _SENSOR,
        target=dg.AssetSelection.all(),
        description="Runs each day that has landed, and runs it again when it lands again.",
        minimum_interval_seconds=LOOK_EVERY,
        # Several days at once would wait for Dagster's backfills, which start every 30 seconds.
        emit_backfills=False,
        # A run that died is started again as a whole, since its day may have landed again.
        run_tags={RETRY_STRATEGY_TAG: "ALL_STEPS"},
        default_status=status.RUNNING if settings.automation else status.STOPPED,
    )
