-- Queues in which only so many jobs may wait or run.
CREATE TABLE capacities (
    queue TEXT PRIMARY KEY,
    jobs INTEGER NOT NULL CHECK (jobs > 0)
) STRICT, WITHOUT ROWID;
