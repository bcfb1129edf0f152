-- How often each rule was broken on a day.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f 034_check_errors.sql
SELECT
    rule.broken,
    count(*) AS rows_refused,
    min(refused.id) AS one_error_id
FROM agent_role_pipeline_errors AS refused
CROSS JOIN LATERAL regexp_split_to_table(refused.error_message, '; ') AS rule (broken)
WHERE refused.sync_day = current_setting('agent_roles.sync_day')
GROUP BY rule.broken
ORDER BY rows_refused DESC, rule.broken;
