-- Where a run collects what it is going to publish. Each run has its own set, under other names.
-- The files 020, 021 and 022 are the parts of a run. With psql they go together, and without rows
-- in these tables change nothing: psql -1 -f 020_... -f 021_... -f 022_...
-- Unlogged, as a crash of the server ends the run: but for the rows, which become a partition.
CREATE TABLE agent_roles_load_rows (
    agent_id BIGINT,
    role_id BIGINT,
    status TEXT,
    sync_day TEXT,
    source TEXT,
    ingested_at TIMESTAMP
);

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

CREATE UNLOGGED TABLE agent_roles_load_day (
    sync_day TEXT,
    day_no BIGINT,
    next_day TEXT,
    next_day_no BIGINT,
    digest TEXT,
    files BIGINT,
    content JSONB,
    observed_at TIMESTAMP,
    records BIGINT,
    raw_rows BIGINT,
    valid_pairs BIGINT,
    duplicates BIGINT,
    invalid_rows BIGINT,
    assigned BIGINT,
    removed BIGINT,
    loaded_at TIMESTAMP,
    run_id TEXT,
    accepted_reason TEXT,
    held_reason TEXT
);
