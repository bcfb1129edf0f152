"""Runs at the same time, in processes of their own, wait for each other and end as in order.

`AGENT_ROLES_TEST_PROCESSES` says how many days run at once (3 if not set).
"""

import os
import random
from pathlib import Path

from tests.conftest import Pipeline
from tests.processes import killed_at_the_end, start
from tests.worlds import tables, write_day

PROCESSES = int(os.environ.get("AGENT_ROLES_TEST_PROCESSES", "3"))


def test_days_run_at_once_in_random_order_end_as_one_after_the_other(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    days = [f"day{number}" for number in range(1, PROCESSES + 1)]
    for number, day in enumerate(days, start=1):
        write_day(pipeline.landing, day, seed=number)
    shuffled = [*days, days[0]]  # a day twice at the same time, too
    random.Random("order").shuffle(shuffled)
    env = {
        "AGENT_ROLES_LANDING": str(pipeline.landing),
        "AGENT_ROLES_DATABASE_URL": pipeline.database,
        "AGENT_ROLES_HOME": str(tmp_path / "home"),
    }
    logs = [tmp_path / f"{index}.log" for index in range(len(shuffled))]
    processes = [start(day, env, log) for day, log in zip(shuffled, logs, strict=True)]
    with killed_at_the_end(*processes):
        codes = [process.wait(600) for process in processes]
    said = [log.read_text(errors="replace") for log in logs]
    assert codes == [0] * len(codes), "\n".join(text[-2000:] for text in said)
    at_once = tables(pipeline.database)

    pipeline.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    for day in days:
        assert pipeline.run(day).success
    assert tables(pipeline.database) == at_once
