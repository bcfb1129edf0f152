-- What the checks on the mapping need to know, from one pass over it and over the newest staged
-- day: whether both have the same assigned pairs, by their number and the sum of their hashes
-- (joining tens of millions of pairs takes many times as long), and whether times fit. Only where
-- they all do, which pairs are assigned follows from the times, which are looked at faster than
-- text; 037 goes by the status.
WITH mapping AS (
    SELECT
        count(*) - count(removed_at) AS pairs,
        coalesce(
            sum(agent_role_pair_hash(agent_id, role_id)) FILTER (WHERE removed_at IS NULL), 0
        ) AS fingerprint,
        count(*) - count(*) FILTER (
            WHERE
            assigned_at IS NOT NULL
            AND status = CASE WHEN removed_at IS NULL THEN 'assigned' ELSE 'removed' END
        ) AS inconsistent
    FROM agent_role_mapping
),

staged AS (
    SELECT
        count(*) AS pairs,
        coalesce(sum(agent_role_pair_hash(agent_id, role_id)), 0) AS fingerprint
    FROM stg_agent_roles
    WHERE
        status = 'assigned'
        AND sync_day = (SELECT newest.sync_day FROM agent_role_newest_day AS newest)
)

SELECT
    mapping.inconsistent,
    (mapping.pairs, mapping.fingerprint) = (staged.pairs, staged.fingerprint) AS is_same
FROM mapping
CROSS JOIN staged;
