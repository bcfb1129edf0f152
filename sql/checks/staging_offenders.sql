-- A sample of the staged rows that break a rule: at most 20 for each rule, under the name of
-- the column in which checks/staging.sql counts them. Asked only if a check found some.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f checks/staging_offenders.sql
SELECT
    broken,
    agent_id,
    role_id,
    status,
    times
FROM (
    SELECT
        rule.broken,
        pair.agent_id,
        pair.role_id,
        pair.status,
        pair.times,
        row_number() OVER (
            PARTITION BY rule.broken ORDER BY pair.agent_id, pair.role_id, pair.status
        ) AS nth
    FROM (
        SELECT
            agent_id,
            role_id,
            status,
            count(*) AS times,
            sum(count(*)) OVER (PARTITION BY agent_id, role_id) AS times_in_all
        FROM stg_agent_roles
        WHERE sync_day = current_setting('agent_roles.sync_day')
        GROUP BY agent_id, role_id, status
    ) AS pair
    CROSS JOIN
        LATERAL (
            VALUES
            ('null_agent_ids', pair.agent_id IS NULL),
            ('null_role_ids', pair.role_id IS NULL),
            ('null_statuses', pair.status IS NULL),
            ('other_statuses', pair.status NOT IN ('assigned', 'removed')),
            (
                'other_removals',
                (pair.status = 'removed') <> EXISTS (
                    SELECT FROM agent_role_changes AS recorded
                    WHERE
                        recorded.agent_id = pair.agent_id
                        AND recorded.role_id = pair.role_id
                        AND recorded.day_no
                        = agent_role_staged_day_no(current_setting('agent_roles.sync_day'))
                        AND recorded.change = 'removed'
                )
            ),
            (
                'twice',
                pair.times_in_all > 1 AND pair.agent_id IS NOT NULL AND pair.role_id IS NOT NULL
            )
        ) AS rule (broken, is_broken)
    WHERE rule.is_broken
) AS offender
WHERE nth <= 20
ORDER BY broken, nth;
