"""From a dump file's bytes to raw rows."""
