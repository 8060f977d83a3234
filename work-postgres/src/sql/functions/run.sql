-- All of these files are applied after every migration. A migration that changes what a function takes or answers drops it.

-- The functions are planned once for a connection, which is most of what a small call costs. So they forbid the plans that
-- are only good while the table is small: tables grow faster than their statistics. Who looks for the rows of leases asks
-- for `lease_until IS NOT NULL`, which is the same as running, but leads no planner to the index of all that run.

-- Takes jobs that are due from queues that are not paused, turn by turn and priority by priority, and no more than
-- `_at_most` in each turn. In the floor's queue and priority it looks from the floor on, and at what is below only if there is
-- room left. With `_aging_us`, a job counts as due so much later for each number of its priority, and the priorities are
-- merged by that. After the jobs come rows that are none: one for each queue with a limit, which has a queue and no id;
-- and if fewer were found than wanted, one with the time at which the next job is due.
CREATE OR REPLACE FUNCTION work.lease(
    _queues text[], _limit integer, _lease_us bigint, _worker text, _max_args integer, _now timestamptz,
    _floor_queue text, _floor_priority integer, _floor_at timestamptz, _floor_seq bigint, _at_most integer[],
    _aging_us bigint
) RETURNS TABLE (
    seq bigint, id uuid, kind text, args bytea, queue text, priority smallint, scheduled_at timestamptz,
    created_at timestamptz, attempt integer, max_attempts integer, fence bigint, timeout_ms bigint,
    expires_at timestamptz, unique_key text, unique_scope smallint, headers text, tags text,
    args_size integer, lease_until timestamptz, expired boolean
) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    _t timestamptz := coalesce(_now, clock_timestamp());
    _until timestamptz := _t + _lease_us * interval '1 microsecond';
    _step interval := _aging_us * interval '1 microsecond';
    _left integer := _limit;
    _paused text[];
    _limited text[];
    _room integer[];
    _rated text[];
    _bucket_of text[];
    _buckets text[];
    _permits integer[];
    _next_permits bigint[];
    _taken integer[];
    _ns bigint;
    _rate record;
    _bucket integer;
    _permit_at bigint;
    _queue text;
    _of integer;
    _share integer;
    _reach bigint;
    _cut timestamptz;
    _found integer;
BEGIN
    IF EXISTS (SELECT FROM work.paused) THEN
        _paused := ARRAY(SELECT p.queue FROM work.paused p);
    END IF;
    IF EXISTS (SELECT FROM work.limits) THEN
        -- Who leases from such a queue waits for whoever does so now; in the order of names, so that no two wait for each
        -- other.
        FOR _queue IN SELECT l.queue FROM work.limits l WHERE l.queue = ANY (_queues) ORDER BY l.queue LOOP
            PERFORM pg_advisory_xact_lock(hashtextextended(work_channel || ':' || _queue, 0));
            _limited := _limited || _queue;
        END LOOP;
        -- A statement of its own: it sees what those before us have leased.
        SELECT array_agg(l.queue), array_agg(greatest(0, l.at_most - (
            SELECT count(*) FROM work.jobs j WHERE j.state = 'running' AND j.queue = l.queue)))
        INTO _limited, _room FROM work.limits l WHERE l.queue = ANY (_limited);
    END IF;
    IF EXISTS (SELECT FROM work.rates) THEN
        -- The same, for what was taken of their rates.
        FOR _queue IN SELECT DISTINCT coalesce(r.name, '=' || r.queue) AS bucket FROM work.rates r
            WHERE r.queue = ANY (_queues) ORDER BY bucket LOOP
            PERFORM pg_advisory_xact_lock(hashtextextended(work_channel || ':=' || _queue, 0));
        END LOOP;
        -- The time after all have waited: what those before us took is not in its future.
        _t := coalesce(_now, clock_timestamp());
        _until := _t + _lease_us * interval '1 microsecond';
        _ns := (extract(epoch FROM _t) * 1000000)::bigint * 1000;
        FOR _rate IN SELECT r.*, coalesce(r.name, '=' || r.queue) AS bucket, p.room, p.next_at
            FROM work.rates r LEFT JOIN work.permits t ON t.bucket = coalesce(r.name, '=' || r.queue)
            CROSS JOIN LATERAL work.permits_left(r.shape, r.count, r.per_ns, r.burst, coalesce(t.at, 0),
                coalesce(t.used, 0), coalesce(t.log_at, '{}'), coalesce(t.log_used, '{}'), _ns) AS p
            WHERE r.queue = ANY (_queues) LOOP
            _rated := _rated || _rate.queue;
            _bucket_of := _bucket_of || _rate.bucket;
            IF array_position(_buckets, _rate.bucket) IS NULL THEN
                _buckets := _buckets || _rate.bucket;
                _permits := _permits || _rate.room;
                _next_permits := _next_permits || _rate.next_at;
                _taken := _taken || 0;
            END IF;
        END LOOP;
    END IF;
    LOOP
        FOR _n IN 1 .. coalesce(cardinality(_queues), 0) LOOP
            EXIT WHEN _left <= 0;
            _queue := _queues[_n];
            CONTINUE WHEN _queue = ANY (_paused);
            _of := array_position(_limited, _queue);
            _bucket := array_position(_buckets, _bucket_of[array_position(_rated, _queue)]);
            -- What is null is no limit.
            _share := least(_left, _at_most[_n], _room[_of], _permits[_bucket]);
            _reach := _share;
            LOOP
                EXIT WHEN _share <= 0;
                IF _step IS NOT NULL THEN
                    -- The last one of as many as are wanted. Others may hold some of them: then further, in long strides.
                    _cut := NULL;
                    SELECT d.at INTO _cut FROM (
                        SELECT level.scheduled_at + p * _step AS at FROM generate_series(0, 9) AS p CROSS JOIN LATERAL (
                            SELECT scheduled_at FROM work.jobs
                            WHERE state = 'available' AND queue = _queue AND priority = p AND scheduled_at <= _t
                            ORDER BY scheduled_at, seq LIMIT _reach
                        ) AS level
                    ) AS d ORDER BY d.at OFFSET _reach - 1 LIMIT 1;
                    -- So that what is before it is an instant too.
                    _cut := greatest(_cut, CASE WHEN _cut IS NOT NULL THEN timestamptz '1970-01-01 00:00:00Z' END);
                END IF;
                RETURN QUERY WITH due AS MATERIALIZED (
                    -- One look into the index for each priority: a million jobs that are due later cost nothing.
                    SELECT level.at FROM generate_series(0, 9) AS p CROSS JOIN LATERAL (
                        SELECT ctid AS at FROM work.jobs
                        WHERE state = 'available' AND queue = _queue AND priority = p
                            AND scheduled_at <= least(_t, _cut - p * _step)
                            AND (scheduled_at, seq) >= (
                                CASE WHEN _queue = _floor_queue AND p = _floor_priority THEN _floor_at
                                    ELSE '-infinity' END,
                                CASE WHEN _queue = _floor_queue AND p = _floor_priority THEN _floor_seq
                                    ELSE -9223372036854775808 END)
                        ORDER BY scheduled_at, seq LIMIT _share FOR UPDATE SKIP LOCKED
                    ) AS level LIMIT _share
                )
                UPDATE work.jobs j SET state = 'running', lease_until = _until, worker = _worker,
                    -- `least`, since an overflow would be refused, and with it every job beside this one.
                    attempt = least(j.attempt, 2147483646) + 1, fence = least(j.fence, 9223372036854775806) + 1
                FROM due WHERE j.ctid = due.at
                RETURNING j.seq, j.id, left(j.kind, 100),
                    -- What is too large is a dead letter that is never sent.
                    CASE WHEN octet_length(j.args) <= _max_args THEN j.args END,
                    j.queue, j.priority, j.scheduled_at, j.created_at, j.attempt, j.max_attempts, j.fence, j.timeout_ms,
                    j.expires_at, left(j.unique_key, 1000), j.unique_scope,
                    CASE WHEN octet_length(j.headers) <= 67108864 THEN j.headers END,
                    CASE WHEN octet_length(j.tags) <= 1048576 THEN j.tags END,
                    octet_length(j.args), j.lease_until, j.expires_at <= _t;
                GET DIAGNOSTICS _found = ROW_COUNT;
                _left := _left - _found;
                _share := _share - _found;
                _at_most[_n] := _at_most[_n] - _found;
                IF _of IS NOT NULL THEN
                    _room[_of] := _room[_of] - _found;
                END IF;
                IF _bucket IS NOT NULL THEN
                    _permits[_bucket] := _permits[_bucket] - _found;
                    _taken[_bucket] := _taken[_bucket] + _found;
                END IF;
                EXIT WHEN _cut IS NULL;
                _reach := _reach * 4;
            END LOOP;
        END LOOP;
        EXIT WHEN _left <= 0 OR _floor_queue IS NULL;
        _floor_queue := NULL;
    END LOOP;
    FOR _n IN 1 .. coalesce(cardinality(_buckets), 0) LOOP
        SELECT r.* INTO _rate FROM work.rates r
        WHERE r.queue = _rated[array_position(_bucket_of, _buckets[_n])];
        IF _taken[_n] > 0 THEN
            PERFORM work.take_permits(_buckets[_n], _rate.shape, _rate.count, _rate.per_ns, _rate.burst, _taken[_n], _ns);
            SELECT p.next_at INTO _permit_at FROM work.permits t CROSS JOIN LATERAL work.permits_left(_rate.shape,
                _rate.count, _rate.per_ns, _rate.burst, t.at, t.used, t.log_at, t.log_used, _ns) AS p
            WHERE t.bucket = _buckets[_n];
            _next_permits[_n] := _permit_at;
        END IF;
    END LOOP;
    lease_until := _t;
    FOREACH queue IN ARRAY coalesce(_limited, '{}') LOOP
        RETURN NEXT;
    END LOOP;
    queue := NULL;
    IF _left > 0 THEN
        -- Who waits for a holder that is gone, but was being joined or inserted when that ended.
        IF EXISTS (SELECT FROM work.jobs j WHERE j.after_key IS NOT NULL) AND EXISTS (SELECT FROM work.go_on(NULL)) THEN
            scheduled_at := _t;
            RETURN NEXT;
            RETURN;
        END IF;
        -- What is due already is being taken by somebody else, or has to wait until there is room.
        SELECT min(next.at) INTO scheduled_at FROM unnest(_queues) AS q CROSS JOIN generate_series(0, 9) AS p
        CROSS JOIN LATERAL (
            SELECT j.scheduled_at AS at FROM work.jobs j
            WHERE j.state = 'available' AND j.queue = q AND j.priority = p AND j.scheduled_at > _t
            ORDER BY j.scheduled_at, j.seq LIMIT 1
        ) AS next
        WHERE _paused IS NULL OR q <> ALL (_paused);
        IF 0 >= ANY (_permits) THEN
            -- What is due and has no permit.
            SELECT least(scheduled_at, to_timestamp(min(_next_permits[b.n]) / 1000000000.0)) INTO scheduled_at
            FROM unnest(_rated, _bucket_of) AS r (queue, bucket)
            CROSS JOIN LATERAL (SELECT array_position(_buckets, r.bucket) AS n) AS b
            WHERE _permits[b.n] <= 0 AND (_paused IS NULL OR r.queue <> ALL (_paused))
                AND (_limited IS NULL OR coalesce(_room[array_position(_limited, r.queue)], 1) > 0)
                AND EXISTS (SELECT FROM generate_series(0, 9) AS p CROSS JOIN LATERAL (
                    SELECT FROM work.jobs j WHERE j.state = 'available' AND j.queue = r.queue AND j.priority = p
                        AND j.scheduled_at <= _t LIMIT 1) AS due);
        END IF;
        IF scheduled_at IS NOT NULL THEN
            RETURN NEXT;
        END IF;
    END IF;
END $$;

-- Ends attempts whose lease is current, and answers the others, and then the queues of jobs that may start after those that
-- have ended. `_ends`: 0 completed, 1 discarded, 2 cancelled, 3 again,
-- 4 again and the attempt is given back. A list in which every entry would be null may be null.
CREATE OR REPLACE FUNCTION work.settle(
    _ids uuid[], _fences bigint[], _ends smallint[], _statuses smallint[], _outputs bytea[], _ats timestamptz[],
    _messages text[], _backtraces text[], _now timestamptz
) RETURNS TABLE (id uuid, fence bigint, queue text) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    _t timestamptz := coalesce(_now, clock_timestamp());
    _keys text[];
    _done uuid[];
    _again uuid[];
BEGIN
    IF 2 >= ANY (_ends) AND 3 <= ANY (_ends) THEN
        -- Those that end come before those that run again: one lock after the other would not be in the order of ids, and who
        -- extends these leases meanwhile would wait for the one and hold the other.
        PERFORM FROM unnest(_ids, _fences) AS d (id, fence) JOIN work.jobs j ON j.id = d.id AND j.fence = d.fence
        FOR UPDATE OF j;
    END IF;
    WITH given AS MATERIALIZED (
        SELECT * FROM unnest(_ids, _fences, _ends, _statuses, _outputs, _messages, _backtraces)
            AS d (id, fence, ending, status, output, message, backtrace)
        WHERE ending <= 2
    ), ended AS MATERIALIZED (
        DELETE FROM work.jobs j USING given d
        WHERE j.id = d.id AND j.fence = d.fence AND j.lease_until IS NOT NULL
        RETURNING j.*, d.ending, d.status AS ended_with, d.output, d.message, d.backtrace
    ), kept AS (
        INSERT INTO work.history (seq, scheduled_at, created_at, finished_at, fence, id, attempt, max_attempts, crashes,
            priority, unique_scope, status, state, queue, kind, expires_at, timeout_ms, unique_key, headers, args, output,
            worker, progress, progress_at, tags)
        SELECT seq, scheduled_at, created_at, _t, fence, id, attempt, max_attempts, crashes,
            priority, unique_scope, ended_with,
            CASE ending WHEN 0 THEN 'completed' WHEN 1 THEN 'discarded' ELSE 'cancelled' END,
            queue, kind, expires_at, timeout_ms, unique_key, headers, args, output,
            worker, progress, progress_at, tags
        FROM ended
    ), failed AS (
        INSERT INTO work.attempts (job, attempt, status, message, backtrace, at)
        SELECT id, greatest(attempt, 0), ended_with, message, backtrace, _t FROM ended WHERE message IS NOT NULL
    )
    SELECT array_agg(id), array_agg(unique_key) FILTER (WHERE unique_key IS NOT NULL) INTO _done, _keys FROM ended;
    IF _keys IS NOT NULL THEN
        RETURN QUERY SELECT NULL::uuid, NULL::bigint, g.queue FROM work.go_on(_keys) AS g;
    END IF;
    IF _ats IS NOT NULL THEN
        WITH given AS MATERIALIZED (
            SELECT * FROM unnest(_ids, _fences, _ends, _statuses, _ats, _messages, _backtraces)
                AS d (id, fence, ending, status, at, message, backtrace)
            WHERE ending >= 3
        ), again AS MATERIALIZED (
            UPDATE work.jobs j SET state = 'available', status = d.status, scheduled_at = d.at, lease_until = NULL,
                progress = NULL, progress_at = NULL, attempt = greatest(j.attempt, 1) - (d.ending = 4)::integer
            FROM given d WHERE j.id = d.id AND j.fence = d.fence AND j.lease_until IS NOT NULL
            RETURNING j.id, j.attempt, d.status, d.message, d.backtrace
        ), failed AS (
            INSERT INTO work.attempts (job, attempt, status, message, backtrace, at)
            SELECT id, greatest(attempt, 0), status, message, backtrace, _t FROM again WHERE message IS NOT NULL
        )
        SELECT array_agg(id) INTO _again FROM again;
        _done := _done || _again;
    END IF;
    IF coalesce(cardinality(_done), 0) < cardinality(_ids) THEN
        RETURN QUERY SELECT d.id, d.fence, NULL::text FROM unnest(_ids, _fences) AS d (id, fence)
            WHERE d.id <> ALL (coalesce(_done, '{}'))
                -- One id twice, with two fences: only the current one is done.
                OR NOT EXISTS (SELECT FROM work.history h WHERE h.id = d.id AND h.fence = d.fence)
                    AND NOT EXISTS (SELECT FROM work.jobs j WHERE j.id = d.id AND j.fence = d.fence);
    END IF;
END $$;

-- Ends jobs, whoever holds them: the caller has locked them. Answers those that may want a job to be made of it. One that
-- waited for the holder of its key has its own again.
CREATE OR REPLACE FUNCTION work.finish(_ids uuid[], _state text, _status smallint, _now timestamptz)
RETURNS TABLE (id uuid, kind text, headers text, attempt integer) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    _keys text[];
BEGIN
    SELECT array_agg(j.unique_key) INTO _keys FROM work.jobs j JOIN unnest(_ids) AS d (id) ON d.id = j.id
    WHERE j.unique_key IS NOT NULL;
    RETURN QUERY WITH ended AS MATERIALIZED (
        DELETE FROM work.jobs j USING unnest(_ids) AS d (id) WHERE j.id = d.id RETURNING j.*
    ), kept AS (
        INSERT INTO work.history (seq, scheduled_at, created_at, finished_at, fence, id, attempt, max_attempts, crashes,
            priority, unique_scope, status, state, queue, kind, expires_at, timeout_ms, unique_key, headers, args,
            worker, progress, progress_at, tags)
        SELECT seq, coalesce(due_at, scheduled_at), created_at, _now, fence, id, attempt, max_attempts, crashes,
            priority, unique_scope, _status, _state, queue, kind, expires_at, timeout_ms, coalesce(unique_key, after_key),
            headers, args, worker, progress, progress_at, tags
        FROM ended
    )
    SELECT id, left(kind, 100), headers, greatest(attempt, 0) FROM ended WHERE headers LIKE '%.on-error%';
    IF _keys IS NOT NULL THEN
        PERFORM work.go_on(_keys);
    END IF;
END $$;

-- Lets go on who waits for the holders of these keys, or of any, as far as those have ended, and answers their queues. Who
-- is being joined just now is found by a later call of `lease` or `rescue`: nobody waits here for a transaction of others.
CREATE OR REPLACE FUNCTION work.go_on(_keys text[]) RETURNS TABLE (queue text) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off SET lock_timeout = '10ms'
AS $$
#variable_conflict use_column
DECLARE
    _ids uuid[];
    _id uuid;
BEGIN
    IF _keys IS NULL THEN
        SELECT array_agg(w.id) INTO _ids FROM (
            SELECT j.id FROM work.jobs j WHERE j.after_key IS NOT NULL
                AND NOT EXISTS (SELECT FROM work.jobs h WHERE h.unique_key = j.after_key)
            LIMIT 100 FOR UPDATE OF j SKIP LOCKED
        ) AS w;
    ELSE
        SELECT array_agg(w.id) INTO _ids FROM (
            SELECT j.id FROM unnest(_keys) AS k (key) JOIN work.jobs j ON j.after_key = k.key AND j.after_key IS NOT NULL
            ORDER BY j.id FOR UPDATE OF j SKIP LOCKED
        ) AS w;
    END IF;
    FOREACH _id IN ARRAY coalesce(_ids, '{}') LOOP
        -- Somebody may be inserting a job of this key, and then it is that one's.
        BEGIN
            RETURN QUERY UPDATE work.jobs w
                SET unique_key = w.after_key, after_key = NULL, scheduled_at = coalesce(w.due_at, w.scheduled_at),
                    due_at = NULL
                WHERE w.id = _id AND NOT EXISTS (SELECT FROM work.jobs h WHERE h.unique_key = w.after_key)
                RETURNING w.queue;
        EXCEPTION
            WHEN unique_violation THEN
                NULL;
            WHEN lock_not_available THEN
                EXIT;
        END;
    END LOOP;
END $$;

-- Keeps leased rows that are no jobs as dead letters; they had no attempt. Answers those that may want a job to be made.
CREATE OR REPLACE FUNCTION work.refuse(_ids uuid[], _fences bigint[], _reasons text[], _now timestamptz)
RETURNS TABLE (id uuid, kind text, headers text, attempt integer) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    _t timestamptz := coalesce(_now, clock_timestamp());
    _refused uuid[];
BEGIN
    WITH refused AS (
        UPDATE work.jobs j SET attempt = j.attempt - 1
        FROM unnest(_ids, _fences, _reasons) AS d (id, fence, reason)
        WHERE j.id = d.id AND j.fence = d.fence AND j.lease_until IS NOT NULL
        RETURNING j.id, j.attempt, d.reason
    ), recorded AS (
        INSERT INTO work.attempts (job, attempt, status, message, at)
        SELECT r.id, greatest(r.attempt, 0), 400, r.reason, _t FROM refused r
    )
    SELECT array_agg(r.id) INTO _refused FROM refused r;
    RETURN QUERY SELECT * FROM work.finish(_refused, 'discarded', 400::smallint, _t);
END $$;

-- Lets leases end later, and answers those that are still held.
CREATE OR REPLACE FUNCTION work.extend(_ids uuid[], _fences bigint[], _lease_us bigint, _now timestamptz)
RETURNS TABLE (id uuid, fence bigint) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    _until timestamptz := coalesce(_now, clock_timestamp()) + _lease_us * interval '1 microsecond';
BEGIN
    RETURN QUERY UPDATE work.jobs j
    SET lease_until = _until
    FROM unnest(_ids, _fences) AS d (id, fence)
    WHERE j.id = d.id AND j.fence = d.fence AND j.lease_until IS NOT NULL AND NOT j.cancel_requested
    RETURNING j.id, j.fence;
END $$;

-- Takes back jobs whose lease has ended, and answers the queue of each that is available again; no queue but an id for a
-- dead letter. Jobs of the kind `_never` are none, however often that happened.
CREATE OR REPLACE FUNCTION work.rescue(
    _limit integer, _max_crashes integer, _never text, _reason text, _now timestamptz
) RETURNS TABLE (queue text, id uuid, kind text, headers text, attempt integer) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    _t timestamptz := coalesce(_now, clock_timestamp());
    _cancelled uuid[];
    _back uuid[];
    _dead uuid[];
BEGIN
    WITH lost AS MATERIALIZED (
        SELECT ctid AS at FROM work.jobs WHERE state = 'running' AND lease_until < _t
        ORDER BY lease_until LIMIT _limit FOR UPDATE SKIP LOCKED
    ), crashed AS MATERIALIZED (
        UPDATE work.jobs j SET crashes = least(greatest(j.crashes, 0), 2147483646) + 1
        FROM lost WHERE j.ctid = lost.at
        RETURNING j.id, j.attempt, j.cancel_requested, j.crashes >= _max_crashes AND j.kind <> _never AS dead
    ), recorded AS (
        INSERT INTO work.attempts (job, attempt, status, message, at)
        SELECT c.id, greatest(c.attempt, 0), 500, _reason, _t FROM crashed c
    )
    SELECT array_agg(c.id) FILTER (WHERE c.cancel_requested),
        array_agg(c.id) FILTER (WHERE NOT c.cancel_requested AND NOT c.dead),
        array_agg(c.id) FILTER (WHERE NOT c.cancel_requested AND c.dead)
    INTO _cancelled, _back, _dead FROM crashed c;
    PERFORM work.finish(_cancelled, 'cancelled', 499::smallint, _t);
    RETURN QUERY SELECT NULL::text, d.id, f.kind, f.headers, f.attempt
        FROM unnest(_dead) AS d (id) LEFT JOIN work.finish(_dead, 'discarded', 500::smallint, _t) AS f ON f.id = d.id;
    RETURN QUERY UPDATE work.jobs j SET state = 'available', lease_until = NULL, progress = NULL,
            progress_at = NULL, attempt = greatest(j.attempt, 1) - 1
        FROM unnest(_back) AS d (id) WHERE j.id = d.id
        RETURNING j.queue, NULL::uuid, NULL::text, NULL::text, NULL::integer;
    PERFORM work.go_on(NULL);
END $$;

-- Takes back what a worker was leased in an answer that never reached it: it holds only these.
CREATE OR REPLACE FUNCTION work.take_back(_worker text, _held uuid[]) RETURNS TABLE (queue text) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY WITH lost AS MATERIALIZED (
        SELECT ctid AS at FROM work.jobs
        WHERE state = 'running' AND worker = _worker AND NOT cancel_requested AND id <> ALL (_held)
        FOR UPDATE SKIP LOCKED
    )
    UPDATE work.jobs j SET state = 'available', lease_until = NULL, progress = NULL, progress_at = NULL,
        attempt = greatest(j.attempt, 1) - 1
    FROM lost WHERE j.ctid = lost.at RETURNING j.queue;
END $$;

-- Notes the progress of leases that are current.
CREATE OR REPLACE FUNCTION work.set_progress(_ids uuid[], _fences bigint[], _done real[], _now timestamptz) RETURNS void
LANGUAGE sql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
    UPDATE work.jobs j SET progress = d.done, progress_at = coalesce(_now, clock_timestamp())
    FROM unnest(_ids, _fences, _done) AS d (id, fence, done)
    WHERE j.id = d.id AND j.fence = d.fence AND j.lease_until IS NOT NULL
$$;

-- Running jobs that were asked to stop.
CREATE OR REPLACE FUNCTION work.stop_requests() RETURNS TABLE (seq bigint, id uuid, fence bigint) LANGUAGE sql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
    SELECT seq, id, fence FROM work.jobs WHERE cancel_requested AND state = 'running'
$$;

-- Notes that a worker lives, and forgets those that were heard of before `_gone_us` ago.
CREATE OR REPLACE FUNCTION work.beat(
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
