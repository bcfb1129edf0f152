-- The facts for the checks on the mapping, from one pass over it and over the newest staged day.
-- Both must have the same assigned pairs: their number and the sum of their hashes are compared, as
-- a join of tens of millions of pairs takes many times as long. A row is counted as assigned by its
-- times, which are read faster than the text of its status. If the two disagree, the row is
-- inconsistent, and mapping_offenders.sql goes by the status.
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
