-- Rows of a staged day that break a rule, before it is applied: the checks may not have run. One
-- plain pass, so a pair that is there twice shows as a row more than the day's record says.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f mapping/011_require_sound.sql
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
        count(*) - count(agent_id) AS null_agent_ids,
        count(*) - count(role_id) AS null_role_ids,
        count(*) - count(status) AS null_statuses,
        count(*) FILTER (WHERE status NOT IN ('assigned', 'removed')) AS other_statuses
    FROM stg_agent_roles
    -- In a query of its own, which is asked once; as it stands, it would be with every row.
    WHERE sync_day = (SELECT current_setting('agent_roles.sync_day'))
) AS staged
CROSS JOIN agent_role_sync_days AS day
WHERE day.sync_day = current_setting('agent_roles.sync_day');
