-- All tables, views and functions, in the first schema of the search_path, and the schema beside it
-- where the days are. Safe to run again, from several processes at once, and on the tables of any
-- earlier version, which it brings up to date. It waits for runs that stage or apply a day, and
-- where the tables are of this version already, for no reader.
-- An administrator may run it where others could make functions and operators. So pg_catalog stands
-- before each function, and each operator gets only the types that it is made for.
-- First take away the right to create objects here. What was made earlier is looked for below.
BEGIN;

SET LOCAL client_min_messages = warning;

-- One process at a time. A role that may only read can't take the table's lock, but any role can
-- take the advisory one. So that one is only for the time before the table is there.
DO $$
DECLARE
    place TEXT := pg_catalog.current_schema();
    known TEXT := pg_catalog.format('%I.agent_role_schema_version', place);
BEGIN
    IF pg_catalog.to_regclass(known) IS NULL THEN
        PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('agent_roles schema'));
    END IF;
    -- Another process may have made it meanwhile, which to_regclass does not see at once.
    IF EXISTS (
        SELECT FROM pg_catalog.pg_class AS made
        WHERE
            made.relname = 'agent_role_schema_version'
            AND made.relnamespace
            = pg_catalog.to_regnamespace(pg_catalog.quote_ident(place))::OID
    ) THEN
        EXECUTE pg_catalog.format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', known);
    END IF;
END $$;

DO $$
DECLARE
    runner NAME := 'agent_roles_runner';
    place TEXT := pg_catalog.current_schema();
BEGIN
    IF EXISTS (
        SELECT FROM pg_catalog.pg_roles AS role
        WHERE
            role.rolname = runner
            AND role.rolname <> CURRENT_USER
            AND pg_catalog.has_schema_privilege(role.oid, place, 'CREATE')
    ) THEN
        EXECUTE pg_catalog.format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC, %I', place, runner);
    END IF;
END $$;

COMMIT;

BEGIN;

SET LOCAL client_min_messages = warning;

-- The same lock again, as the first one ended with its transaction. A function for both would need
-- the right to make temporary objects.
DO $$
DECLARE
    place TEXT := pg_catalog.current_schema();
    known TEXT := pg_catalog.format('%I.agent_role_schema_version', place);
BEGIN
    IF pg_catalog.to_regclass(known) IS NULL THEN
        PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('agent_roles schema'));
    END IF;
    -- Another process may have made it meanwhile, which to_regclass does not see at once.
    IF EXISTS (
        SELECT FROM pg_catalog.pg_class AS made
        WHERE
            made.relname = 'agent_role_schema_version'
            AND made.relnamespace
            = pg_catalog.to_regnamespace(pg_catalog.quote_ident(place))::OID
    ) THEN
        EXECUTE pg_catalog.format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', known);
    END IF;
END $$;

SELECT
    pg_catalog.set_config(
        'search_path', pg_catalog.format('%I, pg_temp', pg_catalog.current_schema()), TRUE
    ),
    -- The code has it as SCHEMA_VERSION. It rises with each change that the code needs.
    pg_catalog.set_config('agent_roles.schema_version', '5', TRUE);

DO $$
DECLARE
    place TEXT := pg_catalog.current_schema();
    days TEXT := pg_catalog.concat(place, '_days');
    found TEXT;
    version INTEGER;
BEGIN
    IF pg_catalog.octet_length(days) > 63 THEN
        RAISE EXCEPTION 'the schema''s name % is too long: 58 bytes at most. Nothing was changed', place;
    END IF;
    -- In an earlier version, the runner could make objects here. One could have a name of ours.
    SELECT
        pg_catalog.string_agg(
            pg_catalog.pg_describe_object(owned.classid, owned.objid, 0), ', '
        ) INTO found
    FROM pg_catalog.pg_shdepend AS owned
    INNER JOIN pg_catalog.pg_roles AS runner ON owned.refobjid = runner.oid
    INNER JOIN pg_catalog.pg_database AS here ON owned.dbid = here.oid
    CROSS JOIN LATERAL pg_catalog.pg_identify_object(owned.classid, owned.objid, 0) AS thing
    WHERE
        runner.rolname = 'agent_roles_runner'
        AND runner.rolname <> CURRENT_USER
        AND owned.refclassid = 'pg_catalog.pg_authid'::REGCLASS::OID
        AND owned.deptype = 'o'
        AND here.datname = pg_catalog.current_database()
        AND thing.schema = pg_catalog.quote_ident(place)
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_class AS ours
            WHERE
                owned.classid = 'pg_catalog.pg_class'::REGCLASS::OID
                AND ours.oid = owned.objid
                AND ours.relkind IN ('r', 'p')
                AND ours.relname ~ '^(stg_agent_roles(_.*)?|agent_roles_load_.*)$'
        );
    IF found IS NOT NULL THEN
        RAISE EXCEPTION 'agent_roles_runner owns what no version of this made: %', found
        USING HINT = 'It may be meant to be run by you. No table was changed; drop it, and run again.';
    END IF;
    IF EXISTS (
        SELECT FROM pg_catalog.pg_class AS known
        WHERE
            known.oid = pg_catalog.to_regclass('agent_role_schema_version')::OID
            AND known.relkind = 'r'
    ) THEN
        SELECT known.version INTO version FROM agent_role_schema_version AS known;
        IF version > pg_catalog.current_setting('agent_roles.schema_version')::INTEGER THEN
            RAISE EXCEPTION 'the tables are of version %, newer than this file, nothing was changed',
            version;
        END IF;
    END IF;
    -- Runs of the first version take turns by this lock, and do not know today's locks.
    IF
        coalesce(version, 1) = 1
        AND pg_catalog.to_regclass('agent_role_sync_days') IS NOT NULL
        AND NOT pg_catalog.pg_try_advisory_xact_lock(
            pg_catalog.hashtext(pg_catalog.concat('agent_roles staging ', place))
        )
    THEN
        RAISE EXCEPTION 'a run of the earlier version is staging a day. No table was changed. '
            'Let it end, end all services of that version, and run again';
    END IF;
    -- In the order in which runs lock them, so that there is no deadlock. In the first version, the
    -- second was a view.
    IF pg_catalog.to_regclass('agent_role_turn') IS NOT NULL THEN
        LOCK TABLE agent_role_turn IN SHARE ROW EXCLUSIVE MODE;
    END IF;
    IF EXISTS (
        SELECT FROM pg_catalog.pg_class AS known
        WHERE
            known.oid = pg_catalog.to_regclass('agent_role_pending')::OID
            AND known.relkind = 'r'
    ) THEN
        LOCK TABLE agent_role_pending IN SHARE ROW EXCLUSIVE MODE;
    END IF;
    IF pg_catalog.to_regnamespace(pg_catalog.quote_ident(days)) IS NULL THEN
        EXECUTE pg_catalog.format('CREATE SCHEMA %I', days);
    END IF;
    EXECUTE pg_catalog.format(
        'COMMENT ON SCHEMA %I IS %L', days,
        'The days of stg_agent_roles, a table each, and what runs are loading just now.'
    );
END $$;

CREATE TABLE IF NOT EXISTS agent_role_schema_version (
    version INTEGER PRIMARY KEY
);

SELECT
    pg_catalog.set_config(
        'agent_roles.is_up_to_date', (pg_catalog.count(*) > 0::BIGINT)::TEXT, TRUE
    )
FROM agent_role_schema_version
WHERE version = pg_catalog.current_setting('agent_roles.schema_version')::INTEGER;

-- What differs in the tables of earlier versions. ALTER TABLE takes a lock that readers wait for,
-- even if there is nothing to alter.
DO $$
BEGIN
    IF pg_catalog.current_setting('agent_roles.is_up_to_date')::BOOLEAN THEN
        RETURN;
    END IF;
    -- The first version counted publications.
    IF pg_catalog.to_regclass('agent_role_revision') IS NOT NULL THEN
        ALTER VIEW agent_role_pending RENAME TO agent_role_pending_before;
        CREATE TABLE agent_role_pending (agent_id BIGINT NOT NULL, role_id BIGINT NOT NULL);
        -- The view leaves out the pairs that have no assignment left. They are added.
        INSERT INTO agent_role_pending (agent_id, role_id)
        SELECT agent_id, role_id FROM agent_role_pending_before
        UNION
        SELECT agent_id, role_id FROM agent_role_changes WHERE change IS NULL;
        DROP VIEW agent_role_pending_before, agent_role_history;
        DELETE FROM agent_role_changes WHERE change IS NULL;
        ALTER TABLE agent_role_changes ALTER COLUMN change SET NOT NULL;
        ALTER TABLE agent_role_changes DROP COLUMN revision;
        ALTER TABLE agent_role_sync_days DROP COLUMN observed_revision;
        DROP TABLE agent_role_revision;
    END IF;
    IF pg_catalog.to_regclass('agent_role_sync_days') IS NOT NULL THEN
        ALTER TABLE agent_role_sync_days ADD COLUMN IF NOT EXISTS content JSONB;
        ALTER TABLE agent_role_sync_days
        ADD COLUMN IF NOT EXISTS accepted_by TEXT,
        ADD COLUMN IF NOT EXISTS accepted_run TEXT,
        ADD COLUMN IF NOT EXISTS accepted_what TEXT,
        ADD COLUMN IF NOT EXISTS unreadable_at TIMESTAMP,
        ADD COLUMN IF NOT EXISTS unreadable_by TEXT,
        ADD COLUMN IF NOT EXISTS unreadable_reason TEXT;
        IF NOT EXISTS (
            SELECT FROM pg_catalog.pg_attribute AS known
            WHERE
                known.attrelid = 'agent_role_sync_days'::REGCLASS::OID
                AND known.attname = 'error_raw_rows'
        ) THEN
            ALTER TABLE agent_role_sync_days ADD COLUMN error_raw_rows BIGINT;
            UPDATE agent_role_sync_days SET error_raw_rows = raw_rows;
        END IF;
        ALTER TABLE agent_role_sync_days ADD COLUMN IF NOT EXISTS fingerprint NUMERIC;
    END IF;
    -- agent_role_pending had pairs only.
    IF pg_catalog.to_regclass('agent_role_pending') IS NOT NULL THEN
        ALTER TABLE agent_role_pending ADD COLUMN IF NOT EXISTS day_no BIGINT;
        ALTER TABLE agent_role_pending ALTER COLUMN agent_id DROP NOT NULL;
        ALTER TABLE agent_role_pending ALTER COLUMN role_id DROP NOT NULL;
    END IF;
    -- The index was on the role alone.
    IF EXISTS (
        SELECT FROM pg_catalog.pg_index AS known
        WHERE
            known.indexrelid = pg_catalog.to_regclass('agent_role_changes_role')::OID
            AND known.indnatts = 1
    ) THEN
        DROP INDEX agent_role_changes_role;
    END IF;
END $$;

DROP TABLE IF EXISTS agent_role_checksums;
DROP FUNCTION IF EXISTS agent_role_pair_hash(BIGINT, BIGINT, TEXT);

CREATE TABLE IF NOT EXISTS stg_agent_roles (
    agent_id BIGINT,
    role_id BIGINT,
    status TEXT,
    sync_day TEXT,
    source TEXT,
    ingested_at TIMESTAMP
) PARTITION BY LIST (sync_day);

COMMENT ON TABLE stg_agent_roles IS
'The staged days: the pairs that each assigns, and those removed since the staged day before. '
'A partition for each day. Without constraints, so that the checks on it can fail.';

CREATE TABLE IF NOT EXISTS agent_role_pipeline_errors (
    id SERIAL PRIMARY KEY,
    agent_id BIGINT,
    role_id BIGINT,
    error_type TEXT,
    error_message TEXT,
    raw_record JSONB,
    created_at TIMESTAMP,
    sync_day TEXT
);

CREATE INDEX IF NOT EXISTS agent_role_pipeline_errors_day
ON agent_role_pipeline_errors (sync_day, role_id);

COMMENT ON TABLE agent_role_pipeline_errors IS
'What was refused, and why: the invalid rows of each day''s last readable run.';

CREATE TABLE IF NOT EXISTS agent_role_mapping (
    agent_id BIGINT,
    role_id BIGINT,
    status TEXT,
    assigned_at TIMESTAMP,
    removed_at TIMESTAMP,
    PRIMARY KEY (agent_id, role_id)
);

COMMENT ON TABLE agent_role_mapping IS
'Each pair''s latest assignment. Written by mapping/012_upsert_agent_roles.sql and '
'agent_role_fill_mapping() only.';

CREATE TABLE IF NOT EXISTS agent_role_sync_days (
    sync_day TEXT PRIMARY KEY,
    day_no BIGINT NOT NULL UNIQUE,
    digest TEXT,
    files BIGINT,
    content JSONB,
    observed_at TIMESTAMP,
    records BIGINT,
    raw_rows BIGINT,
    valid_pairs BIGINT,
    duplicates BIGINT,
    invalid_rows BIGINT,
    assigned BIGINT,
    removed BIGINT,
    fingerprint NUMERIC,
    error_rows BIGINT,
    error_raw_rows BIGINT,
    staged_at TIMESTAMP,
    staged_by TEXT,
    accepted_reason TEXT,
    accepted_by TEXT,
    accepted_run TEXT,
    accepted_what TEXT,
    applied_at TIMESTAMP,
    applied_by TEXT,
    held_at TIMESTAMP,
    held_by TEXT,
    held_digest TEXT,
    held_reason TEXT,
    unreadable_at TIMESTAMP,
    unreadable_by TEXT,
    unreadable_reason TEXT,
    pruned_at TIMESTAMP
);

COMMENT ON TABLE agent_role_sync_days IS
'One row for each sync day: what was read, what it came to, when and by which Dagster run it was '
'staged, applied, held, accepted or found unreadable. '
'A day counts as staged while staged_at is set.';
COMMENT ON COLUMN agent_role_sync_days.day_no IS 'The number the day''s digits spell: its order.';
COMMENT ON COLUMN agent_role_sync_days.content IS
'The files that were read: name, SHA-256, number of records and of raw rows of each.';
COMMENT ON COLUMN agent_role_sync_days.valid_pairs IS
'Distinct valid pairs, those with the status removed included.';
COMMENT ON COLUMN agent_role_sync_days.fingerprint IS
'The sum of the hashes of the pairs that were staged, assigned or removed, each once.';
COMMENT ON COLUMN agent_role_sync_days.error_rows IS
'Rows in agent_role_pipeline_errors: those of the last readable run, which may have been held.';
COMMENT ON COLUMN agent_role_sync_days.error_raw_rows IS
'Raw rows of the run that gave error_rows. The run that staged the day gave raw_rows.';
COMMENT ON COLUMN agent_role_sync_days.accepted_by IS
'Who approved what the day would otherwise be held for: accepted_what, in the run accepted_run.';
COMMENT ON COLUMN agent_role_sync_days.unreadable_at IS
'When the day was last found to be no snapshot, by which run and why. It changed nothing else.';
COMMENT ON COLUMN agent_role_sync_days.pruned_at IS
'When the day''s snapshot left staging, by the setting that bounds how many are kept.';

CREATE TABLE IF NOT EXISTS agent_role_changes (
    agent_id BIGINT NOT NULL,
    role_id BIGINT NOT NULL,
    day_no BIGINT NOT NULL,
    change TEXT NOT NULL CHECK (change IN ('assigned', 'removed')),
    PRIMARY KEY (agent_id, role_id, day_no)
);

-- With the agent, so that any index that the planner takes for a pair leads to its few rows.
CREATE INDEX IF NOT EXISTS agent_role_changes_role ON agent_role_changes (role_id, agent_id);
CREATE INDEX IF NOT EXISTS agent_role_changes_day ON agent_role_changes (day_no);

COMMENT ON TABLE agent_role_changes IS
'What each staged day changed against the staged day before. The history and the mapping follow '
'from it; a day that comes late or again rewrites only its own changes and the next day''s.';

CREATE TABLE IF NOT EXISTS agent_role_pending (
    agent_id BIGINT,
    role_id BIGINT,
    day_no BIGINT
);

COMMENT ON TABLE agent_role_pending IS
'What the mapping does not follow yet: days, with all their changes, and single pairs whose '
'change on another day is new or was taken back. A day or a pair may be here twice. A run locks '
'this table before it publishes or applies a day, so that one does so at a time.';

CREATE OR REPLACE FUNCTION agent_role_require_followed() RETURNS TRIGGER
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF pg_catalog.current_setting('agent_roles.days_are_followed', TRUE) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'an earlier mapping/012_upsert_agent_roles.sql can''t follow the days that are '
            'pending, so the mapping is as before'
        USING HINT = 'Run the file that came with the schema/010_schema.sql of these tables.';
    END IF;
    RETURN NULL;
END $$;

COMMENT ON FUNCTION agent_role_require_followed IS
'Refuses to empty agent_role_pending unless the session says that the mapping follows the days in '
'it. An early copy of mapping/012_upsert_agent_roles.sql, which knew only pairs, does not say so.';

DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_trigger AS known
        WHERE
            known.tgrelid = 'agent_role_pending'::REGCLASS::OID
            AND known.tgname = 'agent_role_require_followed'
    ) THEN
        CREATE TRIGGER agent_role_require_followed
        BEFORE DELETE OR TRUNCATE ON agent_role_pending
        FOR EACH STATEMENT EXECUTE FUNCTION agent_role_require_followed();
    END IF;
END $$;

CREATE TABLE IF NOT EXISTS agent_role_turn (
    nothing TEXT
);

COMMENT ON TABLE agent_role_turn IS
'Empty. A run locks this table before it stages a day, prunes snapshots or takes a day back, and '
'until the end of its transaction, so that one does so at a time.';

-- Earlier versions kept days and load tables in this schema. No run needs these load tables now.
DO $$
DECLARE
    part REGCLASS;
    days TEXT := pg_catalog.concat(pg_catalog.current_schema(), '_days');
BEGIN
    FOR part IN
        SELECT child.oid FROM pg_catalog.pg_inherits AS known
        INNER JOIN pg_catalog.pg_class AS child ON known.inhrelid = child.oid
        WHERE
            known.inhparent = 'stg_agent_roles'::REGCLASS::OID
            AND child.relnamespace
            = pg_catalog.to_regnamespace(pg_catalog.quote_ident(pg_catalog.current_schema()))::OID
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE %s SET SCHEMA %I', part, days);
    END LOOP;
    FOR part IN
        SELECT known.oid FROM pg_catalog.pg_class AS known
        WHERE
            known.relnamespace
            = pg_catalog.to_regnamespace(pg_catalog.quote_ident(pg_catalog.current_schema()))::OID
            AND known.relkind = 'r'
            AND known.relname ~ '^agent_roles_load_(rows|delta|errors|notes|claims|day)_[0-9a-f]{12}$'
    LOOP
        EXECUTE pg_catalog.format('DROP TABLE %s', part);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION agent_role_partition(asked_day TEXT) RETURNS REGCLASS
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT part.oid::REGCLASS
    FROM pg_catalog.pg_inherits AS known
    INNER JOIN pg_catalog.pg_class AS part ON known.inhrelid = part.oid
    WHERE
        known.inhparent = 'stg_agent_roles'::REGCLASS::OID
        AND part.relname = pg_catalog.concat('stg_agent_roles_', $1)::NAME
        AND NOT known.inhdetachpending;
END;

COMMENT ON FUNCTION agent_role_partition IS
'The table that has the rows of a sync day in stg_agent_roles; null if none has.';

-- In this form, names are resolved now, and the planner inlines the function.
CREATE OR REPLACE FUNCTION agent_role_pair_hash(agent_id BIGINT, role_id BIGINT)
RETURNS BIGINT
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.hashint8extended(
    $1,
    pg_catalog.hashint4extended(
        ($1 >> 32)::INTEGER,
        pg_catalog.hashint8extended(
            $2, pg_catalog.hashint4extended(($2 >> 32)::INTEGER, 0)
        )
    )
);

COMMENT ON FUNCTION agent_role_pair_hash IS
'A hash of a pair, null where an id is. PostgreSQL folds the two halves of a BIGINT into one '
'before it hashes them, so the upper half is hashed on its own, too.';

-- Readers wait for the lock that CREATE OR REPLACE VIEW takes, too.
DO $$
BEGIN
    IF
        pg_catalog.to_regclass('agent_role_history') IS NOT NULL
        AND pg_catalog.current_setting('agent_roles.is_up_to_date')::BOOLEAN
    THEN
        RETURN;
    END IF;
    CREATE OR REPLACE VIEW agent_role_history AS
    SELECT
        change.agent_id,
        change.role_id,
        began.sync_day AS assigned_on,
        began.observed_at AS assigned_at,
        ended.sync_day AS removed_on,
        ended.observed_at AS removed_at
    FROM (
        SELECT
            agent_id,
            role_id,
            day_no,
            change,
            pg_catalog.lead(day_no) OVER (PARTITION BY agent_id, role_id ORDER BY day_no) AS end_no
        FROM agent_role_changes
    ) AS change
    INNER JOIN agent_role_sync_days AS began ON change.day_no = began.day_no
    LEFT JOIN agent_role_sync_days AS ended ON change.end_no = ended.day_no
    WHERE change.change = 'assigned';
END $$;

COMMENT ON VIEW agent_role_history IS
'Every assignment over the staged days: the days on which it began and ended, and when the source '
'was read on those days. An assignment that holds has no end.';

DO $$
BEGIN
    IF
        pg_catalog.to_regclass('agent_role_pending_pairs') IS NOT NULL
        AND pg_catalog.current_setting('agent_roles.is_up_to_date')::BOOLEAN
    THEN
        RETURN;
    END IF;
    CREATE OR REPLACE VIEW agent_role_pending_pairs AS
    SELECT
        agent_id,
        role_id
    FROM agent_role_pending
    WHERE day_no IS NULL
    UNION
    SELECT
        change.agent_id,
        change.role_id
    FROM agent_role_pending AS pending
    -- Day by day, each by the index. Otherwise PostgreSQL may read all changes.
    CROSS JOIN LATERAL (
        SELECT
            known.agent_id,
            known.role_id
        FROM agent_role_changes AS known
        WHERE known.day_no = pending.day_no
        OFFSET 0
    ) AS change;
END $$;

COMMENT ON VIEW agent_role_pending_pairs IS
'The pairs that agent_role_pending stands for, each once.';

DO $$
BEGIN
    IF
        pg_catalog.to_regclass('agent_role_pending_assignments') IS NOT NULL
        AND pg_catalog.current_setting('agent_roles.is_up_to_date')::BOOLEAN
    THEN
        RETURN;
    END IF;
    CREATE OR REPLACE VIEW agent_role_pending_assignments AS
    SELECT
        latest.agent_id,
        latest.role_id,
        CASE
            WHEN ended.day_no IS NOT NULL THEN 'removed'
            WHEN began.day_no IS NOT NULL THEN 'assigned'
        END AS status,
        began.observed_at AS assigned_at,
        ended.observed_at AS removed_at
    FROM (
        SELECT
            pending.agent_id,
            pending.role_id,
            pg_catalog.max(change.day_no) FILTER (WHERE change.change = 'assigned') AS began_no,
            pg_catalog.max(change.day_no) FILTER (WHERE change.change = 'removed') AS ended_no
        FROM agent_role_pending_pairs AS pending
        LEFT JOIN agent_role_changes AS change
            ON pending.agent_id = change.agent_id AND pending.role_id = change.role_id
        GROUP BY pending.agent_id, pending.role_id
        -- The mapping is read and written in the order of its key, so each page once.
        ORDER BY pending.agent_id, pending.role_id
    ) AS latest
    LEFT JOIN agent_role_sync_days AS began ON latest.began_no = began.day_no
    LEFT JOIN agent_role_sync_days AS ended
        ON latest.ended_no = ended.day_no AND latest.began_no < ended.day_no;
END $$;

COMMENT ON VIEW agent_role_pending_assignments IS
'The latest assignment of each pending pair: what the mapping is going to say. The status is null '
'where no staged day has the pair any more.';

-- The planner has not seen today's changes, so it may take a few pending pairs for many and read
-- all changes. Whether they are few is counted here.
CREATE OR REPLACE FUNCTION agent_role_plan_pending() RETURNS BOOLEAN
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    are_many BOOLEAN;
BEGIN
    PERFORM pg_catalog.set_config('enable_seqscan', 'off', TRUE);
    -- A change has about 60 bytes. Twenty are read as fast as an index reads one page.
    SELECT
        1200::BIGINT * pg_catalog.count(*)
        > pg_catalog.pg_relation_size('agent_role_changes')
    INTO are_many FROM agent_role_pending_pairs;
    PERFORM pg_catalog.set_config(known.name, CASE WHEN are_many THEN 'on' ELSE 'off' END, TRUE)
    FROM (
        VALUES ('enable_seqscan'), ('enable_hashjoin'), ('enable_mergejoin')
    ) AS known (name);
    RETURN are_many;
END $$;

COMMENT ON FUNCTION agent_role_plan_pending IS
'Makes the rest of the transaction look up few pending pairs by the indexes, and read all changes '
'only if the pairs are many. Returns whether they are many.';

DO $$
BEGIN
    IF
        pg_catalog.to_regclass('agent_role_newest_day') IS NOT NULL
        AND pg_catalog.current_setting('agent_roles.is_up_to_date')::BOOLEAN
    THEN
        RETURN;
    END IF;
    CREATE OR REPLACE VIEW agent_role_newest_day AS
    SELECT
        sync_day,
        day_no
    FROM agent_role_sync_days
    WHERE staged_at IS NOT NULL
    ORDER BY day_no DESC
    LIMIT 1;
END $$;

COMMENT ON VIEW agent_role_newest_day IS 'The newest staged day.';

-- In an access review, an empty answer reads as "nobody". So a day that is not staged is refused.
CREATE OR REPLACE FUNCTION agent_role_staged_day_no(asked_day TEXT) RETURNS BIGINT
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
    found BIGINT;
BEGIN
    SELECT known.day_no INTO found FROM agent_role_sync_days AS known
    WHERE known.sync_day = asked_day AND known.staged_at IS NOT NULL;
    IF found IS NULL THEN
        RAISE EXCEPTION 'sync day % is not staged, so there is nothing to say of it', asked_day
        USING ERRCODE = 'no_data_found', HINT = 'agent_role_sync_days has the staged days.';
    END IF;
    RETURN found;
END $$;

COMMENT ON FUNCTION agent_role_staged_day_no IS
'The number of a staged day; an error for any other.';

CREATE OR REPLACE FUNCTION agent_roles_on(asked_day TEXT)
RETURNS TABLE (agent_id BIGINT, role_id BIGINT, assigned_on TEXT, assigned_at TIMESTAMP)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
    asked_no BIGINT := agent_role_staged_day_no(asked_day);
BEGIN
    RETURN QUERY
    SELECT
        history.agent_id,
        history.role_id,
        history.assigned_on,
        history.assigned_at
    FROM agent_role_history AS history
    INNER JOIN agent_role_sync_days AS began ON history.assigned_on = began.sync_day
    LEFT JOIN agent_role_sync_days AS ended ON history.removed_on = ended.sync_day
    WHERE asked_no >= began.day_no AND (ended.day_no IS NULL OR asked_no < ended.day_no);
END $$;

COMMENT ON FUNCTION agent_roles_on IS 'Who held which role on a sync day, and since when.';

CREATE OR REPLACE FUNCTION agent_role_changes_between(earlier_day TEXT, later_day TEXT)
RETURNS TABLE (change TEXT, agent_id BIGINT, role_id BIGINT)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
    earlier_no BIGINT := agent_role_staged_day_no(earlier_day);
    later_no BIGINT := agent_role_staged_day_no(later_day);
BEGIN
    IF earlier_no > later_no THEN
        RAISE EXCEPTION '% comes after %: the earlier day is named first', earlier_day, later_day
        USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN QUERY
    SELECT
        -- Assigned and removed alternate, so an even number of changes leaves the pair as it was.
        (pg_catalog.array_agg(known.change ORDER BY known.day_no DESC))[1],
        known.agent_id,
        known.role_id
    FROM agent_role_changes AS known
    WHERE known.day_no > earlier_no AND known.day_no <= later_no
    GROUP BY known.agent_id, known.role_id
    HAVING pg_catalog.count(*) % 2::BIGINT = 1;
END $$;

COMMENT ON FUNCTION agent_role_changes_between IS
'Which pairs the later sync day assigns or has removed, compared with the earlier one.';

-- Adding more rows than a table has is faster if its indexes are built at the end. These functions
-- do that for the runner, who has no right to. They take nothing from the caller but a number, and
-- no transaction can end with an index missing. Readers of the table wait meanwhile, so a table
-- that somebody is reading keeps its indexes.
CREATE OR REPLACE FUNCTION agent_role_is_bulk(added BIGINT, held_in REGCLASS) RETURNS BOOLEAN
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT
        CASE nullif(pg_catalog.current_setting('agent_roles.bulk', TRUE), '')
            WHEN 'on' THEN $1 > 0::BIGINT
            WHEN 'off' THEN FALSE
            -- For few rows, locks and catalogue cost more than this gains. A row has about 60
            -- bytes.
            ELSE
                $1 >= 100000::BIGINT
                AND 60::BIGINT * $1 >= pg_catalog.pg_relation_size($2)
        END;
END;

COMMENT ON FUNCTION agent_role_is_bulk IS
'Whether it is faster to add this number of rows to a table without its indexes, and then build '
'them. The setting agent_roles.bulk, on or off, decides instead.';

CREATE OR REPLACE FUNCTION agent_role_drop_change_indexes() RETURNS BOOLEAN
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
SET lock_timeout = '2s'
AS $$
BEGIN
    ALTER TABLE agent_role_changes DROP CONSTRAINT agent_role_changes_pkey;
    DROP INDEX IF EXISTS agent_role_changes_role;
    DROP INDEX IF EXISTS agent_role_changes_day;
    -- The trigger on agent_role_turn builds them again.
    INSERT INTO agent_role_turn (nothing) VALUES (NULL);
    DELETE FROM agent_role_turn;
    RETURN TRUE;
-- Somebody is reading the table, maybe while waiting for a table of this run. Or another object
-- depends on the key.
EXCEPTION WHEN lock_not_available OR deadlock_detected OR dependent_objects_still_exist THEN
    RETURN FALSE;
END $$;

COMMENT ON FUNCTION agent_role_drop_change_indexes IS
'Drop the indexes of agent_role_changes until the end of the transaction, if nobody is reading it.';

CREATE OR REPLACE FUNCTION agent_role_build_change_indexes() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    ALTER TABLE agent_role_changes
    ADD CONSTRAINT agent_role_changes_pkey PRIMARY KEY (agent_id, role_id, day_no);
    CREATE INDEX agent_role_changes_role ON agent_role_changes (role_id, agent_id);
    CREATE INDEX agent_role_changes_day ON agent_role_changes (day_no);
    RETURN NULL;
END $$;

COMMENT ON FUNCTION agent_role_build_change_indexes IS
'Builds what agent_role_drop_change_indexes dropped.';

DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_trigger AS known
        WHERE
            known.tgrelid = 'agent_role_turn'::REGCLASS::OID
            AND known.tgname = 'agent_role_build_change_indexes'
    ) THEN
        CREATE CONSTRAINT TRIGGER agent_role_build_change_indexes AFTER INSERT ON agent_role_turn
        DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION agent_role_build_change_indexes();
    END IF;
END $$;

CREATE OR REPLACE FUNCTION agent_role_fill_mapping() RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
SET lock_timeout = '2s'
AS $$
DECLARE
    written BIGINT;
BEGIN
    LOCK TABLE agent_role_pending IN SHARE ROW EXCLUSIVE MODE;
    IF
        -- Fast by the index, even if most rows were deleted.
        (SELECT pg_catalog.min(agent_id) FROM agent_role_mapping) IS NOT NULL
        OR NOT agent_role_is_bulk(
            pg_catalog.pg_relation_size('agent_role_changes') / 60::BIGINT, 'agent_role_mapping'
        )
    THEN
        RETURN 0;
    END IF;
    -- Below is the rule of agent_role_pending_assignments, for all pairs. A view that has both
    -- would aggregate all changes before it joins them with the few pairs that are pending.
    BEGIN
        ALTER TABLE agent_role_mapping DROP CONSTRAINT agent_role_mapping_pkey;
    EXCEPTION WHEN lock_not_available OR deadlock_detected OR dependent_objects_still_exist THEN
        RETURN 0;
    END;
    IF (SELECT pg_catalog.min(day_no) = pg_catalog.max(day_no) FROM agent_role_changes) THEN
        INSERT INTO agent_role_mapping (agent_id, role_id, status, assigned_at)
        SELECT
            change.agent_id,
            change.role_id,
            'assigned',
            began.observed_at
        FROM agent_role_changes AS change
        INNER JOIN agent_role_sync_days AS began ON change.day_no = began.day_no
        WHERE change.change = 'assigned';
    ELSE
        INSERT INTO agent_role_mapping (agent_id, role_id, status, assigned_at, removed_at)
        SELECT
            latest.agent_id,
            latest.role_id,
            CASE WHEN ended.day_no IS NULL THEN 'assigned' ELSE 'removed' END,
            began.observed_at,
            ended.observed_at
        FROM (
            SELECT
                change.agent_id,
                change.role_id,
                pg_catalog.max(change.day_no) FILTER (
                    WHERE change.change = 'assigned'
                ) AS began_no,
                pg_catalog.max(change.day_no) FILTER (
                    WHERE change.change = 'removed'
                ) AS ended_no
            FROM agent_role_changes AS change
            GROUP BY change.agent_id, change.role_id
        ) AS latest
        INNER JOIN agent_role_sync_days AS began ON latest.began_no = began.day_no
        LEFT JOIN agent_role_sync_days AS ended
            ON latest.ended_no = ended.day_no AND latest.began_no < ended.day_no;
    END IF;
    GET DIAGNOSTICS written = ROW_COUNT;
    ALTER TABLE agent_role_mapping
    ADD CONSTRAINT agent_role_mapping_pkey PRIMARY KEY (agent_id, role_id);
    PERFORM pg_catalog.set_config('agent_roles.days_are_followed', 'on', TRUE);
    DELETE FROM agent_role_pending;
    RETURN written;
END $$;

COMMENT ON FUNCTION agent_role_fill_mapping IS
'Fill the empty mapping from all changes at once, if they are many and nobody is reading it. Then '
'nothing is pending. Returns the number of rows written.';

REVOKE EXECUTE ON FUNCTION agent_role_drop_change_indexes FROM public;
REVOKE EXECUTE ON FUNCTION agent_role_build_change_indexes FROM public;
REVOKE EXECUTE ON FUNCTION agent_role_fill_mapping FROM public;
REVOKE EXECUTE ON FUNCTION agent_role_require_followed FROM public;

COMMENT ON TABLE agent_role_schema_version IS
'One row: the version of schema/010_schema.sql that made these tables.';

DELETE FROM agent_role_schema_version
WHERE version <> pg_catalog.current_setting('agent_roles.schema_version')::INTEGER;

INSERT INTO agent_role_schema_version (version)
VALUES (pg_catalog.current_setting('agent_roles.schema_version')::INTEGER)
ON CONFLICT DO NOTHING;

COMMIT;
