-- Drop old snapshots. The newest `agent_roles.keep_days` days keep theirs. So do the days that
-- another one will be compared with: those beside `agent_roles.sync_day`, which can be run again,
-- and those beside each of `agent_roles.landed_days` that is not staged yet. A later run drops
-- them. The mapping, the changes and the history stay whole.
-- With psql, the landed days by their numbers: PGOPTIONS='-c agent_roles.keep_days=30
-- -c agent_roles.sync_day=day40 -c agent_roles.landed_days={40,41}'
-- psql -1 -f mapping/prune_snapshots.sql
DO $$
DECLARE
    day TEXT;
    part REGCLASS;
BEGIN
    -- At any other level, what a run publishes while this waits for its turn would not be seen.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the transaction is not READ COMMITTED, so no snapshot was dropped'
        USING HINT = 'Set default_transaction_isolation to read committed, and run again.';
    END IF;
    PERFORM pg_catalog.set_config(
        'search_path', pg_catalog.format('%I, pg_temp', pg_catalog.current_schema()), TRUE
    );
    -- No run may be comparing a day with one that goes.
    LOCK TABLE agent_role_turn IN SHARE ROW EXCLUSIVE MODE;
    FOR day IN
        WITH staged AS (
            SELECT sync_day, day_no, pruned_at, applied_at FROM agent_role_sync_days
            WHERE staged_at IS NOT NULL
        ), awaited AS (
            SELECT day_no FROM staged WHERE sync_day = current_setting('agent_roles.sync_day')
            UNION
            (
                SELECT unnest(current_setting('agent_roles.landed_days')::BIGINT [])
                EXCEPT SELECT day_no FROM staged
            )
        ), needed AS (
            SELECT day_no FROM awaited
            UNION SELECT (SELECT max(day_no) FROM staged WHERE staged.day_no < awaited.day_no)
            FROM awaited
            UNION SELECT (SELECT min(day_no) FROM staged WHERE staged.day_no > awaited.day_no)
            FROM awaited
        ), old AS (
            SELECT sync_day, day_no, pruned_at FROM staged
            WHERE applied_at IS NOT NULL
            ORDER BY day_no DESC
            OFFSET current_setting('agent_roles.keep_days')::BIGINT
        )
        SELECT old.sync_day FROM old
        WHERE
            old.pruned_at IS NULL
            AND NOT EXISTS (SELECT FROM needed WHERE needed.day_no = old.day_no)
    LOOP
        part := agent_role_partition(day);
        IF part IS NOT NULL THEN
            EXECUTE pg_catalog.format('DROP TABLE %s', part);
        END IF;
        UPDATE agent_role_sync_days SET pruned_at = now() AT TIME ZONE 'UTC'
        WHERE sync_day = day;
    END LOOP;
END $$;

-- The days whose snapshots this transaction dropped.
SELECT sync_day
FROM agent_role_sync_days
WHERE pruned_at = now() AT TIME ZONE 'UTC'
ORDER BY day_no;
