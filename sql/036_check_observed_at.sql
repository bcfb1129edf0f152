-- Staged days whose source was not read later than that of the staged day before.
SELECT
    sync_day,
    observed_at,
    previous_day,
    previous_observed_at
FROM (
    SELECT
        sync_day,
        observed_at,
        day_no,
        lag(sync_day) OVER (ORDER BY day_no) AS previous_day,
        lag(observed_at) OVER (ORDER BY day_no) AS previous_observed_at
    FROM agent_role_sync_days
    WHERE staged_at IS NOT NULL
) AS day
WHERE observed_at <= previous_observed_at
ORDER BY day_no
LIMIT 20;
