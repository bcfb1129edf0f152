-- Who may do what: agent_roles_owner owns the tables, agent_roles_runner runs the job with no more
-- than it needs, agent_roles_reader reads. Safe to run again, also on tables that are in use.
-- By a superuser, or by the database's owner with CREATEROLE:
-- psql -f 010_schema.sql -f 015_roles.sql
BEGIN;

SET LOCAL client_min_messages = warning;

SELECT pg_advisory_xact_lock(hashtext('agent_roles schema'));

DO $$
DECLARE
    name TEXT;
    place TEXT := current_schema();
BEGIN
    FOREACH name IN ARRAY ARRAY['agent_roles_owner', 'agent_roles_runner', 'agent_roles_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I', name);
        END IF;
        IF current_setting('is_superuser') = 'off' THEN
            -- To hand a table to a role takes a member of it.
            EXECUTE format('GRANT %I TO CURRENT_USER', name);
        END IF;
    END LOOP;
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', place);
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO agent_roles_owner', place);
    -- The load tables of each run come and go.
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO agent_roles_runner', place);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO agent_roles_reader', place);
END $$;

-- It has no password until it is given one.
ALTER ROLE agent_roles_runner LOGIN;

GRANT SELECT, INSERT, DELETE ON agent_role_pipeline_errors TO agent_roles_runner;
-- To read it, too, takes pg_dump.
GRANT SELECT, USAGE ON SEQUENCE agent_role_pipeline_errors_id_seq TO agent_roles_runner;
GRANT SELECT, INSERT, UPDATE, DELETE ON agent_role_mapping TO agent_roles_runner;
GRANT SELECT, INSERT, UPDATE, DELETE ON agent_role_sync_days TO agent_roles_runner;
GRANT SELECT, INSERT, UPDATE, DELETE ON agent_role_changes TO agent_roles_runner;
GRANT SELECT, INSERT, DELETE ON agent_role_pending TO agent_roles_runner;

GRANT SELECT ON
stg_agent_roles,
agent_role_mapping,
agent_role_sync_days,
agent_role_changes,
agent_role_pending,
agent_role_history
TO agent_roles_reader;

-- Not raw_record, which has whatever was in the dump, names and addresses among it.
GRANT SELECT (
    id, agent_id, role_id, error_type, error_message, created_at, sync_day
) ON agent_role_pipeline_errors TO agent_roles_reader;

DO $$
DECLARE
    part REGCLASS;
BEGIN
    -- VACUUM needs this, or the table itself; without, autovacuum does it a little later.
    IF current_setting('server_version_num')::INTEGER >= 170000 THEN
        GRANT MAINTAIN ON agent_role_pending TO agent_roles_runner;
    END IF;
    -- Attaching a day, and dropping an old one, takes the owner of staging. So that one is the
    -- runner's own, with each day and with what a killed run left.
    FOR part IN
        SELECT oid FROM pg_class
        WHERE
            relnamespace = current_schema()::REGNAMESPACE
            AND relkind IN ('r', 'p')
            AND (relname LIKE 'stg\_agent\_roles%' OR relname LIKE 'agent\_roles\_load\_%')
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO agent_roles_runner', part);
    END LOOP;
END $$;

ALTER TABLE agent_role_pipeline_errors OWNER TO agent_roles_owner;
ALTER TABLE agent_role_mapping OWNER TO agent_roles_owner;
ALTER TABLE agent_role_sync_days OWNER TO agent_roles_owner;
ALTER TABLE agent_role_changes OWNER TO agent_roles_owner;
ALTER TABLE agent_role_pending OWNER TO agent_roles_owner;
ALTER VIEW agent_role_history OWNER TO agent_roles_owner;
ALTER FUNCTION agent_role_pair_hash OWNER TO agent_roles_owner;
ALTER FUNCTION agent_role_staged_day_no OWNER TO agent_roles_owner;
ALTER FUNCTION agent_roles_on OWNER TO agent_roles_owner;
ALTER FUNCTION agent_role_changes_between OWNER TO agent_roles_owner;

COMMIT;
