-- Queues of which only so many jobs may be leased at once.
CREATE TABLE limits (
    queue TEXT PRIMARY KEY,
    at_most INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- With the queue, those that run are counted without a look at them.
DROP INDEX jobs_leases;
CREATE INDEX jobs_leases ON jobs (lease_until, queue) WHERE state = 'running';
