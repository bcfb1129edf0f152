-- Who may do what: agent_roles_owner owns the tables, agent_roles_runner runs the job with the
-- rights it needs and no others, agent_roles_reader reads. Safe to run again, also on tables in
-- use. By a superuser, or by the database's owner with CREATEROLE: psql -f schema/010_schema.sql -f
-- schema/015_roles.sql
BEGIN;

SET LOCAL client_min_messages = warning;

-- The caller has many rights. So no name here may lead to a function that somebody else made.
SELECT pg_catalog.set_config(
    'search_path', pg_catalog.format('%I, pg_temp', pg_catalog.current_schema()), TRUE
);

-- The locks that 010 takes, in the order in which runs take them.
LOCK TABLE agent_role_schema_version IN SHARE ROW EXCLUSIVE MODE;

LOCK TABLE agent_role_turn IN SHARE ROW EXCLUSIVE MODE;

LOCK TABLE agent_role_pending IN SHARE ROW EXCLUSIVE MODE;

DO $$
DECLARE
    name TEXT;
    place TEXT := pg_catalog.current_schema();
    days TEXT := pg_catalog.concat(place, '_days');
BEGIN
    FOREACH name IN ARRAY ARRAY['agent_roles_owner', 'agent_roles_runner', 'agent_roles_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS role WHERE role.rolname = name::NAME) THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I', name);
        END IF;
        IF pg_catalog.current_setting('is_superuser') = 'off' THEN
            -- Only a member of a role can give it a table.
            EXECUTE pg_catalog.format('GRANT %I TO CURRENT_USER', name);
        END IF;
    END LOOP;
    EXECUTE pg_catalog.format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC, agent_roles_runner', place);
    EXECUTE pg_catalog.format('GRANT USAGE, CREATE ON SCHEMA %I TO agent_roles_owner', place);
    EXECUTE pg_catalog.format(
        'GRANT USAGE ON SCHEMA %I TO agent_roles_runner, agent_roles_reader', place
    );
    -- The load tables of each run come and go. Nobody else looks for anything there by name.
    EXECUTE pg_catalog.format('ALTER SCHEMA %I OWNER TO agent_roles_owner', days);
    EXECUTE pg_catalog.format('GRANT USAGE, CREATE ON SCHEMA %I TO agent_roles_runner', days);
END $$;

-- It has no password until it is given one.
ALTER ROLE agent_roles_runner LOGIN;

GRANT SELECT, INSERT, DELETE ON agent_role_pipeline_errors TO agent_roles_runner;
-- pg_dump needs SELECT, pg_restore UPDATE.
GRANT SELECT, UPDATE, USAGE ON SEQUENCE agent_role_pipeline_errors_id_seq TO agent_roles_runner;
GRANT SELECT, INSERT, UPDATE, DELETE ON agent_role_mapping TO agent_roles_runner;
GRANT SELECT, INSERT, UPDATE, DELETE ON agent_role_sync_days TO agent_roles_runner;
GRANT SELECT, INSERT, UPDATE, DELETE ON agent_role_changes TO agent_roles_runner;
GRANT SELECT, INSERT, DELETE ON agent_role_pending TO agent_roles_runner;
GRANT SELECT ON
agent_role_pending_pairs,
agent_role_pending_assignments,
agent_role_newest_day
TO agent_roles_runner;
-- Locking it needs more than the right to read it.
GRANT SELECT, DELETE ON agent_role_turn TO agent_roles_runner;
GRANT SELECT ON agent_role_schema_version TO agent_roles_runner;
GRANT EXECUTE ON FUNCTION agent_role_drop_change_indexes TO agent_roles_runner;
GRANT EXECUTE ON FUNCTION agent_role_fill_mapping TO agent_roles_runner;

-- Reading a table runs its owner's policies, and the functions in its indexes. Here, the runner
-- could make those.
REVOKE ALL ON stg_agent_roles FROM agent_roles_reader;

GRANT SELECT ON
agent_role_mapping,
agent_role_sync_days,
agent_role_changes,
agent_role_pending,
agent_role_history,
agent_role_newest_day
TO agent_roles_reader;

-- Not raw_record, which has whatever was in the dump, names and addresses among it.
GRANT SELECT (
    id, agent_id, role_id, error_type, error_message, created_at, sync_day
) ON agent_role_pipeline_errors TO agent_roles_reader;

DO $$
DECLARE
    part REGCLASS;
    days TEXT := pg_catalog.concat(pg_catalog.current_schema(), '_days');
BEGIN
    -- VACUUM needs this, or the table itself; without, autovacuum does it a little later.
    IF pg_catalog.current_setting('server_version_num')::INTEGER >= 170000 THEN
        GRANT MAINTAIN ON agent_role_pending TO agent_roles_runner;
    END IF;
    -- Only the owner of staging can attach a day, or drop an old one. So the runner owns it, with
    -- all days and with what a killed run left. A table's new owner needs the right to make tables
    -- there. The runner has it in this transaction only, so nobody sees it.
    EXECUTE pg_catalog.format(
        'GRANT CREATE ON SCHEMA %I TO agent_roles_runner', pg_catalog.current_schema()
    );
    -- Only tables of another owner: readers wait for the lock that this takes.
    FOR part IN
        SELECT known.oid FROM pg_catalog.pg_class AS known
        LEFT JOIN pg_catalog.pg_inherits AS parent ON known.oid = parent.inhrelid
        WHERE
            known.relowner <> pg_catalog.to_regrole('agent_roles_runner')::OID
            AND (
                'stg_agent_roles'::REGCLASS::OID IN (known.oid, parent.inhparent)
                OR (
                    known.relnamespace
                    = pg_catalog.to_regnamespace(pg_catalog.quote_ident(days))::OID
                    AND known.relkind = 'r'
                    AND known.relname
                    ~ '^agent_roles_load_(rows|delta|errors|notes|claims|day)_[0-9a-f]{12}$'
                )
            )
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE %s OWNER TO agent_roles_runner', part);
    END LOOP;
    EXECUTE pg_catalog.format(
        'REVOKE CREATE ON SCHEMA %I FROM agent_roles_runner', pg_catalog.current_schema()
    );
    FOR part IN
        SELECT known.oid FROM pg_catalog.pg_class AS known
        WHERE
            known.relowner <> pg_catalog.to_regrole('agent_roles_owner')::OID
            AND known.oid IN (
                'agent_role_pipeline_errors'::REGCLASS::OID,
                'agent_role_mapping'::REGCLASS::OID,
                'agent_role_sync_days'::REGCLASS::OID,
                'agent_role_changes'::REGCLASS::OID,
                'agent_role_pending'::REGCLASS::OID,
                'agent_role_turn'::REGCLASS::OID,
                'agent_role_schema_version'::REGCLASS::OID,
                'agent_role_history'::REGCLASS::OID,
                'agent_role_pending_pairs'::REGCLASS::OID,
                'agent_role_pending_assignments'::REGCLASS::OID,
                'agent_role_newest_day'::REGCLASS::OID
            )
    LOOP
        -- For a view, too, it is ALTER TABLE.
        EXECUTE pg_catalog.format('ALTER TABLE %s OWNER TO agent_roles_owner', part);
    END LOOP;
END $$;

ALTER FUNCTION agent_role_pair_hash OWNER TO agent_roles_owner;
ALTER FUNCTION agent_role_partition OWNER TO agent_roles_owner;
ALTER FUNCTION agent_role_staged_day_no OWNER TO agent_roles_owner;
ALTER FUNCTION agent_roles_on OWNER TO agent_roles_owner;
ALTER FUNCTION agent_role_changes_between OWNER TO agent_roles_owner;
ALTER FUNCTION agent_role_plan_pending OWNER TO agent_roles_owner;
ALTER FUNCTION agent_role_is_bulk OWNER TO agent_roles_owner;
ALTER FUNCTION agent_role_drop_change_indexes OWNER TO agent_roles_owner;
ALTER FUNCTION agent_role_build_change_indexes OWNER TO agent_roles_owner;
ALTER FUNCTION agent_role_fill_mapping OWNER TO agent_roles_owner;
ALTER FUNCTION agent_role_require_followed OWNER TO agent_roles_owner;

COMMIT;
