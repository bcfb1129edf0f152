-- The pairs that are staged for a day, and their status, as one text that is another once one of
-- them is, or how many the day's record has. It begins with their number.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f 025_checksum_pairs.sql
SELECT
    row(
        count(*),
        -- A row with a null has no hash, and is only counted.
        sum(agent_role_pair_hash(agent_id, role_id, status)),
        (
            SELECT day.assigned FROM agent_role_sync_days AS day
            WHERE day.sync_day = current_setting('agent_roles.sync_day')
        )
    )::TEXT AS checksum
FROM stg_agent_roles
WHERE sync_day = current_setting('agent_roles.sync_day');
