-- Needs the load tables of 020, which says how to run it with psql.
LOCK TABLE agent_role_pending IN SHARE ROW EXCLUSIVE MODE;

-- The day's errors become those that were loaded, and each is there as often as it was loaded. A
-- row that is there already stays. They are compared as text, since JSONB takes 1.0 and 1.00 for
-- equal, and the error must show the row as received.
WITH loaded AS MATERIALIZED (
    SELECT
        agent_id,
        role_id,
        error_message,
        raw_record,
        content,
        row_number() OVER (PARTITION BY content) AS nth
    FROM (
        SELECT
            agent_id,
            role_id,
            error_message,
            raw_record,
            sha256(
                convert_to(
                    row(
                        agent_id, role_id, 'VALIDATION_ERROR', error_message, raw_record::JSONB
                    )::TEXT,
                    'UTF8'
                )
            ) AS content
        FROM agent_roles_load_errors
    ) AS error
),

published AS MATERIALIZED (
    SELECT
        id,
        content,
        row_number() OVER (PARTITION BY content ORDER BY id) AS nth
    FROM (
        SELECT
            id,
            sha256(
                convert_to(
                    row(agent_id, role_id, error_type, error_message, raw_record)::TEXT, 'UTF8'
                )
            ) AS content
        FROM agent_role_pipeline_errors
        WHERE sync_day = (SELECT day.sync_day FROM agent_roles_load_day AS day)
    ) AS error
),

gone AS (
    DELETE FROM agent_role_pipeline_errors
    WHERE id IN (
        SELECT published.id FROM published
        LEFT JOIN loaded ON published.content = loaded.content AND published.nth = loaded.nth
        WHERE loaded.nth IS NULL
    )
)

INSERT INTO agent_role_pipeline_errors (
    agent_id, role_id, error_type, error_message, raw_record, created_at, sync_day
)
SELECT
    loaded.agent_id,
    loaded.role_id,
    'VALIDATION_ERROR',
    loaded.error_message,
    loaded.raw_record::JSONB,
    day.loaded_at,
    day.sync_day
FROM loaded
CROSS JOIN agent_roles_load_day AS day
WHERE NOT EXISTS (
    SELECT FROM published
    WHERE published.content = loaded.content AND published.nth = loaded.nth
);

-- A number has one name. Another day of this number is dropped if it was never staged.
WITH other AS (
    DELETE FROM agent_role_sync_days AS known
    USING agent_roles_load_day AS day
    WHERE
        known.day_no = day.day_no
        AND known.sync_day <> day.sync_day
        AND known.staged_at IS NULL
    RETURNING known.sync_day
)

DELETE FROM agent_role_pipeline_errors AS published
USING other
WHERE published.sync_day = other.sync_day;

INSERT INTO agent_role_sync_days AS known (
    sync_day, day_no, error_rows, error_raw_rows, held_at, held_by, held_digest, held_reason
)
SELECT
    sync_day,
    day_no,
    invalid_rows,
    raw_rows,
    CASE WHEN held_reason IS NOT NULL THEN loaded_at END,
    CASE WHEN held_reason IS NOT NULL THEN run_id END,
    CASE WHEN held_reason IS NOT NULL THEN digest END,
    held_reason
FROM agent_roles_load_day
ON CONFLICT (sync_day) DO UPDATE SET
    error_rows = excluded.error_rows,
    error_raw_rows = excluded.error_raw_rows,
    held_at = coalesce(excluded.held_at, known.held_at),
    held_by = coalesce(excluded.held_by, known.held_by),
    held_digest = coalesce(excluded.held_digest, known.held_digest),
    held_reason = coalesce(excluded.held_reason, known.held_reason)
-- noqa: disable=LT02
WHERE
    known.error_rows IS DISTINCT FROM excluded.error_rows
    OR known.error_raw_rows IS DISTINCT FROM excluded.error_raw_rows
    OR excluded.held_at IS NOT NULL;
-- noqa: enable=LT02
