-- The load tables that are there. A run asks this when it has the lock and before it makes its own,
-- so killed runs left these.
SELECT relname AS name
FROM pg_class
WHERE
    relnamespace = to_regnamespace(quote_ident(current_schema() || '_days'))
    AND relkind = 'r'
    AND relname ~ '^agent_roles_load_(rows|delta|errors|notes|claims|day)_[0-9a-f]{12}$';
