-- What the checks on a staged day need to know, from one pass over its partition.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f 031_check_staging.sql
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
    staged.all_rows - staged.pairs AS twice,
    (
        SELECT count(*) FROM agent_role_pipeline_errors AS refused
        WHERE refused.sync_day = day.sync_day
    ) AS errors_stored
FROM (
    SELECT
        coalesce(sum(times), 0)::BIGINT AS all_rows,
        count(*) AS pairs,
        coalesce(sum(null_agent_ids), 0)::BIGINT AS null_agent_ids,
        coalesce(sum(null_role_ids), 0)::BIGINT AS null_role_ids,
        coalesce(sum(null_statuses), 0)::BIGINT AS null_statuses,
        coalesce(sum(other_statuses), 0)::BIGINT AS other_statuses,
        coalesce(sum(assigned), 0)::BIGINT AS assigned_stored,
        coalesce(sum(removed), 0)::BIGINT AS removed_stored
    FROM (
        SELECT
            count(*) AS times,
            count(*) FILTER (WHERE agent_id IS NULL) AS null_agent_ids,
            count(*) FILTER (WHERE role_id IS NULL) AS null_role_ids,
            count(*) FILTER (WHERE status IS NULL) AS null_statuses,
            count(*) FILTER (WHERE status NOT IN ('assigned', 'removed')) AS other_statuses,
            count(*) FILTER (WHERE status = 'assigned') AS assigned,
            count(*) FILTER (WHERE status = 'removed') AS removed
        FROM stg_agent_roles
        WHERE sync_day = current_setting('agent_roles.sync_day')
        GROUP BY agent_id, role_id
    ) AS pair
) AS staged
CROSS JOIN agent_role_sync_days AS day
WHERE day.sync_day = current_setting('agent_roles.sync_day');
