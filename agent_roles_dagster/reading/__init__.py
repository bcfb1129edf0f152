"""From a file's bytes to raw rows (agent, role, status)."""
