-- Rows of a staged day that break a rule, before it is applied: the checks may not have run. One
-- plain pass, so a pair that is there twice shows as a row more than the day's record says.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f 011_require_sound.sql
SELECT
    staged.null_agent_ids,
    staged.null_role_ids,
    staged.null_statuses,
    staged.other_statuses,
    CASE
        WHEN day.pruned_at IS NULL THEN staged.all_rows - day.assigned - day.removed
    END AS rows_more_than_recorded
FROM (
    SELECT
        count(*) AS all_rows,
        count(*) FILTER (WHERE agent_id IS NULL) AS null_agent_ids,
        count(*) FILTER (WHERE role_id IS NULL) AS null_role_ids,
        count(*) FILTER (WHERE status IS NULL) AS null_statuses,
        count(*) FILTER (WHERE status NOT IN ('assigned', 'removed')) AS other_statuses
    FROM stg_agent_roles
    WHERE sync_day = current_setting('agent_roles.sync_day')
) AS staged
CROSS JOIN agent_role_sync_days AS day
WHERE day.sync_day = current_setting('agent_roles.sync_day');
