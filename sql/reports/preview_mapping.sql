-- What 012 would change in the mapping: how many pairs go from which status to which, and five of
-- each. No status means that the mapping does not have the pair; twice the same, other times.
SELECT
    change.status_now,
    change.status_then,
    count(*) AS pairs,
    array_agg(change.pair ORDER BY change.nth) FILTER (WHERE change.nth <= 5) AS sample
FROM (
    SELECT
        mapping.status AS status_now,
        target.status AS status_then,
        format('agent %s, role %s', target.agent_id, target.role_id) AS pair,
        row_number() OVER (
            PARTITION BY mapping.status, target.status ORDER BY target.role_id, target.agent_id
        ) AS nth
    FROM (
        SELECT
            pending.agent_id,
            pending.role_id,
            CASE
                WHEN ended.day_no IS NOT NULL THEN 'removed'
                WHEN began.day_no IS NOT NULL THEN 'assigned'
            END AS status,
            began.observed_at AS assigned_at,
            ended.observed_at AS removed_at
        FROM (
            SELECT
                agent_id,
                role_id
            FROM agent_role_pending_pairs
            ORDER BY agent_id, role_id
        ) AS pending
        CROSS JOIN
            LATERAL (
                SELECT
                    max(change.day_no) FILTER (WHERE change.change = 'assigned') AS began_no,
                    max(change.day_no) FILTER (WHERE change.change = 'removed') AS ended_no
                FROM agent_role_changes AS change
                WHERE change.agent_id = pending.agent_id AND change.role_id = pending.role_id
            ) AS latest
        LEFT JOIN agent_role_sync_days AS began ON latest.began_no = began.day_no
        LEFT JOIN agent_role_sync_days AS ended
            ON latest.ended_no = ended.day_no AND latest.began_no < ended.day_no
    ) AS target
    LEFT JOIN agent_role_mapping AS mapping
        ON target.agent_id = mapping.agent_id AND target.role_id = mapping.role_id
    WHERE
        (mapping.status, mapping.assigned_at, mapping.removed_at)
        IS DISTINCT FROM (target.status, target.assigned_at, target.removed_at)
) AS change
GROUP BY change.status_now, change.status_then
ORDER BY pairs DESC, change.status_now, change.status_then;
