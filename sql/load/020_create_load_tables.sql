-- Where a run collects what it is going to publish. Each run has its own set, under other names.
-- The files 020, 021 and 022 are the parts of a run. With psql they go together, and without rows
-- in these tables change nothing: psql -1 -f 020_... -f 021_... -f 022_...
-- Unlogged, as a crash of the server ends the run: but for the rows, which become a partition.

-- The pairs to stage as assigned. What is the same in all of them is no part of the rows: 022 adds
-- it as columns with a default, which takes no space and rewrites nothing.
CREATE TABLE agent_roles_load_rows (
    agent_id BIGINT,
    role_id BIGINT
);

-- Other rows to stage or to unstage, and what changes; of a first day the rows say that.
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

-- What the day's record is to say: a row, of which null says nothing.
CREATE UNLOGGED TABLE agent_roles_load_day (
    LIKE agent_role_sync_days,
    next_day TEXT,
    next_day_no BIGINT,
    is_first BOOLEAN,
    loaded_at TIMESTAMP,
    run_id TEXT
);
