-- Take the newest staged day back, as if it had never been staged. The caller names the day, so
-- that no other one is taken back. Move its dump out of the landing folder first. Run
-- 012_upsert_agent_roles.sql afterwards, so that the mapping follows. In the folder sql:
--   psql -c "SET agent_roles.sync_day = 'day3'" -f admin/take_back_newest_day.sql \
--     -f mapping/012_upsert_agent_roles.sql
BEGIN;

-- At any other level, what a run publishes while this waits for its turn would not be seen.
SET LOCAL transaction_isolation = 'read committed';

SELECT pg_catalog.set_config(
    'search_path', pg_catalog.format('%I, pg_temp', pg_catalog.current_schema()), TRUE
);

-- Meanwhile, no run may compare a day with this one, or publish. Runs lock in the same order.
LOCK TABLE agent_role_turn IN SHARE ROW EXCLUSIVE MODE;

LOCK TABLE agent_role_pending IN SHARE ROW EXCLUSIVE MODE;

DO $$
DECLARE
    newest agent_role_newest_day%ROWTYPE;
    before agent_role_sync_days%ROWTYPE;
    asked TEXT := current_setting('agent_roles.sync_day');
    part REGCLASS := agent_role_partition(asked);
BEGIN
    SELECT * INTO newest FROM agent_role_newest_day;
    IF NOT EXISTS (
        SELECT FROM agent_role_sync_days AS known
        WHERE known.sync_day = asked AND known.staged_at IS NOT NULL
    ) THEN
        RAISE EXCEPTION '% is not staged, so it was not taken back, nothing was changed', asked
        USING HINT = 'agent_role_sync_days has the staged days.';
    END IF;
    IF newest.sync_day IS DISTINCT FROM asked THEN
        RAISE EXCEPTION '% is not the newest staged day, nothing was changed', asked
        USING HINT = pg_catalog.format('That is %s; take back each day after %s first.', newest.sync_day, asked);
    END IF;
    SELECT * INTO before FROM agent_role_sync_days
    WHERE staged_at IS NOT NULL AND day_no < newest.day_no
    ORDER BY day_no DESC LIMIT 1;
    IF before.pruned_at IS NOT NULL THEN
        RAISE EXCEPTION 'the snapshot of %, the day before, was pruned, nothing was changed',
        before.sync_day
        USING HINT = 'No later day could be compared with it. Load all days into an empty database.';
    END IF;

    INSERT INTO agent_role_pending (agent_id, role_id)
    SELECT
        agent_id,
        role_id
    FROM agent_role_changes WHERE day_no = newest.day_no;

    DELETE FROM agent_role_changes WHERE day_no = newest.day_no;
    DELETE FROM agent_role_pipeline_errors WHERE sync_day = asked;
    DELETE FROM agent_role_sync_days WHERE sync_day = asked;
    IF part IS NOT NULL THEN
        EXECUTE pg_catalog.format('DROP TABLE %s', part);
    END IF;
END $$;

COMMIT;
