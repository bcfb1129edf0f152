-- The staged days just before and after a day, and those that wait to be applied. What Dagster
-- shows of them may be out of date.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f reports/days_beside.sql
SELECT
    sync_day,
    coalesce(following = current_setting('agent_roles.sync_day'), FALSE) AS is_before,
    coalesce(previous = current_setting('agent_roles.sync_day'), FALSE) AS is_after,
    applied_at IS NULL AS is_waiting
FROM (
    SELECT
        sync_day,
        day_no,
        applied_at,
        lag(sync_day) OVER (ORDER BY day_no) AS previous,
        lead(sync_day) OVER (ORDER BY day_no) AS following
    FROM agent_role_sync_days
    WHERE staged_at IS NOT NULL
) AS day
WHERE
    sync_day <> current_setting('agent_roles.sync_day')
    AND (current_setting('agent_roles.sync_day') IN (previous, following) OR applied_at IS NULL)
ORDER BY day_no;
