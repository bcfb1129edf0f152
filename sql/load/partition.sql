-- The table that has a staged day's rows, and its size in pages. No row if it is gone.
-- With psql: PGOPTIONS='-c agent_roles.sync_day=day2' psql -f load/partition.sql
SELECT
    part.oid::REGCLASS::TEXT AS name,
    pg_relation_size(part.oid) / current_setting('block_size')::BIGINT AS pages
FROM pg_class AS part
WHERE part.oid = agent_role_partition(current_setting('agent_roles.sync_day'));
