-- Make the mapping follow what was staged. Run again, it changes nothing.
BEGIN;

LOCK TABLE agent_role_pending IN SHARE ROW EXCLUSIVE MODE;

INSERT INTO agent_role_mapping AS mapping (agent_id, role_id, status, assigned_at, removed_at)
SELECT
    latest.agent_id,
    latest.role_id,
    CASE WHEN ended.day_no IS NULL THEN 'assigned' ELSE 'removed' END AS status,
    began.observed_at AS assigned_at,
    ended.observed_at AS removed_at
FROM (
    SELECT DISTINCT
        agent_id,
        role_id
    FROM agent_role_pending
    -- In the order of the keys of both tables, so that their pages are passed through once.
    ORDER BY agent_id, role_id
) AS pending
-- Lateral, so that the work is by pending pair, whatever the planner knows of the large table.
CROSS JOIN
    LATERAL (
        SELECT
            pending.agent_id,
            pending.role_id,
            max(change.day_no) FILTER (WHERE change.change = 'assigned') AS began_no,
            max(change.day_no) FILTER (WHERE change.change = 'removed') AS ended_no
        FROM agent_role_changes AS change
        WHERE change.agent_id = pending.agent_id AND change.role_id = pending.role_id
    ) AS latest
INNER JOIN agent_role_sync_days AS began ON latest.began_no = began.day_no
LEFT JOIN agent_role_sync_days AS ended
    ON latest.ended_no = ended.day_no AND latest.began_no < ended.day_no
ON CONFLICT (agent_id, role_id) DO UPDATE SET
    status = excluded.status,
    assigned_at = excluded.assigned_at,
    removed_at = excluded.removed_at
WHERE mapping.* IS DISTINCT FROM excluded.*;

-- A pair of which no staged day says anything any more.
WITH gone AS MATERIALIZED (
    SELECT
        pending.agent_id,
        pending.role_id
    FROM agent_role_pending AS pending
    WHERE (
        SELECT min(change.day_no) FROM agent_role_changes AS change
        WHERE change.agent_id = pending.agent_id AND change.role_id = pending.role_id
    ) IS NULL
)

DELETE FROM agent_role_mapping AS mapping
USING gone
WHERE mapping.agent_id = gone.agent_id AND mapping.role_id = gone.role_id;

UPDATE agent_role_sync_days
SET
    applied_at = now() AT TIME ZONE 'UTC',
    applied_by = current_setting('agent_roles.run_id', TRUE)
WHERE staged_at IS NOT NULL AND applied_at IS NULL;

TRUNCATE agent_role_pending;

COMMIT;
