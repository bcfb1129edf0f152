-- Removals of roles that also have invalid rows on that day. They may be damage, not removals.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f checks/suspect_removals.sql
SELECT
    role_id,
    count(*) FILTER (WHERE is_removal) AS removals,
    min(agent_id) FILTER (WHERE is_removal) AS one_agent_id,
    count(*) FILTER (WHERE NOT is_removal) AS invalid_rows
FROM (
    SELECT
        role_id,
        agent_id,
        TRUE AS is_removal
    FROM agent_role_changes
    WHERE
        -- Not by a join: the planner estimates the day's changes better by a value.
        day_no = agent_role_staged_day_no(current_setting('agent_roles.sync_day'))
        AND change = 'removed'
    -- Not joined either: of rows that are this new, the planner expects one, and compares all with
    -- all.
    UNION ALL
    SELECT
        role_id,
        NULL,
        FALSE
    FROM agent_role_pipeline_errors
    WHERE sync_day = current_setting('agent_roles.sync_day') AND role_id IS NOT NULL
) AS found
GROUP BY role_id
HAVING bool_or(is_removal) AND NOT bool_and(is_removal)
ORDER BY removals DESC, role_id;
