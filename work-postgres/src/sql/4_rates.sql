-- How many jobs of a queue may start in a time. A queue without a rate pays for one look at an empty table.
CREATE TABLE work.rates (
    queue text COLLATE "C" PRIMARY KEY,
    shape text NOT NULL CHECK (shape IN ('even', 'fixed', 'sliding')),
    count integer NOT NULL CHECK (count > 0),
    per_ns bigint NOT NULL CHECK (per_ns > 0),
    burst integer NOT NULL CHECK (burst > 0),
    -- Queues with the same name have one rate together.
    name text COLLATE "C"
);

-- What was taken of that, by the name of the rate, or by `=` and the queue. Instants are nanoseconds since 1970.
CREATE TABLE work.permits (
    bucket text COLLATE "C" PRIMARY KEY,
    -- Even: when it is full again. A fixed window: when it began.
    at bigint NOT NULL DEFAULT 0,
    used integer NOT NULL DEFAULT 0,
    -- A sliding window: when, and how many.
    log_at bigint[] NOT NULL DEFAULT '{}',
    log_used integer[] NOT NULL DEFAULT '{}'
) WITH (fillfactor = 50);

-- Jobs of the queues whose names begin so are not forgotten.
CREATE TABLE work.kept (
    prefix text COLLATE "C" PRIMARY KEY
);
