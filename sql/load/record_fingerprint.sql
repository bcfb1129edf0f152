-- Put the fingerprint of a staged day on record, which fingerprint.sql computes. Two statements:
-- PostgreSQL sums with several processes only in a query that writes nothing.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2 -c agent_roles.fingerprint=0'
-- psql -f load/record_fingerprint.sql
UPDATE agent_role_sync_days
SET fingerprint = current_setting('agent_roles.fingerprint')::NUMERIC
WHERE
    sync_day = current_setting('agent_roles.sync_day')
    AND fingerprint IS DISTINCT FROM current_setting('agent_roles.fingerprint')::NUMERIC;
