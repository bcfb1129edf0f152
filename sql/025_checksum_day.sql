-- What the tables hold of a staged day, as one text that is another once any of it is: its pairs
-- and their status, its changes, its refused rows and its record.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f 025_checksum_day.sql
WITH day AS (
    SELECT
        day_no,
        hashtextextended(
            row(
                digest,
                files,
                content,
                observed_at,
                records,
                raw_rows,
                valid_pairs,
                duplicates,
                invalid_rows,
                assigned,
                removed,
                error_rows,
                error_raw_rows
            )::TEXT,
            0
        ) AS record_hash
    FROM agent_role_sync_days
    WHERE sync_day = current_setting('agent_roles.sync_day')
),

staged AS (
    SELECT
        count(*) AS row_count,
        -- A hash is null where anything is, so that such a row is only counted.
        sum(
            hashint8extended(agent_id, hashint8extended(role_id, hashtextextended(status, 0)))
        ) AS hash_sum
    FROM stg_agent_roles
    WHERE sync_day = current_setting('agent_roles.sync_day')
),

changed AS (
    SELECT
        count(*) AS row_count,
        sum(
            hashint8extended(agent_id, hashint8extended(role_id, hashtextextended(change, 0)))
        ) AS hash_sum
    FROM agent_role_changes
    WHERE day_no = (SELECT day.day_no FROM day)
),

refused AS (
    SELECT
        count(*) AS row_count,
        sum(
            hashtextextended(
                row(agent_id, role_id, error_type, error_message, raw_record)::TEXT, 0
            )
        ) AS hash_sum
    FROM agent_role_pipeline_errors
    WHERE sync_day = current_setting('agent_roles.sync_day')
)

SELECT
    concat_ws(
        ' ',
        day.record_hash,
        -- Null sums are told apart from none at all by their place.
        row(staged.row_count, staged.hash_sum),
        row(changed.row_count, changed.hash_sum),
        row(refused.row_count, refused.hash_sum)
    ) AS checksum
FROM day
CROSS JOIN staged
CROSS JOIN changed
CROSS JOIN refused;
