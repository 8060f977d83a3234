-- The functions of version 1 that know of tags, of paused queues, and of who ran a job.

DROP FUNCTION work.lease(text[], integer, bigint, text, integer, timestamptz, text, integer, timestamptz, bigint);

-- Takes jobs that are due from queues that are not paused, queue by queue and priority by priority. In the floor's queue
-- and priority it looks from the floor on, and at what is below only if there is room left. If fewer were found than
-- wanted, the last row is no job but the time at which the next one is due.
CREATE FUNCTION work.lease(
    _queues text[], _limit integer, _lease_us bigint, _worker text, _max_args integer, _now timestamptz,
    _floor_queue text, _floor_priority integer, _floor_at timestamptz, _floor_seq bigint
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
    _left integer := _limit;
    _queue text;
    _found integer;
BEGIN
    IF EXISTS (SELECT FROM work.paused) THEN
        _queues := ARRAY(SELECT q.name FROM unnest(_queues) WITH ORDINALITY AS q (name, n)
            WHERE NOT EXISTS (SELECT FROM work.paused p WHERE p.queue = q.name) ORDER BY q.n);
    END IF;
    LOOP
        FOREACH _queue IN ARRAY _queues LOOP
            EXIT WHEN _left <= 0;
            RETURN QUERY WITH due AS MATERIALIZED (
                -- One look into the index for each priority: a million jobs that are due later cost nothing.
                SELECT level.at FROM generate_series(0, 9) AS p CROSS JOIN LATERAL (
                    SELECT ctid AS at FROM work.jobs
                    WHERE state = 'available' AND queue = _queue AND priority = p AND scheduled_at <= _t
                        AND (scheduled_at, seq) >= (
                            CASE WHEN _queue = _floor_queue AND p = _floor_priority THEN _floor_at ELSE '-infinity' END,
                            CASE WHEN _queue = _floor_queue AND p = _floor_priority THEN _floor_seq
                                ELSE -9223372036854775808 END)
                    ORDER BY scheduled_at, seq LIMIT _left FOR UPDATE SKIP LOCKED
                ) AS level LIMIT _left
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
                CASE WHEN octet_length(j.headers) <= 1048576 THEN j.headers END,
                CASE WHEN octet_length(j.tags) <= 1048576 THEN j.tags END,
                octet_length(j.args), j.lease_until, j.expires_at <= _t;
            GET DIAGNOSTICS _found = ROW_COUNT;
            _left := _left - _found;
        END LOOP;
        EXIT WHEN _left <= 0 OR _floor_queue IS NULL;
        _floor_queue := NULL;
    END LOOP;
    IF _left > 0 THEN
        lease_until := _t;
        -- What is due already is being taken by somebody else.
        SELECT min(next.at) INTO scheduled_at FROM unnest(_queues) AS q CROSS JOIN generate_series(0, 9) AS p
        CROSS JOIN LATERAL (
            SELECT j.scheduled_at AS at FROM work.jobs j
            WHERE j.state = 'available' AND j.queue = q AND j.priority = p AND j.scheduled_at > _t
            ORDER BY j.scheduled_at, j.seq LIMIT 1
        ) AS next;
        IF scheduled_at IS NOT NULL THEN
            RETURN NEXT;
        END IF;
    END IF;
END $$;

-- Ends attempts whose lease is current, and answers the others. `_ends`: 0 completed, 1 discarded, 2 cancelled, 3 again,
-- 4 again and the attempt is given back. A list in which every entry would be null may be null.
CREATE OR REPLACE FUNCTION work.settle(
    _ids uuid[], _fences bigint[], _ends smallint[], _statuses smallint[], _outputs bytea[], _ats timestamptz[],
    _messages text[], _backtraces text[], _now timestamptz
) RETURNS TABLE (id uuid, fence bigint) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    _t timestamptz := coalesce(_now, clock_timestamp());
    _done uuid[];
    _again uuid[];
BEGIN
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
    SELECT array_agg(id) INTO _done FROM ended;
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
        RETURN QUERY SELECT d.id, d.fence FROM unnest(_ids, _fences) AS d (id, fence)
            WHERE d.id <> ALL (coalesce(_done, '{}'))
                -- One id twice, with two fences: only the current one is done.
                OR NOT EXISTS (SELECT FROM work.history h WHERE h.id = d.id AND h.fence = d.fence)
                    AND NOT EXISTS (SELECT FROM work.jobs j WHERE j.id = d.id AND j.fence = d.fence);
    END IF;
END $$;

-- Ends jobs, whoever holds them: the caller has locked them.
CREATE OR REPLACE FUNCTION work.finish(_ids uuid[], _state text, _status smallint, _now timestamptz) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    WITH ended AS (DELETE FROM work.jobs j USING unnest(_ids) AS d (id) WHERE j.id = d.id RETURNING j.*)
    INSERT INTO work.history (seq, scheduled_at, created_at, finished_at, fence, id, attempt, max_attempts, crashes,
        priority, unique_scope, status, state, queue, kind, expires_at, timeout_ms, unique_key, headers, args,
        worker, progress, progress_at, tags)
    SELECT seq, scheduled_at, created_at, _now, fence, id, attempt, max_attempts, crashes,
        priority, unique_scope, _status, _state, queue, kind, expires_at, timeout_ms, unique_key, headers, args,
        worker, progress, progress_at, tags
    FROM ended;
END $$;

-- Takes back jobs whose lease has ended, and answers the queue of each that is available again; null for a dead letter.
CREATE OR REPLACE FUNCTION work.rescue(_limit integer, _max_crashes integer, _reason text, _now timestamptz)
RETURNS SETOF text LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
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
        RETURNING j.id, j.attempt, j.crashes, j.cancel_requested
    ), recorded AS (
        INSERT INTO work.attempts (job, attempt, status, message, at)
        SELECT c.id, greatest(c.attempt, 0), 500, _reason, _t FROM crashed c
    )
    SELECT array_agg(c.id) FILTER (WHERE c.cancel_requested),
        array_agg(c.id) FILTER (WHERE NOT c.cancel_requested AND c.crashes < _max_crashes),
        array_agg(c.id) FILTER (WHERE NOT c.cancel_requested AND c.crashes >= _max_crashes)
    INTO _cancelled, _back, _dead FROM crashed c;
    PERFORM work.finish(_cancelled, 'cancelled', 499::smallint, _t);
    PERFORM work.finish(_dead, 'discarded', 500::smallint, _t);
    RETURN QUERY SELECT NULL::text FROM unnest(_dead);
    RETURN QUERY UPDATE work.jobs j SET state = 'available', lease_until = NULL, progress = NULL,
            progress_at = NULL, attempt = greatest(j.attempt, 1) - 1
        FROM unnest(_back) AS d (id) WHERE j.id = d.id
        RETURNING j.queue;
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
            least(greatest(max_attempts, least(attempt, _most - 1) + 1), _most), priority, unique_scope,
            status, queue, kind, expires_at, timeout_ms, unique_key, headers, args, worker, tags
        FROM dead
        ON CONFLICT DO NOTHING RETURNING id, queue
    ), gone AS (
        DELETE FROM work.history h USING back WHERE h.id = back.id AND h.state IN ('discarded', 'cancelled')
    )
    SELECT queue FROM back
$$;

DROP FUNCTION work.insert_jobs(uuid[], text[], bytea[], text[], smallint[], timestamptz[], integer[], bigint[],
    timestamptz[], text[], smallint[], text[], timestamptz);

-- Notes the tags of jobs that were just inserted, for who looks for one.
CREATE FUNCTION work.tag(_ids uuid[], _tags text[]) RETURNS void LANGUAGE sql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
    INSERT INTO work.tags (tag, seq) SELECT t.tag, j.seq FROM unnest(_ids, _tags) AS d (id, tags)
    JOIN work.jobs j ON j.id = d.id CROSS JOIN LATERAL json_array_elements_text(d.tags::json) AS t (tag)
    WHERE d.tags IS NOT NULL ON CONFLICT DO NOTHING
$$;

-- Keeps new jobs. Answers only for those that are not stored, since a job with their id or unique key is there already:
-- their place in the list, from 1, and that job.
CREATE FUNCTION work.insert_jobs(
    _ids uuid[], _kinds text[], _args bytea[], _queues text[], _priorities smallint[], _scheduled timestamptz[],
    _max_attempts integer[], _timeouts bigint[], _expires timestamptz[], _keys text[], _scopes smallint[],
    _headers text[], _tags text[], _now timestamptz
) RETURNS TABLE (place bigint, holder uuid) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    _t timestamptz := coalesce(_now, clock_timestamp());
    _count integer := cardinality(_ids);
    _seqs bigint[];
    _open bigint[];
    _held bigint[] := '{}';
    _place bigint;
    _holder uuid;
BEGIN
    IF _keys IS NULL THEN
        -- Without `ON CONFLICT`, which writes each row twice to the log.
        BEGIN
            INSERT INTO work.jobs (id, kind, args, queue, priority, scheduled_at, created_at, max_attempts, timeout_ms,
                expires_at, headers, tags)
            SELECT d.id, d.kind, d.args, coalesce(d.queue, 'default'), coalesce(d.priority, 5),
                coalesce(d.scheduled_at, _t), _t, coalesce(d.max_attempts, 25), d.timeout_ms, d.expires_at, d.headers,
                d.tags
            FROM unnest(_ids, _kinds, _args, _queues, _priorities, _scheduled, _max_attempts, _timeouts, _expires, _headers,
                _tags)
                AS d (id, kind, args, queue, priority, scheduled_at, max_attempts, timeout_ms, expires_at, headers, tags);
            -- Looked for after the insert, which has waited for whoever was moving a job of this id. `OFFSET 0`, so that it
            -- is the ids that are looked up in the history and not the other way round.
            IF NOT EXISTS (SELECT FROM unnest(_ids) AS d (id)
                CROSS JOIN LATERAL (SELECT FROM work.history h WHERE h.id = d.id OFFSET 0) AS known) THEN
                IF _tags IS NOT NULL THEN
                    PERFORM work.tag(_ids, _tags);
                END IF;
                RETURN;
            END IF;
            RAISE unique_violation;
        EXCEPTION WHEN unique_violation THEN
            -- Rare: some were inserted before. The others go in once more, with numbers that tell them apart.
            NULL;
        END;
    END IF;
    SELECT array_agg(nextval('work.arrivals')) INTO _seqs FROM generate_series(1, _count);
    SELECT array_agg(n) INTO _open FROM generate_series(1, _count) AS n;
    FOR _try IN 1..10 LOOP
        -- In the order of keys, so that two batches with the same keys do not wait for each other.
        INSERT INTO work.jobs (seq, id, kind, args, queue, priority, scheduled_at, created_at, max_attempts, timeout_ms,
            expires_at, unique_key, unique_scope, headers, tags)
        SELECT _seqs[n], _ids[n], _kinds[n], _args[n], coalesce(_queues[n], 'default'), coalesce(_priorities[n], 5),
            coalesce(_scheduled[n], _t), _t, coalesce(_max_attempts[n], 25), _timeouts[n],
            _expires[n], _keys[n], _scopes[n], _headers[n], _tags[n]
        FROM unnest(_open) AS n ORDER BY _keys[n] COLLATE "C" NULLS FIRST, n
        ON CONFLICT DO NOTHING;
        DELETE FROM work.jobs j USING unnest(_open) AS n
        WHERE j.id = _ids[n] AND j.seq = _seqs[n] AND (
            EXISTS (SELECT FROM work.history h WHERE h.id = j.id)
            OR EXISTS (SELECT FROM work.history h WHERE h.unique_key = j.unique_key AND h.unique_scope = 2));
        SELECT coalesce(array_agg(n), '{}') INTO _open FROM unnest(_open) AS n
        WHERE NOT EXISTS (SELECT FROM work.jobs j WHERE j.id = _ids[n] AND j.seq = _seqs[n]);
        FOREACH _place IN ARRAY _open LOOP
            SELECT j.id INTO _holder FROM work.jobs j WHERE j.id = _ids[_place];
            IF _holder IS NULL THEN
                SELECT h.id INTO _holder FROM work.history h WHERE h.id = _ids[_place] LIMIT 1;
            END IF;
            IF _holder IS NULL THEN
                SELECT j.id INTO _holder FROM work.jobs j WHERE j.unique_key = _keys[_place];
            END IF;
            IF _holder IS NULL THEN
                SELECT h.id INTO _holder FROM work.history h
                WHERE h.unique_key = _keys[_place] AND h.unique_scope = 2 LIMIT 1;
            END IF;
            -- Nobody: the holder has ended meanwhile, so there is room now.
            IF _holder IS NOT NULL THEN
                _open := array_remove(_open, _place);
                _held := _held || _place;
                place := _place;
                holder := _holder;
                RETURN NEXT;
            END IF;
        END LOOP;
        IF cardinality(_open) = 0 THEN
            IF _tags IS NOT NULL THEN
                PERFORM work.tag(array_agg(_ids[n]), array_agg(_tags[n])) FROM generate_series(1, _count) AS n
                WHERE n <> ALL (_held);
            END IF;
            RETURN;
        END IF;
    END LOOP;
    RAISE EXCEPTION 'the holders of % unique keys change too fast', cardinality(_open)
        USING ERRCODE = 'serialization_failure';
END $$;

-- Enqueues a job in the transaction of the caller, and answers its id, or that of the job that holds its unique key.
--
-- `args` is JSON text. `options` may have: id, queue, priority, max_attempts, timeout_ms, scheduled_at, delay_ms,
-- expires_at, unique_key, unique_scope ('active' or 'kept'), headers, tags, notify.
CREATE OR REPLACE FUNCTION work.enqueue(kind text, args text DEFAULT 'null', options jsonb DEFAULT '{}') RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    _name text := '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}$';
    _unknown text;
    _id uuid := coalesce((options->>'id')::uuid, work.new_id());
    _queue text := coalesce(options->>'queue', 'default');
    _priority bigint := coalesce((options->>'priority')::bigint, 5);
    _attempts bigint := coalesce((options->>'max_attempts')::bigint, 25);
    _timeout bigint := (options->>'timeout_ms')::bigint;
    _scope text := coalesce(options->>'unique_scope', 'active');
    _at timestamptz := coalesce((options->>'scheduled_at')::timestamptz,
        clock_timestamp() + (options->>'delay_ms')::bigint * interval '1 millisecond');
    _holder uuid;
BEGIN
    SELECT key INTO _unknown FROM jsonb_object_keys(options) AS key WHERE key <> ALL (ARRAY['id', 'queue', 'priority',
        'max_attempts', 'timeout_ms', 'scheduled_at', 'delay_ms', 'expires_at', 'unique_key', 'unique_scope', 'headers',
        'tags', 'notify']) LIMIT 1;
    IF _unknown IS NOT NULL THEN
        RAISE EXCEPTION 'unknown option %; use id, queue, priority, max_attempts, timeout_ms, scheduled_at, delay_ms, expires_at, unique_key, unique_scope, headers, tags or notify',
            to_json(left(_unknown, 80)) USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF kind !~ _name OR kind IS NULL OR _queue !~ _name THEN
        RAISE EXCEPTION 'invalid name of a kind or a queue: % or %; use 1 to 63 of A-Z a-z 0-9 _ . : -, starting with a letter or a digit',
            to_json(left(kind, 80)), to_json(left(_queue, 80)) USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF _priority NOT BETWEEN 0 AND 9 THEN
        RAISE EXCEPTION 'priority % is out of range; use 0 to 9', _priority USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF _attempts NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION 'max_attempts % is out of range; use 1 to 1000', _attempts
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF _timeout <= 0 THEN
        RAISE EXCEPTION 'timeout_ms % is out of range; use more than zero', _timeout
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF octet_length(options->>'unique_key') NOT BETWEEN 1 AND 512 OR _scope NOT IN ('active', 'kept') THEN
        RAISE EXCEPTION 'invalid unique_key or unique_scope; use 1 to 512 bytes, and active or kept'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF jsonb_typeof(options->'headers') <> 'object' OR EXISTS (
        SELECT FROM jsonb_each(CASE jsonb_typeof(options->'headers') WHEN 'object' THEN options->'headers' END)
        WHERE jsonb_typeof(value) <> 'string') THEN
        RAISE EXCEPTION 'headers must be an object of texts' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF jsonb_typeof(options->'tags') <> 'array' OR jsonb_array_length(
        CASE jsonb_typeof(options->'tags') WHEN 'array' THEN options->'tags' END) > 16 OR EXISTS (
        SELECT FROM jsonb_array_elements(CASE jsonb_typeof(options->'tags') WHEN 'array' THEN options->'tags' END) AS t (tag)
        WHERE jsonb_typeof(t.tag) <> 'string' OR t.tag #>> '{}' !~ _name) THEN
        RAISE EXCEPTION 'tags must be an array of at most 16 names, each of 1 to 63 of A-Z a-z 0-9 _ . : -, starting with a letter or a digit'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF octet_length(args) > 1048576 THEN
        RAISE EXCEPTION 'args have % bytes; at most 1048576 are accepted', octet_length(args)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT i.holder INTO _holder FROM work.insert_jobs(ARRAY[_id], ARRAY[kind],
        ARRAY[convert_to(coalesce(args, 'null')::json::text, 'UTF8')], ARRAY[_queue], ARRAY[_priority::smallint], ARRAY[_at],
        ARRAY[_attempts::integer], ARRAY[_timeout], ARRAY[(options->>'expires_at')::timestamptz],
        CASE WHEN options ? 'unique_key' THEN ARRAY[options->>'unique_key'] END,
        ARRAY[CASE WHEN options ? 'unique_key' THEN CASE _scope WHEN 'kept' THEN 2 ELSE 1 END END]::smallint[],
        ARRAY[(options->'headers')::text],
        CASE WHEN jsonb_array_length(options->'tags') > 0 THEN ARRAY[(options->'tags')::text] END, NULL) AS i;
    IF (options->>'notify')::boolean THEN
        PERFORM pg_notify(work_channel, '-:' || _queue);
    END IF;
    RETURN coalesce(_holder, _id);
END $$;

DROP VIEW work.all_jobs;

-- Every job, for people to look at. Those that wait and those that run apart, since each have an index.
CREATE VIEW work.all_jobs AS
    SELECT seq, id, state, queue, kind, priority, scheduled_at, created_at, NULL::timestamptz AS finished_at, attempt,
        max_attempts, crashes, status, worker, lease_until, cancel_requested, progress, progress_at, fence, timeout_ms,
        expires_at, unique_key, unique_scope, headers, tags, args, NULL::bytea AS output
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
