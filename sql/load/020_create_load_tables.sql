-- The load tables keep what a run loads until it is published. Each run gives them its own names.
-- They are unlogged, as a crash of the server ends the run. Only agent_roles_load_rows is logged:
-- it becomes a partition.
-- The files 020, 021 and 022 are the parts of a run. With psql, run them together. The tables are
-- empty then, so nothing changes: psql -1 -f 020_... -f 021_... -f 022_...

-- The pairs to stage as assigned. Columns that are the same in all rows are not loaded: 022 adds
-- them with a default, which takes no space and rewrites nothing.
CREATE TABLE agent_roles_load_rows (
    agent_id BIGINT,
    role_id BIGINT
);

-- The other differences: rows to take out of staging, removals to stage, and changes to record, of
-- the day or of the next day. A first day has none of its own, as all its rows are changes.
CREATE UNLOGGED TABLE agent_roles_load_delta (
    agent_id BIGINT,
    role_id BIGINT,
    is_next BOOLEAN,
    unstage BOOLEAN,
    stage BOOLEAN,
    is_changed BOOLEAN,
    change TEXT
);

CREATE UNLOGGED TABLE agent_roles_load_errors (
    agent_id BIGINT,
    role_id BIGINT,
    error_message TEXT,
    raw_record TEXT
);

CREATE UNLOGGED TABLE agent_roles_load_notes (
    kind TEXT,
    note TEXT
);

CREATE UNLOGGED TABLE agent_roles_load_claims (
    task INTEGER PRIMARY KEY,
    counts TEXT
);

-- One row: the new values of the day's record. Where it has null, the record stays.
CREATE UNLOGGED TABLE agent_roles_load_day (
    LIKE agent_role_sync_days,
    next_day TEXT,
    next_day_no BIGINT,
    is_first BOOLEAN,
    loaded_at TIMESTAMP,
    run_id TEXT
);
