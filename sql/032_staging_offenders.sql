-- A sample of the staged rows that break a rule, for the checks that found some.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f 032_staging_offenders.sql
SELECT
    agent_id,
    role_id,
    status,
    count(*) AS times
FROM stg_agent_roles
WHERE sync_day = current_setting('agent_roles.sync_day')
GROUP BY agent_id, role_id, status
HAVING
    agent_id IS NULL
    OR role_id IS NULL
    OR status IS NULL
    OR status NOT IN ('assigned', 'removed')
    OR (agent_id, role_id) IN (
        SELECT
            pair.agent_id,
            pair.role_id
        FROM stg_agent_roles AS pair
        WHERE pair.sync_day = current_setting('agent_roles.sync_day')
        GROUP BY pair.agent_id, pair.role_id
        HAVING count(*) > 1
    )
ORDER BY agent_id, role_id, status
LIMIT 20;
