-- Keep the snapshots of the newest days only, as many as `agent_roles.keep_days` says. The mapping,
-- the changes and so the history stay whole.
-- With psql: PGOPTIONS='-c agent_roles.keep_days=30' psql -f 023_prune_snapshots.sql
DO $$
DECLARE
    day TEXT;
BEGIN
    FOR day IN
        SELECT old.sync_day FROM (
            SELECT sync_day, pruned_at FROM agent_role_sync_days
            WHERE staged_at IS NOT NULL AND applied_at IS NOT NULL
            ORDER BY day_no DESC
            OFFSET current_setting('agent_roles.keep_days')::BIGINT
        ) AS old
        WHERE old.pruned_at IS NULL
    LOOP
        EXECUTE format('DROP TABLE IF EXISTS %I', 'stg_agent_roles_' || day);
        UPDATE agent_role_sync_days SET pruned_at = now() AT TIME ZONE 'UTC'
        WHERE sync_day = day;
    END LOOP;
END $$;
