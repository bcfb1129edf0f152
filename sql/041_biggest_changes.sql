-- The ten roles that a staged day changed most, and of how many roles these are.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f 041_biggest_changes.sql
SELECT
    role_id,
    count(*) FILTER (WHERE change = 'assigned') AS assigned,
    count(*) FILTER (WHERE change = 'removed') AS removed,
    count(*) OVER () AS roles
FROM agent_role_changes
WHERE
    day_no = (
        SELECT known.day_no FROM agent_role_sync_days AS known
        WHERE known.sync_day = current_setting('agent_roles.sync_day')
    )
GROUP BY role_id
ORDER BY count(*) DESC, role_id
LIMIT 10;
