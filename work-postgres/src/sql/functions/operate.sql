-- Cancels jobs, and answers for each: 0 cancelled, 1 asked to stop, 2 over already, 3 not known.
CREATE OR REPLACE FUNCTION work.cancel(_ids uuid[], _now timestamptz) RETURNS TABLE (id uuid, answer integer) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    _t timestamptz := coalesce(_now, clock_timestamp());
    _id uuid;
    _state text;
BEGIN
    FOREACH _id IN ARRAY _ids LOOP
        -- A job that moves between the two tables while we look is found by the next look.
        FOR _try IN 1..5 LOOP
            SELECT state INTO _state FROM work.jobs j WHERE j.id = _id FOR UPDATE;
            IF _state IS NULL THEN
                SELECT state INTO _state FROM work.history h WHERE h.id = _id LIMIT 1;
            END IF;
            EXIT WHEN _state IS NOT NULL OR NOT EXISTS (
                SELECT FROM work.jobs j WHERE j.id = _id UNION ALL SELECT FROM work.history h WHERE h.id = _id);
        END LOOP;
        id := _id;
        answer := CASE _state WHEN 'available' THEN 0 WHEN 'running' THEN 1 ELSE 2 END;
        IF _state IS NULL THEN
            answer := 3;
        ELSIF _state = 'available' THEN
            PERFORM work.finish(ARRAY[_id], 'cancelled', 499::smallint, _t);
        ELSIF _state = 'running' THEN
            UPDATE work.jobs j SET cancel_requested = true WHERE j.id = _id AND NOT j.cancel_requested;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;

-- Makes a dead letter or a cancelled job available again, and answers its queue, or nothing. Another job may hold its
-- unique key by now; then it stays where it is.
CREATE OR REPLACE FUNCTION work.retry(_id uuid, _most integer, _now timestamptz) RETURNS SETOF text LANGUAGE sql
SET enable_seqscan = off SET jit = off
AS $$
    WITH dead AS MATERIALIZED (
        SELECT * FROM work.history WHERE id = _id AND state IN ('discarded', 'cancelled') LIMIT 1 FOR UPDATE
    ), back AS (
        INSERT INTO work.jobs (seq, scheduled_at, created_at, fence, id, attempt, max_attempts, priority, unique_scope,
            status, queue, kind, expires_at, timeout_ms, unique_key, headers, args, worker, tags)
        SELECT seq, coalesce(_now, clock_timestamp()), created_at, fence, id, least(attempt, _most - 1),
            least(greatest(max_attempts, least(attempt, _most - 1) + 1), _most),
            least(greatest(priority, 0), 9), unique_scope,
            status, queue, kind, expires_at, timeout_ms, unique_key, headers, args, worker, tags
        FROM dead
        ON CONFLICT DO NOTHING RETURNING id, queue
    ), gone AS (
        DELETE FROM work.history h USING back WHERE h.id = back.id AND h.state IN ('discarded', 'cancelled')
    )
    SELECT queue FROM back
$$;

-- Makes a job that waits due now, and answers its queue. One that waits for the holder of its key is due when that has ended.
CREATE OR REPLACE FUNCTION work.run_now(_id uuid, _now timestamptz) RETURNS SETOF text LANGUAGE sql
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
    UPDATE work.jobs SET due_at = CASE WHEN due_at IS NOT NULL THEN least(due_at, coalesce(_now, clock_timestamp())) END,
        scheduled_at = CASE WHEN after_key IS NULL THEN least(scheduled_at, coalesce(_now, clock_timestamp()))
            ELSE scheduled_at END
    WHERE id = _id AND state = 'available' RETURNING queue
$$;

-- Gives a job that does not run other arguments, and answers whether it did.
CREATE OR REPLACE FUNCTION work.edit(_id uuid, _args bytea) RETURNS boolean LANGUAGE plpgsql
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
CREATE OR REPLACE FUNCTION work.delete(_ids uuid[]) RETURNS TABLE (id uuid, answer integer) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    _id uuid;
    _state text;
    _seq bigint;
    _key text;
    _seqs bigint[] := '{}';
    _gone uuid[] := '{}';
BEGIN
    FOREACH _id IN ARRAY _ids LOOP
        answer := 2;
        FOR _try IN 1..3 LOOP
            SELECT j.state, j.seq INTO _state, _seq FROM work.jobs j WHERE j.id = _id FOR UPDATE;
            IF _state = 'available' THEN
                DELETE FROM work.jobs j WHERE j.id = _id RETURNING j.unique_key INTO _key;
                IF _key IS NOT NULL THEN
                    PERFORM work.go_on(ARRAY[_key]);
                END IF;
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

-- Forgets what is known of jobs beside their rows.
CREATE OR REPLACE FUNCTION work.forget(_ids uuid[], _seqs bigint[]) RETURNS void LANGUAGE plpgsql
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
CREATE OR REPLACE FUNCTION work.prune(
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
                AND NOT EXISTS (SELECT FROM work.kept k WHERE starts_with(h.queue, k.prefix))
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
        SELECT h.ctid AS at, h.seq, h.created_at, h.state = 'completed' AND h.finished_at < _completed
            AND NOT EXISTS (SELECT FROM work.kept k WHERE starts_with(h.queue, k.prefix)) AS old
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

-- Keeps a schedule by its name. One whose times are others begins anew. The right side of `SET` sees the row as it was.
CREATE OR REPLACE FUNCTION work.put_schedule(
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
CREATE OR REPLACE FUNCTION work.pass(_name text, _planned_after timestamptz, _slot timestamptz)
RETURNS TABLE (overlap text, last_job uuid, goes_on boolean) LANGUAGE sql
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
    UPDATE work.schedules s SET last_slot = _slot
    WHERE s.name = _name AND s.last_slot IS NOT DISTINCT FROM _planned_after AND s.paused_at IS NULL
    RETURNING s.overlap, s.last_job, EXISTS (SELECT FROM work.jobs j WHERE j.id = s.last_job)
$$;

-- Every job, for people to look at. Those that wait and those that run apart, since each have an index.
CREATE OR REPLACE VIEW work.all_jobs AS
    SELECT seq, id, state, queue, kind, priority, coalesce(due_at, scheduled_at) AS scheduled_at, created_at,
        NULL::timestamptz AS finished_at, attempt, max_attempts, crashes, status, worker, lease_until, cancel_requested,
        progress, progress_at, fence, timeout_ms, expires_at, coalesce(unique_key, after_key) AS unique_key, unique_scope,
        headers, tags, args, NULL::bytea AS output
    FROM work.jobs WHERE state = 'available'
    UNION ALL
    SELECT seq, id, state, queue, kind, priority, scheduled_at, created_at, NULL, attempt,
        max_attempts, crashes, status, worker, lease_until, cancel_requested, progress, progress_at, fence, timeout_ms,
        expires_at, unique_key, unique_scope, headers, tags, args, NULL
    FROM work.jobs WHERE state = 'running'
    UNION ALL
    SELECT seq, id, state, queue, kind, priority, scheduled_at, created_at, finished_at, attempt,
        max_attempts, crashes, status, worker, NULL, false, progress, progress_at, fence, timeout_ms,
        expires_at, unique_key, unique_scope, headers, tags, args, output
    FROM work.history;

-- Keeps a limit for a queue that has none, and answers the one that stands.
CREATE OR REPLACE FUNCTION work.declare_limit(_queue text, _at_most integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    _stands integer;
BEGIN
    -- Somebody may take it away in between.
    FOR _try IN 1..3 LOOP
        INSERT INTO work.limits (queue, at_most) VALUES (_queue, _at_most) ON CONFLICT DO NOTHING;
        SELECT l.at_most INTO _stands FROM work.limits l WHERE l.queue = _queue;
        EXIT WHEN FOUND;
    END LOOP;
    RETURN coalesce(_stands, _at_most);
END $$;

-- Sets the limit of a queue, or takes it away, and answers the one before.
CREATE OR REPLACE FUNCTION work.limit_queue(_queue text, _at_most integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    _before integer;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(work_channel || ':' || _queue, 0));
    SELECT l.at_most INTO _before FROM work.limits l WHERE l.queue = _queue;
    DELETE FROM work.limits l WHERE work.is_key_of(l.queue, _queue);
    IF _at_most IS NULL THEN
        DELETE FROM work.limits l WHERE l.queue = _queue;
    ELSE
        INSERT INTO work.limits (queue, at_most) VALUES (_queue, _at_most)
        ON CONFLICT (queue) DO UPDATE SET at_most = excluded.at_most;
    END IF;
    RETURN _before;
END $$;
