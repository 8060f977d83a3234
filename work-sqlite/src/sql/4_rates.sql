-- How many jobs of a queue may start in a time.
CREATE TABLE rates (
    queue TEXT PRIMARY KEY,
    shape TEXT NOT NULL CHECK (shape = 'even' OR shape = 'fixed' OR shape = 'sliding'),
    count INTEGER NOT NULL CHECK (count > 0),
    per_ns INTEGER NOT NULL CHECK (per_ns > 0),
    burst INTEGER NOT NULL CHECK (burst > 0),
    -- Queues with the same name have one rate together.
    name TEXT
) STRICT, WITHOUT ROWID;

-- What was taken of that, by the name of the rate, or by `=` and the queue. Instants are nanoseconds since 1970.
CREATE TABLE permits (
    bucket TEXT PRIMARY KEY,
    -- Even: when it is full again. A fixed window: when it began.
    at INTEGER NOT NULL,
    used INTEGER NOT NULL,
    -- A sliding window: a JSON array of [instant, permits].
    log TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Jobs of the queues whose names begin so are not forgotten.
CREATE TABLE kept (
    prefix TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
