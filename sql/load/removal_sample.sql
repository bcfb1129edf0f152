-- Ten of the pairs that the loaded day removes. Needs the load tables of 020, which says how to run
-- it with psql.
SELECT
    agent_id,
    role_id
FROM agent_roles_load_delta
WHERE NOT is_next AND change = 'removed'
UNION
-- A removal that an earlier version staged, and that stays, is not loaded again.
SELECT
    staged.agent_id,
    staged.role_id
FROM stg_agent_roles AS staged
WHERE
    staged.sync_day = (SELECT current_setting('agent_roles.sync_day'))
    AND staged.status = 'removed'
    AND NOT EXISTS (
        SELECT FROM agent_roles_load_delta AS delta
        WHERE
            NOT delta.is_next
            AND delta.agent_id = staged.agent_id
            AND delta.role_id = staged.role_id
    )
ORDER BY role_id, agent_id
LIMIT 10;
