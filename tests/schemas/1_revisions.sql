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
    observed_revision BIGINT,
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
COMMENT ON COLUMN agent_role_sync_days.valid_pairs IS
'Distinct valid pairs, those with the status removed included.';
COMMENT ON COLUMN agent_role_sync_days.error_rows IS
'Rows in agent_role_pipeline_errors: those of the last readable run, which may have been held.';
COMMENT ON COLUMN agent_role_sync_days.observed_revision IS
'Revision at which observed_at last changed.';
COMMENT ON COLUMN agent_role_sync_days.pruned_at IS
'When the day''s snapshot left staging, by the setting that bounds how many are kept.';

CREATE TABLE IF NOT EXISTS agent_role_changes (
    agent_id BIGINT NOT NULL,
    role_id BIGINT NOT NULL,
    day_no BIGINT NOT NULL,
    change TEXT CHECK (change IN ('assigned', 'removed')),
    revision BIGINT NOT NULL,
    PRIMARY KEY (agent_id, role_id, day_no)
);

CREATE INDEX IF NOT EXISTS agent_role_changes_role ON agent_role_changes (role_id);
CREATE INDEX IF NOT EXISTS agent_role_changes_day ON agent_role_changes (day_no);
CREATE INDEX IF NOT EXISTS agent_role_changes_revision ON agent_role_changes (revision);

COMMENT ON TABLE agent_role_changes IS
'What each staged day changed against the staged day before. The history and the mapping follow '
'from it; a day that comes late or again rewrites only its own changes and the next day''s.';
COMMENT ON COLUMN agent_role_changes.change IS
'NULL: withdrawn; the row goes once the mapping has followed.';
COMMENT ON COLUMN agent_role_changes.revision IS
'The publication that wrote the row. The mapping has yet to follow those after '
'agent_role_revision.applied.';

CREATE TABLE IF NOT EXISTS agent_role_revision (
    staged BIGINT NOT NULL,
    applied BIGINT NOT NULL
);

CREATE UNIQUE INDEX IF NOT EXISTS agent_role_revision_one_row ON agent_role_revision ((TRUE));

INSERT INTO agent_role_revision (staged, applied) VALUES (0, 0) ON CONFLICT DO NOTHING;

COMMENT ON TABLE agent_role_revision IS
'One row: the last publication of a staged day, and the last that the mapping follows. Whoever '
'publishes or applies locks it first.';

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
    WHERE change IS NOT NULL
) AS change
INNER JOIN agent_role_sync_days AS began ON change.day_no = began.day_no
LEFT JOIN agent_role_sync_days AS ended ON change.end_no = ended.day_no
WHERE change.change = 'assigned';

COMMENT ON VIEW agent_role_history IS
'Every assignment over the staged days: the days on which it began and ended, and when the source '
'was read on those days. An assignment that holds has no end.';

CREATE OR REPLACE VIEW agent_role_pending AS
WITH touched AS (
    SELECT
        change.agent_id,
        change.role_id
    FROM agent_role_changes AS change
    WHERE change.revision > (SELECT applied FROM agent_role_revision)
    UNION
    SELECT
        change.agent_id,
        change.role_id
    FROM agent_role_sync_days AS day
    INNER JOIN agent_role_changes AS change ON day.day_no = change.day_no
    WHERE day.observed_revision > (SELECT applied FROM agent_role_revision)
),

latest AS (
    SELECT
        agent_id,
        role_id,
        max(change.day_no) FILTER (WHERE change.change = 'assigned') AS began_no,
        max(change.day_no) FILTER (WHERE change.change = 'removed') AS ended_no
    FROM touched
    INNER JOIN agent_role_changes AS change USING (agent_id, role_id)
    GROUP BY agent_id, role_id
)

SELECT
    latest.agent_id,
    latest.role_id,
    CASE WHEN ended.day_no IS NULL THEN 'assigned' ELSE 'removed' END AS status,
    began.observed_at AS assigned_at,
    ended.observed_at AS removed_at
FROM latest
INNER JOIN agent_role_sync_days AS began ON latest.began_no = began.day_no
LEFT JOIN agent_role_sync_days AS ended
    ON latest.ended_no = ended.day_no AND ended.day_no > began.day_no;

COMMENT ON VIEW agent_role_pending IS
'The latest assignment of each pair whose story changed since the mapping last followed.';

COMMIT;
