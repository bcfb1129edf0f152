-- Needs the load tables of 020, which says how to run it with psql.
-- Publish the loaded day: its staged rows, the next day's removals, and the changes of both, which
-- the mapping will follow. Runs after 021, in its transaction.

-- Who accepted what, in which run. The run stays if the record says the same already. The reason
-- itself follows below, with the rest of the day's record.
UPDATE agent_role_sync_days AS known
SET
    accepted_by = day.accepted_by,
    accepted_run = day.run_id,
    accepted_what = day.accepted_what
FROM agent_roles_load_day AS day
WHERE
    known.sync_day = day.sync_day
    AND day.accepted_reason IS NOT NULL
    AND (known.accepted_reason, known.accepted_by, known.accepted_what)
    IS DISTINCT FROM (day.accepted_reason, day.accepted_by, day.accepted_what);

-- The day is a variable, since PostgreSQL plans for no other day then.
DO $$
DECLARE
    day agent_roles_load_day%ROWTYPE;
BEGIN
    SELECT * INTO day FROM agent_roles_load_day;

    DELETE FROM stg_agent_roles AS staged
    USING agent_roles_load_delta AS delta
    WHERE
        staged.sync_day = day.sync_day
        AND staged.agent_id = delta.agent_id
        AND staged.role_id = delta.role_id
        AND delta.unstage AND NOT delta.is_next;

    -- Rows without an id match no pair. Only somebody else can have put them there.
    DELETE FROM stg_agent_roles AS staged
    WHERE
        staged.sync_day = day.sync_day
        AND (staged.agent_id IS NULL OR staged.role_id IS NULL)
        AND EXISTS (
            SELECT FROM agent_roles_load_delta AS delta
            WHERE delta.unstage AND (delta.agent_id IS NULL OR delta.role_id IS NULL)
        );

    DELETE FROM stg_agent_roles AS staged
    USING agent_roles_load_delta AS delta
    WHERE
        staged.sync_day = day.next_day
        AND staged.agent_id = delta.agent_id
        AND staged.role_id = delta.role_id
        AND staged.status = 'removed'
        AND delta.unstage AND delta.is_next;
END $$;

-- A new day gets the load table as its partition. A day that was staged before gets the new rows.
DO $$
DECLARE
    day agent_roles_load_day%ROWTYPE;
    part TEXT;
    place TEXT;
BEGIN
    SELECT * INTO day FROM agent_roles_load_day;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF agent_role_partition(day.sync_day) IS NOT NULL THEN
        INSERT INTO stg_agent_roles
        SELECT agent_id, role_id, 'assigned', day.sync_day, 'api', day.loaded_at
        FROM agent_roles_load_rows;
        RETURN;
    END IF;
    -- The rows that are there keep the default's value after it is dropped.
    EXECUTE format(
        'ALTER TABLE agent_roles_load_rows ADD COLUMN status TEXT DEFAULT ''assigned'','
        ' ADD COLUMN sync_day TEXT DEFAULT %L, ADD COLUMN source TEXT DEFAULT ''api'','
        ' ADD COLUMN ingested_at TIMESTAMP DEFAULT %L',
        day.sync_day, day.loaded_at
    );
    ALTER TABLE agent_roles_load_rows
    ALTER COLUMN status DROP DEFAULT,
    ALTER COLUMN sync_day DROP DEFAULT,
    ALTER COLUMN source DROP DEFAULT,
    ALTER COLUMN ingested_at DROP DEFAULT;
    part := 'stg_agent_roles_' || day.sync_day;
    SELECT known.relnamespace::REGNAMESPACE::TEXT INTO place FROM pg_class AS known
    WHERE known.oid = 'agent_roles_load_rows'::REGCLASS;
    -- Somebody detached the day and left its table here. It stays, under another name.
    IF to_regclass(format('%s.%I', place, part)) IS NOT NULL THEN
        EXECUTE format(
            'ALTER TABLE %s.%I RENAME TO %I',
            place, part, part || to_char(day.loaded_at, '"_detached_"YYYYMMDDHH24MISS')
        );
    END IF;
    EXECUTE format('ALTER TABLE agent_roles_load_rows RENAME TO %I', part);
    EXECUTE format(
        'ALTER TABLE stg_agent_roles ATTACH PARTITION %s.%I FOR VALUES IN (%L)',
        place, part, day.sync_day
    );
END $$;

INSERT INTO stg_agent_roles (agent_id, role_id, status, sync_day, source, ingested_at)
SELECT
    delta.agent_id,
    delta.role_id,
    'removed',
    CASE WHEN delta.is_next THEN day.next_day ELSE day.sync_day END,
    'api',
    day.loaded_at
FROM agent_roles_load_delta AS delta
CROSS JOIN agent_roles_load_day AS day
WHERE delta.stage;

-- The changes. In bulk, those that differ are deleted first, since without the indexes the rows can
-- only be inserted.
DO $$
DECLARE
    day agent_roles_load_day%ROWTYPE;
    is_bulk BOOLEAN;
BEGIN
    SELECT * INTO day FROM agent_roles_load_day;
    IF day.is_first THEN
        is_bulk := agent_role_is_bulk(day.assigned, 'agent_role_changes');
    ELSE
        SELECT agent_role_is_bulk(count(*), 'agent_role_changes') INTO is_bulk
        FROM agent_roles_load_delta WHERE is_changed AND change IS NOT NULL;
    END IF;

    DELETE FROM agent_role_changes AS known
    USING agent_roles_load_delta AS delta
    WHERE
        known.agent_id = delta.agent_id
        AND known.role_id = delta.role_id
        AND known.day_no = CASE WHEN delta.is_next THEN day.next_day_no ELSE day.day_no END
        AND delta.is_changed
        AND (is_bulk OR delta.change IS NULL);

    -- Only somebody else can have written changes of a day that is not staged.
    IF day.is_first THEN
        DELETE FROM agent_role_changes AS known WHERE known.day_no = day.day_no;
    END IF;

    IF is_bulk THEN
        is_bulk := agent_role_drop_change_indexes();
    END IF;

    IF is_bulk THEN
        INSERT INTO agent_role_changes (agent_id, role_id, day_no, change)
        SELECT agent_id, role_id, day.day_no, 'assigned'
        FROM stg_agent_roles WHERE day.is_first AND sync_day = day.sync_day
        UNION ALL
        SELECT
            agent_id,
            role_id,
            CASE WHEN is_next THEN day.next_day_no ELSE day.day_no END,
            change
        FROM agent_roles_load_delta WHERE is_changed AND change IS NOT NULL;
        SET CONSTRAINTS agent_role_build_change_indexes IMMEDIATE;
        RETURN;
    END IF;

    INSERT INTO agent_role_changes AS known (agent_id, role_id, day_no, change)
    SELECT changed.agent_id, changed.role_id, changed.day_no, changed.change FROM (
        SELECT agent_id, role_id, day.day_no, 'assigned' AS change
        FROM stg_agent_roles WHERE day.is_first AND sync_day = day.sync_day
        UNION ALL
        SELECT
            agent_id,
            role_id,
            CASE WHEN is_next THEN day.next_day_no ELSE day.day_no END,
            change
        FROM agent_roles_load_delta WHERE is_changed AND change IS NOT NULL
    ) AS changed
    -- In the order of the key, so that its index is written page by page.
    ORDER BY changed.agent_id, changed.role_id
    ON CONFLICT (agent_id, role_id, day_no) DO UPDATE SET change = excluded.change
    WHERE known.change <> excluded.change;
END $$;

-- The mapping must follow all changes of a new day. The same goes for a day that was read at
-- another time, as each assignment that began or ended on it has that time.
INSERT INTO agent_role_pending (day_no)
SELECT day.day_no
FROM agent_roles_load_day AS day
WHERE NOT EXISTS (
    SELECT FROM agent_role_sync_days AS known
    WHERE
        known.sync_day = day.sync_day
        AND known.staged_at IS NOT NULL
        AND known.observed_at = day.observed_at
);

-- It must also follow each pair that changed, unless the pair is one of the day's changes and the
-- day is pending.
INSERT INTO agent_role_pending (agent_id, role_id)
SELECT
    delta.agent_id,
    delta.role_id
FROM agent_roles_load_delta AS delta
WHERE
    delta.is_changed
    AND delta.agent_id IS NOT NULL
    AND delta.role_id IS NOT NULL
    AND NOT EXISTS (
        SELECT FROM agent_role_changes AS known
        WHERE
            known.agent_id = delta.agent_id
            AND known.role_id = delta.role_id
            AND known.day_no = (
                SELECT max(pending.day_no) FROM agent_role_pending AS pending
                WHERE pending.day_no = (SELECT day.day_no FROM agent_roles_load_day AS day)
            )
    );

-- The day's record, unless it says the same already. With the same dump, counts differ if somebody
-- changed them, or if the rules of validation changed.
DO $$
DECLARE
    day agent_roles_load_day%ROWTYPE;
    known agent_role_sync_days%ROWTYPE;
    staged agent_role_sync_days%ROWTYPE;
BEGIN
    SELECT * INTO day FROM agent_roles_load_day;
    SELECT * INTO known FROM agent_role_sync_days WHERE sync_day = day.sync_day FOR UPDATE;
    staged := jsonb_populate_record(known, jsonb_strip_nulls(to_jsonb(day)));
    IF NOT FOUND OR (known.staged_at IS NOT NULL AND staged IS NOT DISTINCT FROM known) THEN
        RETURN;
    END IF;
    staged.staged_at := day.loaded_at;
    staged.staged_by := day.run_id;
    -- The newest acceptance counts. A run that needed none clears an earlier one.
    staged.accepted_reason := day.accepted_reason;
    staged.applied_at := NULL;
    staged.applied_by := NULL;
    DELETE FROM agent_role_sync_days WHERE sync_day = day.sync_day;
    INSERT INTO agent_role_sync_days SELECT staged.*;
END $$;

-- Without a reason, nothing was accepted.
UPDATE agent_role_sync_days AS known
SET accepted_by = NULL, accepted_run = NULL, accepted_what = NULL
FROM agent_roles_load_day AS day
WHERE
    known.sync_day = day.sync_day
    AND known.accepted_reason IS NULL
    AND known.accepted_run IS NOT NULL;

-- The next day's own record of its removals follows.
UPDATE agent_role_sync_days AS next_day
SET
    removed = next_day.removed + change.removals,
    fingerprint = next_day.fingerprint + change.fingerprint
FROM agent_roles_load_day AS day
CROSS JOIN (
    SELECT
        count(*) FILTER (WHERE stage) - count(*) FILTER (WHERE unstage) AS removals,
        coalesce(sum(agent_role_pair_hash(agent_id, role_id)) FILTER (WHERE stage), 0)
        - coalesce(sum(agent_role_pair_hash(agent_id, role_id)) FILTER (WHERE unstage), 0)
            AS fingerprint
    FROM agent_roles_load_delta
    WHERE is_next
) AS change
WHERE next_day.sync_day = day.next_day AND (change.removals, change.fingerprint) <> (0, 0);
