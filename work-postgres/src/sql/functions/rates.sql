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
    IF _shape IS NULL THEN
        DELETE FROM work.rates r WHERE r.queue = _queue;
    ELSE
        UPDATE work.rates r SET shape = _shape, count = _count, per_ns = _per, burst = _burst WHERE r.name = _name;
        INSERT INTO work.rates VALUES (_queue, _shape, _count, _per, _burst, _name)
        ON CONFLICT (queue) DO UPDATE SET shape = excluded.shape, count = excluded.count, per_ns = excluded.per_ns,
            burst = excluded.burst, name = excluded.name;
    END IF;
END $$;
