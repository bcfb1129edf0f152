-- The indexes of the large tables that are being built: of which table, in which phase, and the
-- share of the phase that is done, in per cent. The role that builds an index sees this, and a
-- superuser.
SELECT
    relid::REGCLASS::TEXT AS name,
    phase,
    greatest(
        100 * tuples_done / nullif(tuples_total, 0), 100 * blocks_done / nullif(blocks_total, 0)
    ) AS share
FROM pg_stat_progress_create_index
WHERE relid IN (to_regclass('agent_role_changes'), to_regclass('agent_role_mapping'));
