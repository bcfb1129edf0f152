-- For each day on record, a checksum of what Dagster should show of it. A report with another
-- checksum is out of date. It covers all that the reports are made of. Digests and fingerprints
-- stand for the rows themselves.
WITH staged AS (
    SELECT
        sync_day,
        day_no,
        digest,
        held_digest,
        error_rows,
        assigned,
        fingerprint,
        observed_at,
        lag(day_no) OVER following AS previous_no,
        lag(sync_day) OVER following AS previous_day,
        -- Set if the source was read no later than the day before, or no earlier than the next day.
        CASE
            WHEN observed_at <= lag(observed_at) OVER following
                THEN row(lag(sync_day) OVER following, lag(observed_at) OVER following)::TEXT
        END AS read_too_early,
        CASE
            WHEN observed_at >= lead(observed_at) OVER following
                THEN row(lead(sync_day) OVER following, lead(observed_at) OVER following)::TEXT
        END AS read_too_late
    FROM agent_role_sync_days
    WHERE staged_at IS NOT NULL
    WINDOW following AS (ORDER BY day_no)
),

waiting AS (
    SELECT
        count(*) AS pending,
        (
            SELECT string_agg(concat(sync_day, staged_at), ' ' ORDER BY day_no)
            FROM agent_role_sync_days
            WHERE staged_at IS NOT NULL AND applied_at IS NULL
        ) AS days
    FROM agent_role_pending
),

shown AS (
    SELECT
        day.sync_day,
        day.day_no,
        day.staged_at IS NOT NULL AS is_staged,
        day.applied_at IS NOT NULL AS is_applied,
        day.error_rows IS NOT NULL AS has_errors,
        row(
            day.observed_at,
            day.records,
            day.raw_rows,
            day.valid_pairs,
            day.duplicates,
            day.invalid_rows,
            day.assigned,
            day.removed,
            day.fingerprint,
            day.digest,
            day.pruned_at,
            day.accepted_reason,
            day.accepted_by,
            day.accepted_run,
            day.accepted_what,
            -- A check of the staged rows looks at the errors, which a held run writes anew.
            day.error_rows,
            day.held_digest,
            staged.previous_day,
            previous.assigned,
            previous.fingerprint
        )::TEXT AS of_staged,
        row(
            day.error_rows,
            day.error_raw_rows,
            day.digest,
            day.held_digest,
            day.fingerprint,
            previous.sync_day,
            previous.error_rows,
            previous.digest,
            previous.held_digest,
            previous.fingerprint
        )::TEXT AS of_errors,
        row(staged.observed_at, staged.read_too_early, staged.read_too_late)::TEXT AS of_times,
        -- The report of a day that is not applied yet shows what applying it would change.
        CASE
            WHEN day.staged_at IS NOT NULL AND day.applied_at IS NULL
                THEN row(waiting.pending, waiting.days)::TEXT
        END AS of_preview
    FROM agent_role_sync_days AS day
    CROSS JOIN waiting
    LEFT JOIN staged ON day.day_no = staged.day_no
    LEFT JOIN staged AS previous ON staged.previous_no = previous.day_no
)

SELECT
    sync_day,
    is_staged,
    is_applied,
    CASE WHEN is_staged THEN to_hex(hashtextextended(concat(of_staged, of_preview), 0)) END
        AS stg_agent_roles,
    CASE WHEN is_staged THEN to_hex(hashtextextended(of_staged, 0)) END
        AS stg_agent_roles_if_applied,
    -- A day that was held has errors without being staged.
    CASE WHEN has_errors THEN to_hex(hashtextextended(of_errors, 0)) END
        AS agent_role_pipeline_errors,
    CASE
        WHEN is_staged THEN to_hex(hashtextextended(concat(of_staged, of_errors, of_times), 0))
    END AS agent_role_mapping
FROM shown
ORDER BY day_no;
