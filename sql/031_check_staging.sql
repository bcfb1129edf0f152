-- What the checks on a staged day need to know.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f 031_check_staging.sql
WITH staged AS (
    SELECT
        count(*) AS all_rows,
        count(*) FILTER (WHERE agent_id IS NULL) AS null_agent_ids,
        count(*) FILTER (WHERE role_id IS NULL) AS null_role_ids,
        count(*) FILTER (WHERE status IS NULL) AS null_statuses,
        count(*) FILTER (WHERE status NOT IN ('assigned', 'removed')) AS other_statuses,
        count(*) FILTER (WHERE status = 'assigned') AS assigned_stored,
        count(*) FILTER (WHERE status = 'removed') AS removed_stored
    FROM stg_agent_roles
    WHERE sync_day = current_setting('agent_roles.sync_day')
),

-- Apart, as groups in which nothing is counted are cheaper by more than a second pass costs.
pair AS (
    SELECT
        agent_id,
        role_id
    FROM stg_agent_roles
    WHERE sync_day = current_setting('agent_roles.sync_day')
    GROUP BY agent_id, role_id
)

SELECT
    day.raw_rows,
    day.valid_pairs,
    day.duplicates,
    day.invalid_rows,
    day.assigned AS assigned_recorded,
    day.removed AS removed_recorded,
    day.error_rows,
    day.pruned_at IS NOT NULL AS is_pruned,
    staged.*,
    staged.all_rows - (SELECT count(*) FROM pair) AS twice,
    (
        SELECT count(*) FROM agent_role_pipeline_errors AS refused
        WHERE refused.sync_day = day.sync_day
    ) AS errors_stored
FROM staged
CROSS JOIN agent_role_sync_days AS day
WHERE day.sync_day = current_setting('agent_roles.sync_day');
