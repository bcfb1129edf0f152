-- The fingerprint of a staged day: the sum of its pairs' hashes. By it, checks/staging.sql knows
-- that no pair is there twice.
-- The day is a parameter, since PostgreSQL plans for no other day then.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f load/fingerprint.sql

-- A pooler may give a session in which this file failed.
DO $$
BEGIN
    DEALLOCATE agent_roles_fingerprint;
EXCEPTION WHEN invalid_sql_statement_name THEN NULL;
END $$;

PREPARE agent_roles_fingerprint (TEXT) AS
SELECT coalesce(sum(agent_role_pair_hash(agent_id, role_id)), 0) AS fingerprint
FROM stg_agent_roles
WHERE sync_day = $1;

EXECUTE agent_roles_fingerprint (current_setting('agent_roles.sync_day'));

DEALLOCATE agent_roles_fingerprint;
