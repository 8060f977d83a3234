-- A JSON array of texts, for who reads the row; the table below is for who looks for one.
ALTER TABLE jobs ADD COLUMN tags TEXT;
CREATE TABLE tags (
    tag TEXT NOT NULL,
    job INTEGER NOT NULL,
    PRIMARY KEY (tag, job)
) STRICT, WITHOUT ROWID;

-- What ended badly. An index of what ended well would cost every job, and is not worth it.
CREATE INDEX jobs_dead ON jobs (state, queue, kind) WHERE state = 'discarded' OR state = 'cancelled';

-- How much of the work is done, and when that was said.
ALTER TABLE jobs ADD COLUMN progress REAL;
ALTER TABLE jobs ADD COLUMN progress_at INTEGER;

-- Rows that were asked to stop while they ran. Some may have ended since; those are taken away now and then.
CREATE TABLE stops (
    job INTEGER PRIMARY KEY
) STRICT;

-- Queues that nothing is leased from, and since when.
CREATE TABLE paused (
    queue TEXT PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE workers (
    id TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    -- A JSON array of texts.
    queues TEXT NOT NULL,
    slots INTEGER NOT NULL,
    running INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    last_beat INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE schedules (
    name TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    args ANY NOT NULL DEFAULT 'null',
    queue TEXT NOT NULL DEFAULT 'default',
    -- A JSON object: priority, max_attempts, timeout_ms, unique_key, unique_while_kept, headers, tags.
    options TEXT NOT NULL DEFAULT '{}',
    -- 'every 90s', or a cron expression and a time zone.
    schedule TEXT NOT NULL,
    overlap TEXT NOT NULL DEFAULT 'skip',
    catch_up TEXT NOT NULL DEFAULT 'none',
    paused_at INTEGER,
    created_at INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
    last_slot INTEGER,
    last_job BLOB
) STRICT, WITHOUT ROWID;

-- The key whose holder has to end first. Such a job has no `unique_key`, is due at 9223372036854775807, and after the holder
-- at `due_at`.
ALTER TABLE jobs ADD COLUMN after_key TEXT;
ALTER TABLE jobs ADD COLUMN due_at INTEGER;
CREATE UNIQUE INDEX jobs_after ON jobs (after_key) WHERE after_key IS NOT NULL;
