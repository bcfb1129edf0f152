-- Removals that stand beside invalid records of the same role: they may be damage, not removals.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f 033_check_suspect_removals.sql
SELECT
    staged.role_id,
    count(*) AS removals,
    min(staged.agent_id) AS one_agent_id,
    refused.invalid_rows
FROM (
    SELECT
        role_id,
        count(*) AS invalid_rows
    FROM agent_role_pipeline_errors
    WHERE sync_day = current_setting('agent_roles.sync_day')
    GROUP BY role_id
) AS refused
INNER JOIN stg_agent_roles AS staged ON refused.role_id = staged.role_id
WHERE
    staged.sync_day = current_setting('agent_roles.sync_day')
    AND staged.status = 'removed'
GROUP BY staged.role_id, refused.invalid_rows
ORDER BY removals DESC, staged.role_id;
