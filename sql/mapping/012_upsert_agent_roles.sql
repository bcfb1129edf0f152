-- Make the mapping follow what was staged. Run again, it changes nothing.
BEGIN;

SELECT
    pg_catalog.set_config(
        'search_path', pg_catalog.format('%I, pg_temp', pg_catalog.current_schema()), TRUE
    ),
    -- What agent_role_pending asks whoever empties it.
    pg_catalog.set_config('agent_roles.days_are_followed', 'on', TRUE);

LOCK TABLE agent_role_pending IN SHARE ROW EXCLUSIVE MODE;

-- Few pairs are followed through the indexes, whatever the planner believes how few they are: it
-- has not seen the changes of today. Without them, PostgreSQL reads all changes from end to end.
SELECT pg_catalog.set_config('enable_seqscan', 'off', TRUE);

SELECT
    pg_catalog.set_config('enable_seqscan', follow.all_at_once, TRUE),
    pg_catalog.set_config('enable_hashjoin', follow.all_at_once, TRUE),
    pg_catalog.set_config('enable_mergejoin', follow.all_at_once, TRUE)
FROM (
    SELECT
        CASE
            WHEN
                -- Of about 60 bytes each, and twenty to a page that is looked for by an index.
                1200 * count(*) > pg_catalog.pg_relation_size('agent_role_changes')
                THEN 'on'
            ELSE 'off'
        END AS all_at_once
    FROM agent_role_pending_pairs
) AS follow;

INSERT INTO agent_role_mapping AS mapping (agent_id, role_id, status, assigned_at, removed_at)
SELECT
    latest.agent_id,
    latest.role_id,
    CASE WHEN ended.day_no IS NULL THEN 'assigned' ELSE 'removed' END AS status,
    began.observed_at AS assigned_at,
    ended.observed_at AS removed_at
FROM (
    SELECT
        change.agent_id,
        change.role_id,
        max(change.day_no) FILTER (WHERE change.change = 'assigned') AS began_no,
        max(change.day_no) FILTER (WHERE change.change = 'removed') AS ended_no
    FROM agent_role_changes AS change
    INNER JOIN
        agent_role_pending_pairs AS pending
        ON change.agent_id = pending.agent_id AND change.role_id = pending.role_id
    GROUP BY change.agent_id, change.role_id
    -- In the order of the mapping's key, whose pages are passed through once then.
    ORDER BY change.agent_id, change.role_id
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

-- Not TRUNCATE, for which every reader of the table would have to be gone.
DELETE FROM agent_role_pending;

COMMIT;
