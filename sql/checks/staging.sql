-- The facts for the checks on a staged day, from one pass over its partition, which several
-- processes share. If the number of rows, their statuses and the sum of the pairs' hashes are as
-- recorded, each row is sound and no pair is there twice. If the sum of the removed pairs' hashes
-- is that of the day's recorded removals, each pair has its own status. Only otherwise are pairs
-- counted one by one.
-- The day is a parameter, since PostgreSQL plans for no other day then.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f checks/staging.sql

-- A pooler may give a session in which this file failed.
DO $$
BEGIN
    DEALLOCATE agent_roles_check_staging;
EXCEPTION WHEN invalid_sql_statement_name THEN NULL;
END $$;

PREPARE agent_roles_check_staging (TEXT) AS
WITH staged AS (
    SELECT
        count(*) AS all_rows,
        -- The hash is null where an id is.
        coalesce(sum(agent_role_pair_hash(agent_id, role_id)), 0) AS fingerprint,
        coalesce(
            sum(agent_role_pair_hash(agent_id, role_id)) FILTER (WHERE status = 'removed'), 0
        ) AS removals_fingerprint,
        count(*) FILTER (WHERE status = 'assigned') AS assigned_stored,
        count(*) FILTER (WHERE status = 'removed') AS removed_stored
    FROM stg_agent_roles
    WHERE sync_day = $1
),

compared AS (
    SELECT
        day.day_no,
        day.raw_rows,
        day.valid_pairs,
        day.duplicates,
        day.invalid_rows,
        day.assigned AS assigned_recorded,
        day.removed AS removed_recorded,
        day.error_rows,
        day.pruned_at IS NOT NULL AS is_pruned,
        staged.all_rows,
        staged.assigned_stored,
        staged.removed_stored,
        -- A day that an earlier version staged may have no fingerprint.
        coalesce(day.fingerprint, staged.fingerprint) AS fingerprint_recorded,
        staged.fingerprint AS fingerprint_stored,
        staged.removals_fingerprint = (
            SELECT coalesce(sum(agent_role_pair_hash(change.agent_id, change.role_id)), 0)
            FROM agent_role_changes AS change
            WHERE
                change.day_no = day.day_no
                AND change.change = 'removed'
                -- A first day has many changes, and none of these.
                AND day.removed > 0
        ) AS has_recorded_removals,
        staged.all_rows = day.assigned + day.removed
        AND (staged.assigned_stored, staged.removed_stored, staged.fingerprint)
        = (day.assigned, day.removed, day.fingerprint) AS is_as_recorded
    FROM agent_role_sync_days AS day
    CROSS JOIN staged
    WHERE day.sync_day = $1
),

pair AS (
    SELECT
        agent_id,
        role_id,
        count(*) AS times,
        count(*) FILTER (WHERE status IS NULL) AS null_statuses,
        count(*) FILTER (WHERE status NOT IN ('assigned', 'removed')) AS other_statuses
    FROM stg_agent_roles
    WHERE
        sync_day = $1
        AND (SELECT compared.is_as_recorded IS NOT TRUE FROM compared)
    GROUP BY agent_id, role_id
),

broken AS (
    SELECT
        coalesce(sum(times) FILTER (WHERE agent_id IS NULL), 0)::BIGINT AS null_agent_ids,
        coalesce(sum(times) FILTER (WHERE role_id IS NULL), 0)::BIGINT AS null_role_ids,
        coalesce(sum(null_statuses), 0)::BIGINT AS null_statuses,
        coalesce(sum(other_statuses), 0)::BIGINT AS other_statuses,
        coalesce(
            sum(times - 1) FILTER (WHERE agent_id IS NOT NULL AND role_id IS NOT NULL), 0
        )::BIGINT AS twice
    FROM pair
)

SELECT
    compared.*,
    broken.*,
    (
        SELECT count(*)
        FROM (
            SELECT
                agent_id,
                role_id
            FROM stg_agent_roles
            WHERE sync_day = $1 AND status = 'removed'
        ) AS staged
        FULL JOIN (
            SELECT
                change.agent_id,
                change.role_id
            FROM agent_role_changes AS change
            WHERE change.day_no = compared.day_no AND change.change = 'removed'
        ) AS recorded
            ON staged.agent_id = recorded.agent_id AND staged.role_id = recorded.role_id
        WHERE
            NOT compared.has_recorded_removals
            AND (staged.agent_id IS NULL OR recorded.agent_id IS NULL)
    ) AS other_removals,
    (
        SELECT count(*) FROM agent_role_pipeline_errors
        WHERE sync_day = $1
    ) AS errors_stored
FROM compared
CROSS JOIN broken;

EXECUTE agent_roles_check_staging (current_setting('agent_roles.sync_day'));

DEALLOCATE agent_roles_check_staging;
