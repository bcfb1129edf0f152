-- A staged day's changes, its refused rows and its record, as one text that is another once any of
-- it is. It begins with the number of changes.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f 026_checksum_record.sql
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
        ) AS hash
    FROM agent_role_sync_days
    WHERE sync_day = current_setting('agent_roles.sync_day')
),

changed AS (
    SELECT
        count(*) AS row_count,
        sum(agent_role_pair_hash(agent_id, role_id, change)) AS hash_sum
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
    row(
        changed.row_count,
        changed.hash_sum,
        refused.row_count,
        refused.hash_sum,
        day.hash
    )::TEXT AS checksum
FROM day
CROSS JOIN changed
CROSS JOIN refused;
