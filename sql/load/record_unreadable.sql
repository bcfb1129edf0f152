-- Put on record that a day is unreadable: when and why, and which run found it. Nothing else
-- changes. A number has one name. Another day of this number is dropped if it has no rows on
-- record. If it has some, nothing is recorded.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2 -c agent_roles.day_no=2
-- -c agent_roles.reason=empty' psql -f load/record_unreadable.sql
DELETE FROM agent_role_sync_days
WHERE
    day_no = current_setting('agent_roles.day_no')::BIGINT
    AND sync_day <> current_setting('agent_roles.sync_day')
    AND staged_at IS NULL
    AND error_rows IS NULL;

INSERT INTO agent_role_sync_days (
    sync_day, day_no, unreadable_at, unreadable_by, unreadable_reason
)
SELECT
    asked.sync_day,
    asked.day_no,
    now() AT TIME ZONE 'UTC',
    current_setting('agent_roles.run_id', TRUE),
    current_setting('agent_roles.reason')
FROM (
    SELECT
        current_setting('agent_roles.sync_day') AS sync_day,
        current_setting('agent_roles.day_no')::BIGINT AS day_no
) AS asked
LEFT JOIN agent_role_sync_days AS other
    ON asked.day_no = other.day_no AND asked.sync_day <> other.sync_day
WHERE other.sync_day IS NULL
ON CONFLICT (sync_day) DO UPDATE SET
    unreadable_at = excluded.unreadable_at,
    unreadable_by = excluded.unreadable_by,
    unreadable_reason = excluded.unreadable_reason;
