-- Needs the load tables of 020, which says how to run it with psql. Runs before 022, where somebody
-- changed the next day's rows. Of that day, only those pairs follow that this day changes: all
-- others would follow the damage, as if it were removals. A run of the next day mends it.
DELETE FROM agent_roles_load_delta AS delta
WHERE
    delta.is_next
    AND (
        NOT EXISTS (
            SELECT FROM agent_roles_load_delta AS own
            WHERE
                own.agent_id = delta.agent_id
                AND own.role_id = delta.role_id
                AND own.is_changed
                AND NOT own.is_next
        )
        -- Without a table, it takes no row.
        OR agent_role_partition((SELECT day.next_day FROM agent_roles_load_day AS day)) IS NULL
    );
