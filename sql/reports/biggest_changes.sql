-- The ten roles that a staged day changed most, and how many roles it changed.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f reports/biggest_changes.sql
SELECT
    role_id,
    count(*) FILTER (WHERE change = 'assigned') AS assigned,
    count(*) FILTER (WHERE change = 'removed') AS removed,
    count(*) OVER () AS roles
FROM agent_role_changes
-- Not by a join: the planner estimates the day's changes better by a value.
WHERE day_no = agent_role_staged_day_no(current_setting('agent_roles.sync_day'))
GROUP BY role_id
ORDER BY count(*) DESC, role_id
LIMIT 10;
