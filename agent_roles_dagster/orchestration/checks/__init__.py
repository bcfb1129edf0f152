"""The asset checks.

`specs` says what each check expects, `rules` what it finds in the tables. `definitions` are the
steps that run them; `unreached` and `history` give and read results beside those of the steps.
"""

from agent_roles_dagster.orchestration.checks.rules import (
    of_errors,
    of_mapping,
    of_staging,
    of_times,
)
from agent_roles_dagster.orchestration.checks.specs import (
    BLOCKING,
    BY_STEP,
    ERRORS,
    MAPPING,
    MAY_BE_STAGED,
    OF_WHOLE_MAPPING,
    ON_ERRORS,
    ON_MAPPING,
    ON_STAGED,
    STAGED,
    SUSPECT,
    USUAL,
    finding,
)

__all__ = [
    "BLOCKING",
    "BY_STEP",
    "ERRORS",
    "MAPPING",
    "MAY_BE_STAGED",
    "OF_WHOLE_MAPPING",
    "ON_ERRORS",
    "ON_MAPPING",
    "ON_STAGED",
    "STAGED",
    "SUSPECT",
    "USUAL",
    "finding",
    "of_errors",
    "of_mapping",
    "of_staging",
    "of_times",
]
