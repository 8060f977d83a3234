-- How many permits there are now, and if there is none, when it is worth looking: as `work_core::limit::Taken`.
CREATE OR REPLACE FUNCTION work.permits_left(
    _shape text, _count integer, _per bigint, _burst integer, _at bigint, _used integer, _log_at bigint[],
    _log_used integer[], _now bigint, OUT room integer, OUT next_at bigint
) LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    _permit bigint := (_per + _count - 1) / _count;
    _full bigint;
BEGIN
    IF _shape = 'even' THEN
        -- Never further away than a whole bucket, should a clock have been put back.
        _full := least(greatest(_at, _now), _now + _permit * _burst);
        room := (_now + _permit * _burst - _full) / _permit;
        next_at := _full - _permit * (_burst - greatest(1, least(_burst / 2, 20000000 / _permit)));
    ELSIF _shape = 'fixed' THEN
        room := CASE WHEN _used = 0 OR _now >= _at + _per OR _now < _at THEN _count ELSE greatest(0, _count - _used) END;
        next_at := _at + _per;
    ELSE
        SELECT greatest(0, _count - coalesce(sum(l.used), 0)), coalesce(min(l.at), _now - _per) + _per INTO room, next_at
        FROM unnest(_log_at, _log_used) AS l (at, used) WHERE l.at > _now - _per AND l.at <= _now;
    END IF;
END $$;

-- Takes permits that there are.
CREATE OR REPLACE FUNCTION work.take_permits(
    _bucket text, _shape text, _count integer, _per bigint, _burst integer, _taken integer, _now bigint
) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    _permit bigint := (_per + _count - 1) / _count;
BEGIN
    INSERT INTO work.permits (bucket) VALUES (_bucket) ON CONFLICT DO NOTHING;
    IF _shape = 'even' THEN
        UPDATE work.permits p SET at = least(greatest(p.at, _now), _now + _permit * _burst) + _permit * _taken
        WHERE p.bucket = _bucket;
    ELSIF _shape = 'fixed' THEN
        UPDATE work.permits p SET
            at = CASE WHEN p.used = 0 OR _now >= p.at + _per OR _now < p.at THEN _now ELSE p.at END,
            used = CASE WHEN p.used = 0 OR _now >= p.at + _per OR _now < p.at THEN 0 ELSE p.used END + _taken
        WHERE p.bucket = _bucket;
    ELSE
        UPDATE work.permits p SET (log_at, log_used) = (
            SELECT array_agg(l.at) || _now, array_agg(l.used) || _taken
            FROM unnest(p.log_at, p.log_used) AS l (at, used) WHERE l.at > _now - _per AND l.at <= _now
        ) WHERE p.bucket = _bucket;
    END IF;
END $$;

-- Keeps a rate for a queue that has none, and answers the one that stands: of the queue, or of the name.
CREATE OR REPLACE FUNCTION work.declare_rate(
    _queue text, _shape text, _count integer, _per bigint, _burst integer, _name text
) RETURNS SETOF work.rates LANGUAGE plpgsql AS $$
DECLARE
    _stands work.rates;
BEGIN
    -- One at a time, so that no two give a name to different rates.
    PERFORM pg_advisory_xact_lock(hashtextextended(work_channel || ':=', 0));
    SELECT * INTO _stands FROM work.rates r WHERE r.queue = _queue;
    IF NOT FOUND THEN
        SELECT * INTO _stands FROM work.rates r
        WHERE r.name = _name AND (r.shape, r.count, r.per_ns, r.burst) <> (_shape, _count, _per, _burst) LIMIT 1;
    END IF;
    IF NOT FOUND THEN
        INSERT INTO work.rates VALUES (_queue, _shape, _count, _per, _burst, _name) RETURNING * INTO _stands;
    END IF;
    RETURN NEXT _stands;
END $$;

-- Sets the rate of a queue, and of all that have its name, or takes it away, and answers the one before.
CREATE OR REPLACE FUNCTION work.rate_queue(
    _queue text, _shape text, _count integer, _per bigint, _burst integer, _name text
) RETURNS SETOF work.rates LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(work_channel || ':=', 0));
    RETURN QUERY SELECT * FROM work.rates r WHERE r.queue = _queue;
    DELETE FROM work.rates r WHERE work.is_key_of(r.queue, _queue);
    IF _shape IS NULL THEN
        DELETE FROM work.rates r WHERE r.queue = _queue;
    ELSE
        UPDATE work.rates r SET shape = _shape, count = _count, per_ns = _per, burst = _burst WHERE r.name = _name;
        INSERT INTO work.rates VALUES (_queue, _shape, _count, _per, _burst, _name)
        ON CONFLICT (queue) DO UPDATE SET shape = excluded.shape, count = excluded.count, per_ns = excluded.per_ns,
            burst = excluded.burst, name = excluded.name;
    END IF;
END $$;

-- The queues of keys whose names begin so and that have jobs waiting, the one whose job is due first first. Each gets the
-- limits of all, unless it has its own.
CREATE OR REPLACE FUNCTION work.queues_of_keys(_prefix text, _now timestamptz) RETURNS SETOF text LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
    _t timestamptz := coalesce(_now, clock_timestamp());
    -- The sign after the colon.
    _end text := left(_prefix, -1) || ';';
    _from text := _prefix;
    _queues text[] := '{}';
    _firsts double precision[] := '{}';
    _priorities integer[] := '{}';
    _priority integer;
    _first timestamptz;
BEGIN
    LOOP
        SELECT j.queue INTO _from FROM work.jobs j
        WHERE j.state = 'available' AND j.queue > _from AND j.queue < _end ORDER BY j.queue LIMIT 1;
        EXIT WHEN NOT FOUND;
        CONTINUE WHEN position(':' IN substr(_from, length(_prefix) + 1)) > 0;
        _priority := NULL;
        _first := NULL;
        SELECT p, d.at INTO _priority, _first FROM generate_series(0, 9) AS p CROSS JOIN LATERAL (
            SELECT j.scheduled_at AS at FROM work.jobs j
            WHERE j.state = 'available' AND j.queue = _from AND j.priority = p AND j.scheduled_at <= _t
            ORDER BY j.scheduled_at, j.seq LIMIT 1
        ) AS d ORDER BY p LIMIT 1;
        _queues := _queues || _from;
        _priorities := _priorities || coalesce(_priority, 10);
        _firsts := _firsts || coalesce(extract(epoch FROM _first)::double precision, 0);
    END LOOP;
    INSERT INTO work.limits (queue, at_most) SELECT q, l.at_most FROM work.limits l CROSS JOIN unnest(_queues) AS q
    WHERE l.queue = _prefix || '*' ORDER BY q ON CONFLICT DO NOTHING;
    INSERT INTO work.rates SELECT q, r.shape, r.count, r.per_ns, r.burst, r.name
    FROM work.rates r CROSS JOIN unnest(_queues) AS q
    WHERE r.queue = _prefix || '*' ORDER BY q ON CONFLICT DO NOTHING;
    RETURN QUERY SELECT q.queue FROM unnest(_queues, _priorities, _firsts) AS q (queue, priority, at)
    ORDER BY q.priority, q.at;
END $$;

-- The limits of single keys are made anew.
CREATE OR REPLACE FUNCTION work.is_key_of(_queue text, _keys text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT _keys LIKE '%:*' AND _queue <> _keys AND starts_with(_queue, left(_keys, -1))
        AND position(':' IN substr(_queue, length(_keys))) = 0
$$;
