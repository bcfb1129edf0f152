-- How many rows of a staged day break a rule. Asked before the day is applied, as the checks may
-- not have run. It is one plain pass: a pair that is there twice shows as one row more than is
-- on record.
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
    -- In a subquery, which is evaluated once. Without it, the setting is read for each row.
    WHERE sync_day = (SELECT current_setting('agent_roles.sync_day'))
) AS staged
CROSS JOIN agent_role_sync_days AS day
WHERE day.sync_day = current_setting('agent_roles.sync_day');
