-- What the checks on the mapping need to know, from one pass over it and over the newest staged
-- day: whether both have the same assigned pairs, by their number and the sum of their hashes
-- (joining tens of millions of pairs takes many times as long), and whether times fit.
WITH mapping AS (
    SELECT
        count(*) FILTER (WHERE status = 'assigned') AS pairs,
        coalesce(
            sum(agent_role_pair_hash(agent_id, role_id))
            FILTER (WHERE status = 'assigned'), 0
        ) AS fingerprint,
        count(*) FILTER (
            WHERE NOT coalesce(
                assigned_at IS NOT NULL
                AND CASE status
                    WHEN 'assigned' THEN removed_at IS NULL
                    WHEN 'removed' THEN removed_at IS NOT NULL
                END,
                FALSE
            )
        ) AS inconsistent
    FROM agent_role_mapping
),

newest AS (
    SELECT sync_day FROM agent_role_sync_days
    WHERE staged_at IS NOT NULL
    ORDER BY day_no DESC
    LIMIT 1
),

staged AS (
    SELECT
        count(*) AS pairs,
        coalesce(sum(agent_role_pair_hash(agent_id, role_id)), 0) AS fingerprint
    FROM stg_agent_roles
    WHERE status = 'assigned' AND sync_day = (SELECT newest.sync_day FROM newest)
)

SELECT
    mapping.inconsistent,
    (mapping.pairs, mapping.fingerprint) = (staged.pairs, staged.fingerprint) AS is_same
FROM mapping
CROSS JOIN staged;
