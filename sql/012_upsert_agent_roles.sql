-- Make the mapping follow what was staged. Run again, it changes nothing.
BEGIN;

SELECT applied FROM agent_role_revision FOR UPDATE;

INSERT INTO agent_role_mapping AS mapping (agent_id, role_id, status, assigned_at, removed_at)
SELECT
    agent_id,
    role_id,
    status,
    assigned_at,
    removed_at
FROM agent_role_pending
ON CONFLICT (agent_id, role_id) DO UPDATE SET
    status = excluded.status,
    assigned_at = excluded.assigned_at,
    removed_at = excluded.removed_at
WHERE
    (mapping.status, mapping.assigned_at, mapping.removed_at)
    IS DISTINCT FROM (excluded.status, excluded.assigned_at, excluded.removed_at);

-- A pair of which no staged day says anything any more.
DELETE FROM agent_role_mapping AS mapping
USING agent_role_changes AS withdrawn
WHERE
    withdrawn.change IS NULL
    AND withdrawn.revision > (SELECT applied FROM agent_role_revision)
    AND mapping.agent_id = withdrawn.agent_id
    AND mapping.role_id = withdrawn.role_id
    AND NOT EXISTS (
        SELECT FROM agent_role_changes AS change
        WHERE
            change.agent_id = withdrawn.agent_id
            AND change.role_id = withdrawn.role_id
            AND change.change IS NOT NULL
    );

DELETE FROM agent_role_changes
WHERE change IS NULL AND revision > (SELECT applied FROM agent_role_revision);

UPDATE agent_role_sync_days
SET
    applied_at = now() AT TIME ZONE 'UTC',
    applied_by = current_setting('agent_roles.run_id', TRUE)
WHERE staged_at IS NOT NULL AND applied_at IS NULL;

UPDATE agent_role_revision SET applied = staged WHERE applied <> staged;

COMMIT;
