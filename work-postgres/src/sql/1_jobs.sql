-- Read with the name of the schema instead of `work`.

-- A UUID of version 7: ids sort by the time they were made.
CREATE FUNCTION work.new_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
        PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
        52, 1), 53, 1), 'hex')::uuid
$$;

CREATE SEQUENCE work.arrivals;

-- Jobs that wait or run, and nothing else: what is over moves to `history`, so that this stays small.
CREATE TABLE work.jobs (
    seq bigint NOT NULL DEFAULT nextval('work.arrivals'),
    scheduled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    fence bigint NOT NULL DEFAULT 0,
    id uuid NOT NULL DEFAULT work.new_id() PRIMARY KEY,
    attempt integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL DEFAULT 25,
    crashes integer NOT NULL DEFAULT 0,
    priority smallint NOT NULL DEFAULT 5 CHECK (priority BETWEEN 0 AND 9),
    unique_scope smallint,
    status smallint,
    cancel_requested boolean NOT NULL DEFAULT false,
    state text COLLATE "C" NOT NULL DEFAULT 'available' CHECK (state IN ('available', 'running')),
    queue text COLLATE "C" NOT NULL DEFAULT 'default',
    kind text COLLATE "C" NOT NULL,
    lease_until timestamptz,
    expires_at timestamptz,
    timeout_ms bigint,
    unique_key text COLLATE "C",
    worker text,
    headers text,
    args bytea NOT NULL DEFAULT 'null',
    CONSTRAINT jobs_lease CHECK ((state = 'running') = (lease_until IS NOT NULL))
) WITH (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 2000
);

ALTER SEQUENCE work.arrivals OWNED BY work.jobs.seq;

CREATE INDEX jobs_ready ON work.jobs (queue, priority, scheduled_at, seq) WHERE state = 'available';

CREATE INDEX jobs_leases ON work.jobs (lease_until) WHERE state = 'running';

CREATE UNIQUE INDEX jobs_unique ON work.jobs (unique_key) WHERE unique_key IS NOT NULL;

-- Jobs that are over. None of its indexes is unique: whatever somebody wrote by hand, a job can always end.
CREATE TABLE work.history (
    seq bigint NOT NULL,
    scheduled_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    fence bigint NOT NULL,
    id uuid NOT NULL,
    attempt integer NOT NULL,
    max_attempts integer NOT NULL,
    crashes integer NOT NULL,
    priority smallint NOT NULL,
    unique_scope smallint,
    status smallint,
    state text COLLATE "C" NOT NULL CHECK (state IN ('completed', 'discarded', 'cancelled')),
    queue text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    expires_at timestamptz,
    timeout_ms bigint,
    unique_key text COLLATE "C",
    headers text,
    args bytea NOT NULL,
    output bytea
);

CREATE INDEX history_id ON work.history (id);

CREATE INDEX history_seq ON work.history (seq);

CREATE INDEX history_unique ON work.history (unique_key) WHERE unique_scope = 2;

-- Attempts that did not go well.
CREATE TABLE work.attempts (
    n bigint GENERATED ALWAYS AS IDENTITY,
    job uuid NOT NULL,
    attempt integer NOT NULL,
    status smallint NOT NULL,
    message text NOT NULL,
    backtrace text,
    at timestamptz NOT NULL
);

CREATE INDEX attempts_job ON work.attempts (job, n);
