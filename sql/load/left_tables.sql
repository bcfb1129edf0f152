-- The load tables that are there. In the turn of a run that has not made its own yet, these are
-- what killed runs left.
SELECT relname AS name
FROM pg_class
WHERE
    relnamespace = to_regnamespace(quote_ident(current_schema() || '_days'))
    AND relkind = 'r'
    AND relname ~ '^agent_roles_load_(rows|delta|errors|notes|claims|day)_[0-9a-f]{12}$';
