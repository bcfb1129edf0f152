-- What 012 would change in the mapping: how many pairs go from which status to which, and five of
-- each. No status means that the mapping does not have the pair. Twice the same status means that
-- the times change.
-- With psql: psql -1 -f reports/preview_mapping.sql
SELECT agent_role_plan_pending();

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
    FROM agent_role_pending_assignments AS target
    LEFT JOIN agent_role_mapping AS mapping
        ON target.agent_id = mapping.agent_id AND target.role_id = mapping.role_id
    WHERE
        (mapping.status, mapping.assigned_at, mapping.removed_at)
        IS DISTINCT FROM (target.status, target.assigned_at, target.removed_at)
) AS change
GROUP BY change.status_now, change.status_then
ORDER BY pairs DESC, change.status_now, change.status_then;
