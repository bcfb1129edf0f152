-- What is shown of a day: its record, and the staged day before it.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f reports/shown_day.sql
SELECT
    day.sync_day,
    day.staged_at IS NOT NULL AS is_staged,
    day.staged_at,
    greatest(day.held_at, day.unreadable_at) AS refused_at,
    day.applied_at IS NOT NULL AS is_applied,
    day.pruned_at,
    day.observed_at,
    day.records,
    day.raw_rows,
    day.valid_pairs,
    day.duplicates,
    day.invalid_rows,
    day.assigned,
    day.removed,
    day.error_rows,
    day.error_raw_rows,
    day.accepted_reason,
    day.accepted_by,
    day.accepted_run,
    day.accepted_what,
    previous.sync_day AS previous_day,
    coalesce(previous.assigned, 0) AS previous_assigned
FROM agent_role_sync_days AS day
LEFT JOIN LATERAL (
    SELECT
        earlier.sync_day,
        earlier.assigned
    FROM agent_role_sync_days AS earlier
    WHERE earlier.day_no < day.day_no AND earlier.staged_at IS NOT NULL
    ORDER BY earlier.day_no DESC
    LIMIT 1
) AS previous ON TRUE
WHERE day.sync_day = current_setting('agent_roles.sync_day');
