-- The fingerprint of a staged day: the sum of its pairs' hashes. By it, checks/staging.sql knows
-- that no pair is there twice.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f load/fingerprint.sql
SELECT coalesce(sum(agent_role_pair_hash(agent_id, role_id)), 0) AS fingerprint
FROM stg_agent_roles
-- In a subquery, which is evaluated once. Without it, the setting is read for each row.
WHERE sync_day = (SELECT current_setting('agent_roles.sync_day'));
