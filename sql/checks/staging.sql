-- The facts for the checks on a staged day, from one pass over its partition, which several
-- processes share. If the number of rows and the sum of the pairs' hashes are as recorded, no pair
-- is there twice. Only otherwise are pairs counted one by one.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f checks/staging.sql
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
    staged.known_or_other - staged.assigned_stored - staged.removed_stored AS other_statuses,
    CASE
        WHEN
            (staged.all_rows, staged.null_agent_ids + staged.null_role_ids, staged.fingerprint)
            = (day.assigned + day.removed, 0, day.fingerprint)
            THEN 0
        ELSE (
            SELECT coalesce(sum(pair.times - 1), 0)::BIGINT
            FROM (
                SELECT count(*) AS times FROM stg_agent_roles
                WHERE
                    sync_day = current_setting('agent_roles.sync_day')
                    AND agent_id IS NOT NULL
                    AND role_id IS NOT NULL
                GROUP BY agent_id, role_id
                HAVING count(*) > 1
            ) AS pair
        )
    END AS twice,
    (
        SELECT count(*) FROM agent_role_pipeline_errors AS refused
        WHERE refused.sync_day = day.sync_day
    ) AS errors_stored
FROM (
    SELECT
        count(*) AS all_rows,
        -- The hash is null where an id is.
        coalesce(sum(agent_role_pair_hash(agent_id, role_id)), 0) AS fingerprint,
        count(*) - count(agent_id) AS null_agent_ids,
        count(*) - count(role_id) AS null_role_ids,
        count(*) - count(status) AS null_statuses,
        count(status) AS known_or_other,
        count(*) FILTER (WHERE status = 'assigned') AS assigned_stored,
        count(*) FILTER (WHERE status = 'removed') AS removed_stored
    FROM stg_agent_roles
    -- In a subquery, which is evaluated once. Without it, the setting is read for each row.
    WHERE sync_day = (SELECT current_setting('agent_roles.sync_day'))
) AS staged
CROSS JOIN agent_role_sync_days AS day
WHERE day.sync_day = current_setting('agent_roles.sync_day');
