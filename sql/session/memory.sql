-- Raises what the session may take of the server's memory to sort, to hash and to build indexes. It
-- never lowers it. The limits are shares of shared_buffers, which is itself a share of the server's
-- memory, or of the setting agent_roles.memory.
SELECT
    pg_catalog.set_config(
        known.name,
        greatest(known.setting::BIGINT, least(memory.bytes / share.part / 1024, 2097151))::TEXT,
        FALSE
    )
FROM (VALUES ('work_mem', 8), ('maintenance_work_mem', 2)) AS share (name, part)
INNER JOIN pg_catalog.pg_settings AS known ON share.name = known.name
CROSS JOIN
    LATERAL pg_catalog.pg_size_bytes(
        coalesce(
            nullif(pg_catalog.current_setting('agent_roles.memory', TRUE), ''),
            pg_catalog.current_setting('shared_buffers')
        )
    ) AS memory (bytes);
