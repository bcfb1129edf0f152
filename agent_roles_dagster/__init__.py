"""Agent roles: from daily API snapshots to who holds which role, in PostgreSQL."""
