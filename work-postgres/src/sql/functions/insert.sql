-- Notes the tags of jobs that were just inserted, for who looks for one.
CREATE OR REPLACE FUNCTION work.tag(_ids uuid[], _tags text[]) RETURNS void LANGUAGE sql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
    INSERT INTO work.tags (tag, seq) SELECT t.tag, j.seq FROM unnest(_ids, _tags) AS d (id, tags)
    JOIN work.jobs j ON j.id = d.id CROSS JOIN LATERAL json_array_elements_text(d.tags::json) AS t (tag)
    WHERE d.tags IS NOT NULL ON CONFLICT DO NOTHING
$$;

-- Keeps new jobs. Answers only for those that are not stored, since a job with their id or unique key is there already:
-- their place in the list, from 1, and that job. `_windows` are milliseconds. `_ways`, where another job holds the key: 0 it
-- stays, 1 it gets the new args if it waits, 2 the new job waits until it has ended, if it runs. Who joins a job that waits
-- holds it back until the end of the transaction, so that what the transaction does is seen by it.
CREATE OR REPLACE FUNCTION work.insert_jobs(
    _ids uuid[], _kinds text[], _args bytea[], _queues text[], _priorities smallint[], _scheduled timestamptz[],
    _max_attempts integer[], _timeouts bigint[], _expires timestamptz[], _keys text[], _scopes smallint[],
    _windows bigint[], _ways smallint[], _headers text[], _tags text[], _now timestamptz
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
        IF _windows IS NOT NULL THEN
            -- What was accepted before the window of a job that is new lets go of its key.
            UPDATE work.history h SET unique_scope = 1 FROM unnest(_open) AS n JOIN work.jobs j ON j.id = _ids[n]
            WHERE j.seq = _seqs[n] AND h.unique_key = _keys[n] AND h.unique_scope = 2
                AND h.created_at <= _t - _windows[n] * interval '1 millisecond'
                AND NOT EXISTS (SELECT FROM work.history same WHERE same.id = j.id);
        END IF;
        DELETE FROM work.jobs j USING unnest(_open) AS n
        WHERE j.id = _ids[n] AND j.seq = _seqs[n] AND (
            EXISTS (SELECT FROM work.history h WHERE h.id = j.id)
            OR EXISTS (SELECT FROM work.history h WHERE h.unique_key = j.unique_key AND h.unique_scope = 2));
        SELECT coalesce(array_agg(n), '{}') INTO _open FROM unnest(_open) AS n
        WHERE NOT EXISTS (SELECT FROM work.jobs j WHERE j.id = _ids[n] AND j.seq = _seqs[n]);
        FOR _place IN SELECT n FROM unnest(_open) AS n ORDER BY _keys[n] COLLATE "C" NULLS FIRST, n LOOP
            SELECT j.id INTO _holder FROM work.jobs j WHERE j.id = _ids[_place];
            IF _holder IS NULL THEN
                SELECT h.id INTO _holder FROM work.history h WHERE h.id = _ids[_place] LIMIT 1;
            END IF;
            IF _holder IS NULL AND _ways[_place] = 1 THEN
                -- Waits for who leases it just now, and then leaves it alone.
                UPDATE work.jobs j SET args = _args[_place] WHERE j.unique_key = _keys[_place] AND j.state = 'available'
                RETURNING j.id INTO _holder;
            END IF;
            IF _holder IS NULL AND _ways[_place] = 2 THEN
                SELECT j.id INTO _holder FROM work.jobs j WHERE j.after_key = _keys[_place] FOR SHARE;
                IF _holder IS NULL THEN
                    -- Waits for who leases it just now, and then finds none.
                    SELECT j.id INTO _holder FROM work.jobs j
                    WHERE j.unique_key = _keys[_place] AND j.state = 'available' FOR SHARE;
                END IF;
                IF _holder IS NULL THEN
                    INSERT INTO work.jobs (seq, id, kind, args, queue, priority, scheduled_at, due_at, created_at,
                        max_attempts, timeout_ms, expires_at, after_key, unique_scope, headers, tags)
                    SELECT _seqs[_place], _ids[_place], _kinds[_place], _args[_place],
                        coalesce(_queues[_place], 'default'), coalesce(_priorities[_place], 5), 'infinity',
                        coalesce(_scheduled[_place], _t), _t, coalesce(_max_attempts[_place], 25), _timeouts[_place],
                        _expires[_place], _keys[_place], _scopes[_place], _headers[_place], _tags[_place]
                    FROM work.jobs h
                    WHERE h.unique_key = _keys[_place] AND h.lease_until IS NOT NULL AND h.unique_scope = 1
                    ON CONFLICT DO NOTHING;
                    IF FOUND THEN
                        _open := array_remove(_open, _place);
                        CONTINUE;
                    END IF;
                    -- A key that is kept has no next job.
                    SELECT j.id INTO _holder FROM work.jobs j
                    WHERE j.unique_key = _keys[_place] AND j.unique_scope IS DISTINCT FROM 1;
                END IF;
            ELSIF _holder IS NULL THEN
                SELECT j.id INTO _holder FROM work.jobs j WHERE j.unique_key = _keys[_place];
            END IF;
            IF _holder IS NULL THEN
                SELECT h.id INTO _holder FROM work.history h
                WHERE h.unique_key = _keys[_place] AND h.unique_scope = 2
                    -- One whose window is over had another job of the batch before it, and goes in now.
                    AND (_windows[_place] IS NULL OR h.created_at > _t - _windows[_place] * interval '1 millisecond')
                LIMIT 1;
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
-- expires_at, unique_key, unique_scope ('active' or 'kept'), unique_within_ms instead of it, on_conflict ('keep_first',
-- 'replace_args' or 'run_after'), headers, tags, notify.
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
    _keyed boolean := options ? 'unique_key';
    _scope text := coalesce(options->>'unique_scope', 'active');
    _window bigint := (options->>'unique_within_ms')::bigint;
    _way integer := array_position(ARRAY['keep_first', 'replace_args', 'run_after'],
        coalesce(options->>'on_conflict', 'keep_first')) - 1;
    _at timestamptz := coalesce((options->>'scheduled_at')::timestamptz,
        clock_timestamp() + (options->>'delay_ms')::bigint * interval '1 millisecond');
    _holder uuid;
BEGIN
    SELECT key INTO _unknown FROM jsonb_object_keys(options) AS key WHERE key <> ALL (ARRAY['id', 'queue', 'priority',
        'max_attempts', 'timeout_ms', 'scheduled_at', 'delay_ms', 'expires_at', 'unique_key', 'unique_scope',
        'unique_within_ms', 'on_conflict', 'headers', 'tags', 'notify']) LIMIT 1;
    IF _unknown IS NOT NULL THEN
        RAISE EXCEPTION 'unknown option %; use id, queue, priority, max_attempts, timeout_ms, scheduled_at, delay_ms, expires_at, unique_key, unique_scope, unique_within_ms, on_conflict, headers, tags or notify',
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
    IF _window NOT BETWEEN 1 AND 316224000000 OR _window IS NOT NULL AND options ? 'unique_scope' THEN
        RAISE EXCEPTION 'unique_within_ms % is out of range; use 1 to 316224000000, without unique_scope', _window
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF _way IS NULL THEN
        RAISE EXCEPTION 'unknown on_conflict %; use keep_first, replace_args or run_after',
            to_json(left(options->>'on_conflict', 80)) USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF _way = 2 AND (_scope <> 'active' OR _window IS NOT NULL) THEN
        RAISE EXCEPTION 'on_conflict run_after is only for the unique_scope active'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT _keyed AND options ?| ARRAY['unique_scope', 'unique_within_ms', 'on_conflict'] THEN
        RAISE EXCEPTION 'unique_scope, unique_within_ms and on_conflict need a unique_key'
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
        CASE WHEN _keyed THEN ARRAY[options->>'unique_key'] END,
        CASE WHEN _keyed THEN ARRAY[CASE WHEN _scope = 'kept' OR _window IS NOT NULL THEN 2 ELSE 1 END]::smallint[] END,
        CASE WHEN _window IS NOT NULL THEN ARRAY[_window] END, CASE WHEN _keyed THEN ARRAY[_way::smallint] END,
        ARRAY[(options->'headers')::text],
        CASE WHEN jsonb_array_length(options->'tags') > 0 THEN ARRAY[(options->'tags')::text] END, NULL) AS i;
    PERFORM work.check_capacities(ARRAY[_id], ARRAY[_queue], CASE WHEN _holder IS NULL THEN '{}' ELSE '{1}'::bigint[] END);
    IF (options->>'notify')::boolean THEN
        PERFORM pg_notify(work_channel, '-:' || _queue);
    END IF;
    RETURN coalesce(_holder, _id);
END $$;

CREATE OR REPLACE FUNCTION work.enqueue(kind text, args json, options jsonb DEFAULT '{}') RETURNS uuid
LANGUAGE sql AS $$ SELECT work.enqueue(kind, args::text, options) $$;

CREATE OR REPLACE FUNCTION work.enqueue(kind text, args jsonb, options jsonb DEFAULT '{}') RETURNS uuid
LANGUAGE sql AS $$ SELECT work.enqueue(kind, args::text, options) $$;
