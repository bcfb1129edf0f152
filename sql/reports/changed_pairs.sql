-- The first fifty pairs that a staged day changed, removals first.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f reports/changed_pairs.sql
SELECT
    change,
    agent_id,
    role_id
FROM agent_role_changes
-- Not by a join: the planner estimates the day's changes better by a value.
WHERE day_no = agent_role_staged_day_no(current_setting('agent_roles.sync_day'))
ORDER BY change DESC, role_id, agent_id
LIMIT 50;
