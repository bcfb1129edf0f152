-- Removals of roles that also have invalid rows on that day. They may be damage, not removals.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f checks/suspect_removals.sql
WITH removed AS MATERIALIZED (
    SELECT
        role_id,
        count(*) AS removals,
        min(agent_id) AS one_agent_id
    FROM agent_role_changes
    WHERE
        -- Not by a join: the planner estimates the day's changes better by a value.
        day_no = agent_role_staged_day_no(current_setting('agent_roles.sync_day'))
        AND change = 'removed'
    GROUP BY role_id
)

SELECT
    removed.role_id,
    removed.removals,
    removed.one_agent_id,
    count(*) AS invalid_rows
FROM removed
INNER JOIN agent_role_pipeline_errors AS refused ON removed.role_id = refused.role_id
WHERE refused.sync_day = current_setting('agent_roles.sync_day')
GROUP BY removed.role_id, removed.removals, removed.one_agent_id
ORDER BY removed.removals DESC, removed.role_id;
