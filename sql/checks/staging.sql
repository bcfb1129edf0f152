-- The facts for the checks on a staged day, from one pass over its partition, which several
-- processes share. If the number of rows, their statuses and the sum of the pairs' hashes are as
-- recorded, each row is sound and no pair is there twice. Only otherwise are pairs counted one by
-- one.
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
        count(*) FILTER (WHERE status = 'assigned') AS assigned_stored,
        count(*) FILTER (WHERE status = 'removed') AS removed_stored
    FROM stg_agent_roles
    WHERE sync_day = $1
),

compared AS (
    SELECT
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
        -- A day that an earlier version staged may have no fingerprint.
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
        SELECT count(*) FROM agent_role_pipeline_errors
        WHERE sync_day = $1
    ) AS errors_stored
FROM compared
CROSS JOIN broken;

EXECUTE agent_roles_check_staging (current_setting('agent_roles.sync_day'));

DEALLOCATE agent_roles_check_staging;
