CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE DEFAULT (randomblob(16)),
    kind TEXT NOT NULL,
    -- JSON, as text or as bytes.
    args ANY NOT NULL DEFAULT 'null',
    queue TEXT NOT NULL DEFAULT 'default',
    priority INTEGER NOT NULL DEFAULT 5,
    -- Written out, since `IN` would build a table of the five for every row that is changed.
    state TEXT NOT NULL DEFAULT 'available' CHECK (state = 'completed' OR state = 'running' OR state = 'available'
        OR state = 'discarded' OR state = 'cancelled'),
    -- Instants are milliseconds since 1970. The default is one that old clients can evaluate.
    scheduled_at INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
    created_at INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
    attempt INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL DEFAULT 25,
    crashes INTEGER NOT NULL DEFAULT 0,
    fence INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER,
    worker TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    timeout_ms INTEGER,
    expires_at INTEGER,
    unique_key TEXT,
    -- 1: held until the job ends, 2: held as long as the row is there.
    unique_scope INTEGER,
    -- A JSON object of texts.
    headers TEXT,
    status INTEGER,
    output ANY,
    finished_at INTEGER
) STRICT;

-- What can be leased, in the order to do it. A job that has ended is in none of these.
CREATE INDEX jobs_ready ON jobs (queue, priority, scheduled_at, seq) WHERE state = 'available';
CREATE INDEX jobs_leases ON jobs (lease_until) WHERE state = 'running';
CREATE UNIQUE INDEX jobs_unique ON jobs (unique_key)
    WHERE unique_key IS NOT NULL AND (unique_scope = 2 OR state = 'available' OR state = 'running');

-- The attempts that did not go well.
CREATE TABLE attempts (
    job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    status INTEGER NOT NULL,
    message TEXT NOT NULL,
    backtrace TEXT,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX attempts_job ON attempts (job);
