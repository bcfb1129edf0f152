-- The facts for the checks on the mapping, from one pass over it. It must have the assigned pairs
-- of the newest staged day: their number and the sum of their hashes are compared, as a join of
-- tens of millions of pairs takes many times as long. Those of the day are on its record, as
-- checks/staging.sql finds its rows to be. A row is counted as assigned by its times, which are
-- read faster than the text of its status. If the two disagree, the row is inconsistent, and
-- mapping_offenders.sql goes by the status.
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
        day.assigned AS pairs,
        -- The record's is of the removed pairs, too.
        day.fingerprint - (
            SELECT coalesce(sum(agent_role_pair_hash(change.agent_id, change.role_id)), 0)
            FROM agent_role_changes AS change
            WHERE
                change.day_no = day.day_no
                AND change.change = 'removed'
                -- A first day has many changes, and none of these.
                AND day.removed > 0
        ) AS fingerprint
    FROM agent_role_newest_day AS newest
    INNER JOIN agent_role_sync_days AS day ON newest.sync_day = day.sync_day
)

SELECT
    mapping.inconsistent,
    -- Without a staged day, there are no pairs.
    CASE
        WHEN staged.pairs IS NULL THEN mapping.pairs = 0
        ELSE (mapping.pairs, mapping.fingerprint) = (staged.pairs, staged.fingerprint)
    END AS is_same
FROM mapping
LEFT JOIN staged ON TRUE;
