-- The sum of the hashes of what is staged for a day, by which 031 knows that no pair is there
-- twice.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f load/fingerprint.sql
SELECT coalesce(sum(agent_role_pair_hash(agent_id, role_id)), 0) AS fingerprint
FROM stg_agent_roles
-- In a query of its own, which is asked once; as it stands, it would be with every row.
WHERE sync_day = (SELECT current_setting('agent_roles.sync_day'));
