-- Each staged day: the digest of its dump, when the source was read, the run that staged it, and
-- whether nothing of it is left to do: it is applied, its rows are there or were pruned, and its
-- errors are those of this dump, as far as their number says so.
SELECT
    sync_day,
    digest,
    observed_at,
    staged_by,
    applied_at IS NOT NULL
    AND coalesce(error_rows = invalid_rows AND error_raw_rows = raw_rows, TRUE)
    AND (pruned_at IS NOT NULL OR agent_role_partition(sync_day) IS NOT NULL) AS is_whole
FROM agent_role_sync_days
WHERE staged_at IS NOT NULL;
