-- The first fifty pairs that a staged day changed, removals first.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f reports/changed_pairs.sql
SELECT
    change,
    agent_id,
    role_id
FROM agent_role_changes
-- Not by a join: of this the planner knows how many changes the day has.
WHERE day_no = agent_role_staged_day_no(current_setting('agent_roles.sync_day'))
ORDER BY change DESC, role_id, agent_id
LIMIT 50;
