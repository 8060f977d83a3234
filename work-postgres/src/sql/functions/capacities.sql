-- Refuses the transaction if jobs that were just inserted do not fit into their queues; `_places` are those of the list that
-- are not new. Whoever else inserts into such a queue waits until the transaction has ended. Answers no rows.
CREATE OR REPLACE FUNCTION work.check_capacities(_ids uuid[], _queues text[], _places bigint[])
RETURNS TABLE (place bigint, holder uuid) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    _queue text;
    _capacity bigint;
    _given bigint;
    _total bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM work.capacities) THEN
        RETURN;
    END IF;
    FOR _queue, _given IN
        SELECT coalesce(_queues[n], 'default') COLLATE "C", count(*) FROM generate_series(1, cardinality(_ids)) AS n
        WHERE n <> ALL (coalesce(_places, '{}')) GROUP BY 1 ORDER BY 1
    LOOP
        PERFORM FROM work.capacities c WHERE c.queue = _queue;
        CONTINUE WHEN NOT FOUND;
        PERFORM pg_advisory_xact_lock(hashtextextended(work_channel || ':capacity:' || _queue, 0));
        -- What others inserted before is committed and seen from here on.
        SELECT c.jobs INTO _capacity FROM work.capacities c WHERE c.queue = _queue;
        CONTINUE WHEN NOT FOUND;
        SELECT count(*) INTO _total FROM (SELECT FROM work.jobs j WHERE j.queue = _queue AND j.state = 'available'
            LIMIT _capacity + _given) AS waiting;
        _total := _total + (SELECT count(*) FROM work.jobs j WHERE j.queue = _queue AND j.state = 'running');
        IF _total > _capacity THEN
            RAISE EXCEPTION 'queue % is full: % of its % jobs wait or run, and % more do not fit', _queue, _total - _given,
                _capacity, _given
            USING ERRCODE = 'WQ001', DETAIL = json_build_object('queue', _queue, 'capacity', _capacity,
                'depth', _total - _given, 'given', _given);
        END IF;
    END LOOP;
END $$;

-- Sets the capacity of a queue, or takes it away, and answers the one before.
CREATE OR REPLACE FUNCTION work.bound_queue(_queue text, _jobs integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    _before integer;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(work_channel || ':capacity:' || _queue, 0));
    SELECT c.jobs INTO _before FROM work.capacities c WHERE c.queue = _queue;
    IF _jobs IS NULL THEN
        DELETE FROM work.capacities c WHERE c.queue = _queue;
    ELSE
        INSERT INTO work.capacities (queue, jobs) VALUES (_queue, _jobs)
        ON CONFLICT (queue) DO UPDATE SET jobs = excluded.jobs;
    END IF;
    RETURN _before;
END $$;
