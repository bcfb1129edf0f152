-- The checked day and the next one, if they were not read later than the day before them.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f checks/observed_at.sql
SELECT
    sync_day,
    observed_at,
    previous_day,
    previous_observed_at
FROM (
    SELECT
        sync_day,
        observed_at,
        day_no,
        lag(sync_day) OVER (ORDER BY day_no) AS previous_day,
        lag(observed_at) OVER (ORDER BY day_no) AS previous_observed_at
    FROM agent_role_sync_days
    WHERE staged_at IS NOT NULL
) AS day
WHERE
    current_setting('agent_roles.sync_day') IN (sync_day, previous_day)
    AND observed_at <= previous_observed_at
ORDER BY day_no;
