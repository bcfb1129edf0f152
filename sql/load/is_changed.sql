-- Whether publishing changes the day's rows, or they have no fingerprint yet. Needs the load tables
-- of 020, which says how to run it with psql. Asked between 021 and 022.
SELECT
    EXISTS (SELECT FROM agent_roles_load_rows)
    OR EXISTS (
        SELECT FROM agent_roles_load_delta
        WHERE NOT is_next AND (stage OR unstage)
    )
    OR NOT EXISTS (
        SELECT FROM agent_role_sync_days AS known
        INNER JOIN agent_roles_load_day AS day ON known.sync_day = day.sync_day
        WHERE known.fingerprint IS NOT NULL
    ) AS is_changed;
