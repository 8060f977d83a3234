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

-- Running jobs that were asked to stop.
CREATE FUNCTION work.stop_requests() RETURNS TABLE (seq bigint, id uuid, fence bigint) LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
    SELECT seq, id, fence FROM work.jobs WHERE cancel_requested AND state = 'running'
$$;

-- Notes the progress of leases that are current.
CREATE FUNCTION work.set_progress(_ids uuid[], _fences bigint[], _done real[], _now timestamptz) RETURNS void
LANGUAGE sql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
    UPDATE work.jobs j SET progress = d.done, progress_at = coalesce(_now, clock_timestamp())
    FROM unnest(_ids, _fences, _done) AS d (id, fence, done)
    WHERE j.id = d.id AND j.fence = d.fence AND j.lease_until IS NOT NULL
$$;

-- Notes that a worker lives, and forgets those that were heard of before `_gone_us` ago.
CREATE FUNCTION work.beat(
    _id text, _host text, _pid bigint, _version text, _queues text[], _slots bigint, _running bigint, _gone_us bigint,
    _now timestamptz
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    _t timestamptz := coalesce(_now, clock_timestamp());
BEGIN
    INSERT INTO work.workers (id, host, pid, version, queues, slots, running, started_at, last_beat)
    VALUES (_id, _host, _pid, _version, _queues, _slots, _running, _t, _t)
    ON CONFLICT (id) DO UPDATE SET host = excluded.host, pid = excluded.pid, version = excluded.version,
        queues = excluded.queues, slots = excluded.slots, running = excluded.running, last_beat = excluded.last_beat;
    -- Who is being forgotten by somebody else, or beats just now, is left alone: nobody waits here.
    DELETE FROM work.workers w USING (
        SELECT o.id FROM work.workers o WHERE o.last_beat < _t - _gone_us * interval '1 microsecond'
        FOR UPDATE SKIP LOCKED
    ) AS gone WHERE w.id = gone.id;
END $$;

-- Forgets what is known of jobs beside their rows.
CREATE FUNCTION work.forget(_ids uuid[], _seqs bigint[]) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
BEGIN
    DELETE FROM work.attempts a USING unnest(_ids) AS d (id) WHERE a.job = d.id;
    DELETE FROM work.tags t USING unnest(_seqs) AS d (seq) WHERE t.seq = d.seq;
END $$;

-- Forgets jobs that ended before these instants; null is never. Those that ended badly are found by an index, the others
-- by their number: some rows from `_after` on, until all of them are too young, since nothing that was accepted later can
-- have ended before it. Answers how many, and where to go on if there may be more.
CREATE FUNCTION work.prune(
    _after bigint, _limit integer, _completed timestamptz, _discarded timestamptz, _cancelled timestamptz,
    OUT forgotten integer, OUT next bigint
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    _rows CONSTANT integer := 2000;
    _ids uuid[];
    _seqs bigint[];
    _read integer;
    _last bigint;
    _young boolean;
BEGIN
    WITH old AS MATERIALIZED (
        SELECT d.at FROM (VALUES ('discarded', _discarded), ('cancelled', _cancelled)) AS s (state, before)
        CROSS JOIN LATERAL (
            SELECT h.ctid AS at FROM work.history h
            WHERE h.state IN ('discarded', 'cancelled') AND h.state = s.state AND h.finished_at < s.before
            ORDER BY h.finished_at LIMIT _limit FOR UPDATE SKIP LOCKED
        ) AS d LIMIT _limit
    ), gone AS (
        DELETE FROM work.history h USING old WHERE h.ctid = old.at RETURNING h.id, h.seq
    )
    SELECT count(*), array_agg(g.id), array_agg(g.seq) INTO forgotten, _ids, _seqs FROM gone g;
    PERFORM work.forget(_ids, _seqs);
    next := _after;
    IF forgotten >= _limit THEN
        RETURN;
    END IF;
    IF _completed IS NULL THEN
        next := NULL;
        RETURN;
    END IF;
    WITH looked AS MATERIALIZED (
        SELECT h.ctid AS at, h.seq, h.created_at, h.state = 'completed' AND h.finished_at < _completed AS old
        FROM work.history h WHERE h.seq > _after ORDER BY h.seq LIMIT _rows
    ), old AS MATERIALIZED (
        SELECT l.at, l.seq FROM looked l WHERE l.old ORDER BY l.seq LIMIT _limit - forgotten
    ), gone AS (
        DELETE FROM work.history h USING old WHERE h.ctid = old.at AND h.state = 'completed' RETURNING h.id, h.seq
    )
    SELECT (SELECT count(*) FROM looked), (SELECT min(l.created_at) >= _completed FROM looked l),
        CASE WHEN (SELECT count(*) FROM old) = _limit - forgotten THEN (SELECT max(o.seq) FROM old o)
            ELSE (SELECT max(l.seq) FROM looked l) END,
        array_agg(g.id), array_agg(g.seq)
    INTO _read, _young, _last, _ids, _seqs FROM gone g;
    PERFORM work.forget(_ids, _seqs);
    forgotten := forgotten + coalesce(cardinality(_ids), 0);
    next := CASE WHEN forgotten >= _limit OR (_read = _rows AND NOT _young) THEN _last END;
END $$;

-- Makes a job that waits due now, and answers its queue.
CREATE FUNCTION work.run_now(_id uuid, _now timestamptz) RETURNS SETOF text LANGUAGE sql
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
    UPDATE work.jobs SET scheduled_at = least(scheduled_at, coalesce(_now, clock_timestamp()))
    WHERE id = _id AND state = 'available' RETURNING queue
$$;

-- Gives a job that does not run other arguments, and answers whether it did.
CREATE FUNCTION work.edit(_id uuid, _args bytea) RETURNS boolean LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
BEGIN
    -- A job that moves between the two tables while we look is found by the next look.
    FOR _try IN 1..3 LOOP
        UPDATE work.jobs SET args = _args WHERE id = _id AND state = 'available';
        IF FOUND THEN
            RETURN true;
        END IF;
        UPDATE work.history SET args = _args WHERE id = _id;
        IF FOUND THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END $$;

-- Forgets jobs that do not run, and answers for each: 0 deleted, 1 it runs, 2 not known.
CREATE FUNCTION work.delete(_ids uuid[]) RETURNS TABLE (id uuid, answer integer) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    _id uuid;
    _state text;
    _seq bigint;
    _seqs bigint[] := '{}';
    _gone uuid[] := '{}';
BEGIN
    FOREACH _id IN ARRAY _ids LOOP
        answer := 2;
        FOR _try IN 1..3 LOOP
            SELECT j.state, j.seq INTO _state, _seq FROM work.jobs j WHERE j.id = _id FOR UPDATE;
            IF _state = 'available' THEN
                DELETE FROM work.jobs j WHERE j.id = _id;
                answer := 0;
            ELSIF _state = 'running' THEN
                answer := 1;
            ELSE
                DELETE FROM work.history h WHERE h.id = _id RETURNING h.seq INTO _seq;
                IF FOUND THEN
                    answer := 0;
                END IF;
            END IF;
            EXIT WHEN answer < 2;
        END LOOP;
        IF answer = 0 THEN
            _gone := _gone || _id;
            _seqs := _seqs || _seq;
        END IF;
        id := _id;
        RETURN NEXT;
    END LOOP;
    PERFORM work.forget(_gone, _seqs);
END $$;

-- Keeps a schedule by its name. One whose times are others begins anew. The right side of `SET` sees the row as it was.
CREATE FUNCTION work.put_schedule(
    _name text, _kind text, _args bytea, _queue text, _options text, _schedule text, _overlap text, _catch_up text,
    _now timestamptz
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO work.schedules AS s (name, kind, args, queue, options, schedule, overlap, catch_up, created_at)
    VALUES (_name, _kind, _args, _queue, _options, _schedule, _overlap, _catch_up, coalesce(_now, clock_timestamp()))
    ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, args = excluded.args, queue = excluded.queue,
        options = excluded.options, overlap = excluded.overlap, catch_up = excluded.catch_up,
        created_at = CASE WHEN s.schedule = excluded.schedule THEN s.created_at ELSE excluded.created_at END,
        last_slot = CASE WHEN s.schedule = excluded.schedule THEN s.last_slot END, schedule = excluded.schedule
$$;

-- Passes to another slot, unless somebody else was first, and holds the row until the end of the transaction. Answers what
-- to do if the job before goes on, that job, and whether it does.
CREATE FUNCTION work.pass(_name text, _planned_after timestamptz, _slot timestamptz)
RETURNS TABLE (overlap text, last_job uuid, goes_on boolean) LANGUAGE sql
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
    UPDATE work.schedules s SET last_slot = _slot
    WHERE s.name = _name AND s.last_slot IS NOT DISTINCT FROM _planned_after AND s.paused_at IS NULL
    RETURNING s.overlap, s.last_job, EXISTS (SELECT FROM work.jobs j WHERE j.id = s.last_job)
$$;
