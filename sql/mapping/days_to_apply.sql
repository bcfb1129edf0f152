-- The staged days that the mapping does not follow yet, and the asked day if it is staged.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f mapping/days_to_apply.sql
SELECT sync_day
FROM agent_role_sync_days
WHERE
    staged_at IS NOT NULL
    AND (
        sync_day = current_setting('agent_roles.sync_day')
        OR (applied_at IS NULL AND pruned_at IS NULL)
    )
ORDER BY day_no;
