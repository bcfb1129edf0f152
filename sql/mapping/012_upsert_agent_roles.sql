-- Make the mapping follow what was staged. Run again, it changes nothing.
BEGIN;

-- At any other level, what a run publishes while this waits for the lock would not be seen.
SET LOCAL transaction_isolation = 'read committed';

SELECT
    pg_catalog.set_config(
        'search_path', pg_catalog.format('%I, pg_temp', pg_catalog.current_schema()), TRUE
    ),
    -- agent_role_pending refuses to be emptied without it.
    pg_catalog.set_config('agent_roles.days_are_followed', 'on', TRUE);

LOCK TABLE agent_role_pending IN SHARE ROW EXCLUSIVE MODE;

SELECT agent_role_plan_pending();

INSERT INTO agent_role_mapping AS mapping (agent_id, role_id, status, assigned_at, removed_at)
SELECT
    agent_id,
    role_id,
    status,
    assigned_at,
    removed_at
FROM agent_role_pending_assignments
WHERE status IS NOT NULL
ON CONFLICT (agent_id, role_id) DO UPDATE SET
    status = excluded.status,
    assigned_at = excluded.assigned_at,
    removed_at = excluded.removed_at
WHERE mapping.* IS DISTINCT FROM excluded.*;

-- Pairs that no staged day has any more. Those of pending days have changes, so only single pairs
-- are looked at.
WITH gone AS MATERIALIZED (
    SELECT
        pending.agent_id,
        pending.role_id
    FROM agent_role_pending AS pending
    WHERE NOT EXISTS (
        SELECT FROM agent_role_changes AS change
        WHERE change.agent_id = pending.agent_id AND change.role_id = pending.role_id
    )
    AND pending.day_no IS NULL
)

DELETE FROM agent_role_mapping AS mapping
USING gone
WHERE mapping.agent_id = gone.agent_id AND mapping.role_id = gone.role_id;

UPDATE agent_role_sync_days
SET
    applied_at = now() AT TIME ZONE 'UTC',
    applied_by = current_setting('agent_roles.run_id', TRUE)
WHERE staged_at IS NOT NULL AND applied_at IS NULL;

-- Not TRUNCATE, which would wait for all readers of the table.
DELETE FROM agent_role_pending;

COMMIT;
