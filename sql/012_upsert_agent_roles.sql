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
    SELECT
        agent_id,
        role_id,
        max(day_no) FILTER (WHERE change = 'assigned') AS began_no,
        max(day_no) FILTER (WHERE change = 'removed') AS ended_no
    FROM agent_role_changes
    WHERE
        (agent_id, role_id) IN (
            SELECT
                agent_id,
                role_id
            FROM agent_role_pending
        )
    GROUP BY agent_id, role_id
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
DELETE FROM agent_role_mapping AS mapping
USING agent_role_pending AS pending
WHERE
    mapping.agent_id = pending.agent_id
    AND mapping.role_id = pending.role_id
    AND NOT EXISTS (
        SELECT FROM agent_role_changes AS change
        WHERE change.agent_id = pending.agent_id AND change.role_id = pending.role_id
    );

UPDATE agent_role_sync_days
SET
    applied_at = now() AT TIME ZONE 'UTC',
    applied_by = current_setting('agent_roles.run_id', TRUE)
WHERE staged_at IS NOT NULL AND applied_at IS NULL;

TRUNCATE agent_role_pending;

COMMIT;
