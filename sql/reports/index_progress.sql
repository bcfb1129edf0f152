-- The indexes of the large tables that are being built: the table, the phase, and the share of the
-- phase that is done, in per cent. Only the role that builds an index and a superuser see this.
SELECT
    relid::REGCLASS::TEXT AS name,
    phase,
    greatest(
        100 * tuples_done / nullif(tuples_total, 0), 100 * blocks_done / nullif(blocks_total, 0)
    ) AS share
FROM pg_stat_progress_create_index
WHERE relid IN (to_regclass('agent_role_changes'), to_regclass('agent_role_mapping'));
