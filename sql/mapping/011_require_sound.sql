-- How many rows of a staged day break a rule. Asked before the day is applied, as the checks may
-- not have run. It is one plain pass: a pair that is there twice shows as one row more than is
-- on record.
-- The day is a parameter, since PostgreSQL plans for no other day then.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f mapping/011_require_sound.sql

-- A pooler may give a session in which this file failed.
DO $$
BEGIN
    DEALLOCATE agent_roles_require_sound;
EXCEPTION WHEN invalid_sql_statement_name THEN NULL;
END $$;

PREPARE agent_roles_require_sound (TEXT) AS
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
    WHERE sync_day = $1
) AS staged
CROSS JOIN agent_role_sync_days AS day
WHERE day.sync_day = $1;

EXECUTE agent_roles_require_sound (current_setting('agent_roles.sync_day'));

DEALLOCATE agent_roles_require_sound;
