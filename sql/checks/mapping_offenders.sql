-- The mapping compared with the newest staged day, pair by pair. Asked only if a check found a
-- difference. Pairs that are pending, since a day was staged and not applied, are no offenders.
SELECT
    problem.kind,
    count(*) AS pairs,
    array_agg(problem.pair) FILTER (WHERE problem.nth <= 5) AS sample
FROM (
    SELECT
        found.kind,
        found.pair,
        row_number() OVER (PARTITION BY found.kind) AS nth
    FROM (
        SELECT
            format('agent %s, role %s', agent_id, role_id) AS pair,
            agent_id,
            role_id,
            CASE
                WHEN NOT mapping.is_consistent THEN 'times'
                WHEN mapping.is_assigned AND staged.is_assigned IS NULL THEN 'not staged'
                WHEN staged.is_assigned AND mapping.is_assigned IS NOT TRUE THEN 'not mapped'
            END AS kind
        FROM (
            SELECT
                agent_id,
                role_id,
                status = 'assigned' AS is_assigned,
                coalesce(
                    assigned_at IS NOT NULL
                    AND CASE status
                        WHEN 'assigned' THEN removed_at IS NULL
                        WHEN 'removed' THEN removed_at IS NOT NULL
                    END,
                    FALSE
                ) AS is_consistent
            FROM agent_role_mapping
        ) AS mapping
        FULL JOIN (
            SELECT
                agent_id,
                role_id,
                TRUE AS is_assigned
            FROM stg_agent_roles
            WHERE
                status = 'assigned'
                AND sync_day = (SELECT newest.sync_day FROM agent_role_newest_day AS newest)
        ) AS staged USING (agent_id, role_id)
        WHERE
            NOT mapping.is_consistent
            OR mapping.is_assigned IS DISTINCT FROM staged.is_assigned
    ) AS found
    WHERE
        found.kind IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM agent_role_pending_pairs AS pending
            WHERE pending.agent_id = found.agent_id AND pending.role_id = found.role_id
        )
) AS problem
GROUP BY problem.kind;
