"""The automation conditions: when an asset's day is run without anybody asking for it.

https://docs.dagster.io/guides/automate/declarative-automation
"""

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorStatus, InstigatorType

from agent_roles_dagster.settings import Settings

# Seconds between two ticks of a sensor.
LOOK_EVERY = 10

# The job that loads many days in one run, and the tag of its runs.
LOAD = "load_landed_days"
LOADED = "agent_roles/loaded"

_Condition = dg.AutomationCondition

# At first sight, each day that has landed and was never run. Then once for each landing that the
# sensor reports, whether the run fails or not. Unlike in eager(), neither a run in progress nor a
# finished one settles it: it may have read the dump that was there before.
_AT_FIRST = _Condition.initial_evaluation()
# What a run that loads many days reports as landed, it has read itself.
_LANDED = _Condition.any_deps_match(
    _Condition.newly_updated() & ~_Condition.all_new_updates_have_run_tags(tag_keys={LOADED})
)
# The report of a day that is there at first sight may count as new at the second.
_SEEN_AT_FIRST = (~_AT_FIRST).newly_true() & _Condition.newly_requested()
ON_LANDING = (_AT_FIRST & _Condition.missing() & ~_Condition.any_deps_missing()) | (
    _LANDED & ~_SEEN_AT_FIRST
)

# In one run with what it depends on, where that is requested: in a run, failed blocking checks
# stop what follows. Never after somebody ran only that: they may want to look before they go on.
WITH_UPSTREAM = _Condition.any_deps_match(_Condition.will_be_requested())


_SENSOR = "landed_days_run"


def automation_is_on(instance: dg.DagsterInstance, settings: Settings) -> bool:
    """Whether the automation's sensor is on: by its switch, or else by the setting."""
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        if state.name == _SENSOR and state.status != InstigatorStatus.DECLARED_IN_CODE:
            return state.status == InstigatorStatus.RUNNING
    return settings.automation


def automation_sensor(settings: Settings) -> dg.AutomationConditionSensorDefinition:
    """The sensor that launches what the conditions ask for; it is on if the setting says so."""
    status = dg.DefaultSensorStatus
    return dg.AutomationConditionSensorDefinition(
        _SENSOR,
        target=dg.AssetSelection.all(),
        description="Runs each day that has landed, and runs it again when it lands again.",
        minimum_interval_seconds=LOOK_EVERY,
        # Several days at once would wait for Dagster's backfills, which start every 30 seconds.
        emit_backfills=False,
        # A run that died is started again as a whole: its day may have landed anew meanwhile.
        run_tags={"dagster/retry_strategy": "ALL_STEPS"},
        default_status=status.RUNNING if settings.automation else status.STOPPED,
    )
