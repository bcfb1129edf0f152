-- How many rows of a staged day break a rule. Asked before the day is applied, as the checks may
-- not have run. It is one plain pass: a pair that is there twice shows as one row more than is
-- on record. Pairs are compared only if the sum of the removed pairs' hashes is not that of the
-- day's recorded removals.
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
    END AS rows_more_than_recorded,
    CASE
        WHEN
            day.pruned_at IS NULL
            AND staged.removals_fingerprint <> (
                SELECT coalesce(sum(agent_role_pair_hash(change.agent_id, change.role_id)), 0)
                FROM agent_role_changes AS change
                WHERE
                    change.day_no = day.day_no
                    AND change.change = 'removed'
                    -- A first day has many changes, and none of these.
                    AND day.removed > 0
            )
            THEN (
                SELECT count(*)
                FROM (
                    SELECT
                        agent_id,
                        role_id
                    FROM stg_agent_roles
                    WHERE sync_day = $1 AND status = 'removed'
                ) AS removal
                FULL JOIN (
                    SELECT
                        change.agent_id,
                        change.role_id
                    FROM agent_role_changes AS change
                    WHERE change.day_no = day.day_no AND change.change = 'removed'
                ) AS recorded
                    ON
                        removal.agent_id = recorded.agent_id
                        AND removal.role_id = recorded.role_id
                WHERE removal.agent_id IS NULL OR recorded.agent_id IS NULL
            )
    END AS removals_only_recorded_or_only_staged
FROM (
    SELECT
        count(*) AS all_rows,
        count(*) - count(agent_id) AS null_agent_ids,
        count(*) - count(role_id) AS null_role_ids,
        count(*) - count(status) AS null_statuses,
        count(*) FILTER (WHERE status NOT IN ('assigned', 'removed')) AS other_statuses,
        coalesce(
            sum(agent_role_pair_hash(agent_id, role_id)) FILTER (WHERE status = 'removed'), 0
        ) AS removals_fingerprint
    FROM stg_agent_roles
    WHERE sync_day = $1
) AS staged
CROSS JOIN agent_role_sync_days AS day
WHERE day.sync_day = $1;

EXECUTE agent_roles_require_sound (current_setting('agent_roles.sync_day'));

DEALLOCATE agent_roles_require_sound;
