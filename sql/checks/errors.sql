-- How often each rule was broken on a day, and on the staged day before.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f checks/errors.sql
SELECT
    rule.broken,
    sum(message.times) FILTER (WHERE message.is_the_day)::BIGINT AS rows_refused,
    coalesce(sum(message.times) FILTER (WHERE NOT message.is_the_day), 0)::BIGINT AS day_before,
    min(message.one_error_id) FILTER (WHERE message.is_the_day) AS one_error_id
FROM (
    SELECT
        error_message,
        sync_day = current_setting('agent_roles.sync_day') AS is_the_day,
        count(*) AS times,
        min(id) AS one_error_id
    FROM agent_role_pipeline_errors
    WHERE
        sync_day IN (
            current_setting('agent_roles.sync_day'),
            (
                SELECT earlier.sync_day FROM agent_role_sync_days AS earlier
                INNER JOIN agent_role_sync_days AS day ON earlier.day_no < day.day_no
                WHERE
                    day.sync_day = current_setting('agent_roles.sync_day')
                    AND earlier.staged_at IS NOT NULL
                ORDER BY earlier.day_no DESC
                LIMIT 1
            )
        )
    GROUP BY error_message, sync_day
) AS message
CROSS JOIN LATERAL regexp_split_to_table(message.error_message, '; ') AS rule (broken)
GROUP BY rule.broken
HAVING bool_or(message.is_the_day)
ORDER BY rows_refused DESC, rule.broken;
