-- The staged days that a day is compared with: the previous one, its own earlier version, and the
-- next one. A staged day that has the same number under another name shows as 'same number'.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2 -c agent_roles.day_no=2'
-- psql -f load/neighbours.sql
WITH asked AS (
    SELECT
        current_setting('agent_roles.sync_day') AS sync_day,
        current_setting('agent_roles.day_no')::BIGINT AS day_no
)

SELECT
    CASE
        WHEN known.day_no < asked.day_no THEN 'previous'
        WHEN known.day_no > asked.day_no THEN 'next'
        WHEN known.sync_day = asked.sync_day THEN 'old'
        ELSE 'same number'
    END AS role,
    known.sync_day,
    known.day_no,
    known.pruned_at,
    known.digest,
    known.observed_at,
    known.assigned,
    known.removed,
    agent_role_partition(known.sync_day) IS NOT NULL AS is_there
FROM agent_role_sync_days AS known
CROSS JOIN asked
WHERE
    known.staged_at IS NOT NULL
    AND known.day_no IN (
        asked.day_no,
        (
            SELECT max(earlier.day_no) FROM agent_role_sync_days AS earlier
            WHERE earlier.staged_at IS NOT NULL AND earlier.day_no < asked.day_no
        ),
        (
            SELECT min(later.day_no) FROM agent_role_sync_days AS later
            WHERE later.staged_at IS NOT NULL AND later.day_no > asked.day_no
        )
    );
