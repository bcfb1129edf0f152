-- The pairs that are staged for a day, and their status, as one text that is another once one of
-- them is, or how many the day's record has. It begins with their number.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f 025_checksum_pairs.sql
SELECT
    row(
        count(*),
        -- A hash is null where anything is, so that such a row is only counted. PostgreSQL folds
        -- the halves of a BIGINT into one another before it hashes them: hence the upper one apart.
        sum(
            hashint8extended(
                agent_id,
                hashint4extended(
                    (agent_id >> 32)::INTEGER,
                    hashint8extended(
                        role_id,
                        hashint4extended(
                            (role_id >> 32)::INTEGER, hashtextextended(status, 0)
                        )
                    )
                )
            )
        ),
        (
            SELECT day.assigned FROM agent_role_sync_days AS day
            WHERE day.sync_day = current_setting('agent_roles.sync_day')
        )
    )::TEXT AS checksum
FROM stg_agent_roles
WHERE sync_day = current_setting('agent_roles.sync_day');
