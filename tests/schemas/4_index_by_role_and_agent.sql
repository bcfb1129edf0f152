-- All tables and views, safe to run again and from several processes at once.
BEGIN;

SET LOCAL client_min_messages = warning;

SELECT pg_advisory_xact_lock(hashtext('agent_roles schema'));

CREATE TABLE IF NOT EXISTS stg_agent_roles (
    agent_id BIGINT,
    role_id BIGINT,
    status TEXT,
    sync_day TEXT,
    source TEXT,
    ingested_at TIMESTAMP
) PARTITION BY LIST (sync_day);

COMMENT ON TABLE stg_agent_roles IS
'The staged days: what each says is assigned, and what was removed since the staged day before. '
'A partition for each day. Without constraints, so that the checks on it can fail.';

CREATE TABLE IF NOT EXISTS agent_role_pipeline_errors (
    id SERIAL PRIMARY KEY,
    agent_id BIGINT,
    role_id BIGINT,
    error_type TEXT,
    error_message TEXT,
    raw_record JSONB,
    created_at TIMESTAMP,
    sync_day TEXT
);

CREATE INDEX IF NOT EXISTS agent_role_pipeline_errors_day
ON agent_role_pipeline_errors (sync_day, role_id);

COMMENT ON TABLE agent_role_pipeline_errors IS
'What was refused, and why: the invalid rows of each day''s last readable run.';

CREATE TABLE IF NOT EXISTS agent_role_mapping (
    agent_id BIGINT,
    role_id BIGINT,
    status TEXT,
    assigned_at TIMESTAMP,
    removed_at TIMESTAMP,
    PRIMARY KEY (agent_id, role_id)
);

COMMENT ON TABLE agent_role_mapping IS
'Each pair''s latest assignment. Written by 012_upsert_agent_roles.sql only.';

CREATE TABLE IF NOT EXISTS agent_role_sync_days (
    sync_day TEXT PRIMARY KEY,
    day_no BIGINT NOT NULL UNIQUE,
    digest TEXT,
    files BIGINT,
    content JSONB,
    observed_at TIMESTAMP,
    records BIGINT,
    raw_rows BIGINT,
    valid_pairs BIGINT,
    duplicates BIGINT,
    invalid_rows BIGINT,
    assigned BIGINT,
    removed BIGINT,
    error_rows BIGINT,
    staged_at TIMESTAMP,
    staged_by TEXT,
    accepted_reason TEXT,
    applied_at TIMESTAMP,
    applied_by TEXT,
    held_at TIMESTAMP,
    held_by TEXT,
    held_digest TEXT,
    held_reason TEXT,
    pruned_at TIMESTAMP
);

COMMENT ON TABLE agent_role_sync_days IS
'One row for each sync day: what was read, what it came to, when and by which Dagster run it was '
'staged, applied, held or accepted. A day counts as staged while staged_at is set.';
COMMENT ON COLUMN agent_role_sync_days.day_no IS 'The number the day''s digits spell: its order.';
COMMENT ON COLUMN agent_role_sync_days.content IS
'The files that were read: name, SHA-256, number of records and of raw rows of each.';
COMMENT ON COLUMN agent_role_sync_days.valid_pairs IS
'Distinct valid pairs, those with the status removed included.';
COMMENT ON COLUMN agent_role_sync_days.error_rows IS
'Rows in agent_role_pipeline_errors: those of the last readable run, which may have been held.';
COMMENT ON COLUMN agent_role_sync_days.pruned_at IS
'When the day''s snapshot left staging, by the setting that bounds how many are kept.';

CREATE TABLE IF NOT EXISTS agent_role_changes (
    agent_id BIGINT NOT NULL,
    role_id BIGINT NOT NULL,
    day_no BIGINT NOT NULL,
    change TEXT NOT NULL CHECK (change IN ('assigned', 'removed')),
    PRIMARY KEY (agent_id, role_id, day_no)
);

-- With the agent, so that whichever index the planner takes for a pair leads to its few rows.
CREATE INDEX IF NOT EXISTS agent_role_changes_role ON agent_role_changes (role_id, agent_id);
CREATE INDEX IF NOT EXISTS agent_role_changes_day ON agent_role_changes (day_no);

COMMENT ON TABLE agent_role_changes IS
'What each staged day changed against the staged day before. The history and the mapping follow '
'from it; a day that comes late or again rewrites only its own changes and the next day''s.';

-- Without an index or a key: its size tells the planner how much there is to follow.
CREATE TABLE IF NOT EXISTS agent_role_pending (
    agent_id BIGINT NOT NULL,
    role_id BIGINT NOT NULL
);

COMMENT ON TABLE agent_role_pending IS
'Pairs whose story changed since the mapping last followed; one may stand here twice. Whoever '
'publishes a day or applies it locks this table first, so that they take turns.';

CREATE OR REPLACE VIEW agent_role_history AS
SELECT
    change.agent_id,
    change.role_id,
    began.sync_day AS assigned_on,
    began.observed_at AS assigned_at,
    ended.sync_day AS removed_on,
    ended.observed_at AS removed_at
FROM (
    SELECT
        agent_id,
        role_id,
        day_no,
        change,
        lead(day_no) OVER (PARTITION BY agent_id, role_id ORDER BY day_no) AS end_no
    FROM agent_role_changes
) AS change
INNER JOIN agent_role_sync_days AS began ON change.day_no = began.day_no
LEFT JOIN agent_role_sync_days AS ended ON change.end_no = ended.day_no
WHERE change.change = 'assigned';

COMMENT ON VIEW agent_role_history IS
'Every assignment over the staged days: the days on which it began and ended, and when the source '
'was read on those days. An assignment that holds has no end.';

CREATE OR REPLACE FUNCTION agent_roles_on(asked_day TEXT)
RETURNS TABLE (agent_id BIGINT, role_id BIGINT, assigned_on TEXT, assigned_at TIMESTAMP)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT
        history.agent_id,
        history.role_id,
        history.assigned_on,
        history.assigned_at
    FROM agent_role_history AS history
    CROSS JOIN agent_role_sync_days AS asked
    INNER JOIN agent_role_sync_days AS began ON history.assigned_on = began.sync_day
    LEFT JOIN agent_role_sync_days AS ended ON history.removed_on = ended.sync_day
    WHERE
        asked.sync_day = $1
        AND asked.day_no >= began.day_no
        AND (ended.day_no IS NULL OR asked.day_no < ended.day_no);
END;

COMMENT ON FUNCTION agent_roles_on IS 'Who held which role on a sync day, and since when.';

CREATE OR REPLACE FUNCTION agent_role_changes_between(earlier_day TEXT, later_day TEXT)
RETURNS TABLE (change TEXT, agent_id BIGINT, role_id BIGINT)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT
        -- They take turns, so an even number of changes leaves things as they were.
        (array_agg(change.change ORDER BY change.day_no DESC))[1] AS change,
        change.agent_id,
        change.role_id
    FROM agent_role_changes AS change
    WHERE
        change.day_no > (
            SELECT day.day_no FROM agent_role_sync_days AS day
            WHERE day.sync_day = $1
        )
        AND change.day_no <= (
            SELECT day.day_no FROM agent_role_sync_days AS day
            WHERE day.sync_day = $2
        )
    GROUP BY change.agent_id, change.role_id
    HAVING count(*) % 2 = 1;
END;

COMMENT ON FUNCTION agent_role_changes_between IS
'Which pairs were assigned or removed on the later sync day as against the earlier one.';

COMMIT;
