-- Where this session would make tables, as whom, and where the tables are: their schema, their
-- owner, and whether their version is on record. Null stands for what is not there.
SELECT
    quote_ident(current_schema()) AS here,
    current_user AS who,
    (
        SELECT known.relnamespace::REGNAMESPACE::TEXT FROM pg_class AS known
        WHERE known.oid = to_regclass('agent_role_pending')
    ) AS place,
    (
        SELECT pg_get_userbyid(known.relowner) FROM pg_class AS known
        WHERE known.oid = to_regclass('stg_agent_roles')
    ) AS owner,
    to_regclass('agent_role_schema_version') IS NOT NULL AS has_version;
