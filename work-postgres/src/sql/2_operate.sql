-- What people look through and act on. Nothing here is in the way of a job without tags, progress or errors, but for one
-- index, by which lists are read. A job leaves it when it is leased: those that run are few, and found by their leases.

-- A JSON array of texts, for who reads the row; the table `tags` is for who looks for one.
ALTER TABLE work.jobs ADD COLUMN tags text, ADD COLUMN progress real, ADD COLUMN progress_at timestamptz;

ALTER TABLE work.history ADD COLUMN worker text, ADD COLUMN tags text, ADD COLUMN progress real,
    ADD COLUMN progress_at timestamptz;

CREATE INDEX jobs_waiting ON work.jobs (seq) WHERE state = 'available';

CREATE INDEX jobs_stops ON work.jobs (id) WHERE cancel_requested;

-- What ended badly. An index of what ended well would cost every job.
CREATE INDEX history_dead ON work.history (state, seq) WHERE state IN ('discarded', 'cancelled');

CREATE INDEX history_dead_of ON work.history (queue, state, seq) WHERE state IN ('discarded', 'cancelled');

CREATE INDEX history_dead_ended ON work.history (state, finished_at) WHERE state IN ('discarded', 'cancelled');

-- By the number of a job, which it keeps when it moves to `history` and back.
CREATE TABLE work.tags (
    tag text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (tag, seq)
);

CREATE INDEX tags_seq ON work.tags (seq);

-- Queues that nothing is leased from, and since when.
CREATE TABLE work.paused (
    queue text COLLATE "C" PRIMARY KEY,
    at timestamptz NOT NULL
);

CREATE TABLE work.workers (
    id text COLLATE "C" PRIMARY KEY,
    host text NOT NULL,
    pid bigint NOT NULL,
    version text NOT NULL,
    queues text[] NOT NULL,
    slots bigint NOT NULL,
    running bigint NOT NULL,
    started_at timestamptz NOT NULL,
    last_beat timestamptz NOT NULL
);

CREATE TABLE work.schedules (
    name text COLLATE "C" PRIMARY KEY,
    kind text NOT NULL,
    args bytea NOT NULL DEFAULT 'null',
    queue text NOT NULL DEFAULT 'default',
    -- A JSON object: priority, max_attempts, timeout_ms, unique_key, unique_while_kept, headers, tags.
    options text NOT NULL DEFAULT '{}',
    -- 'every 90s', or a cron expression and a time zone.
    schedule text COLLATE "C" NOT NULL,
    overlap text NOT NULL DEFAULT 'skip',
    catch_up text NOT NULL DEFAULT 'none',
    paused_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_slot timestamptz,
    last_job uuid
);

-- The key whose holder has to end first. Such a job has no `unique_key`, is due at infinity, and after the holder at `due_at`.
ALTER TABLE work.jobs ADD COLUMN after_key text COLLATE "C", ADD COLUMN due_at timestamptz;
CREATE UNIQUE INDEX jobs_after ON work.jobs (after_key) WHERE after_key IS NOT NULL;
