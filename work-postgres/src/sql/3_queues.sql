-- Queues of which only so many jobs may be leased at once, turns, and priorities that rise. A queue without a limit pays for
-- one look at an empty table.

CREATE TABLE work.limits (
    queue text COLLATE "C" PRIMARY KEY,
    at_most integer NOT NULL CHECK (at_most > 0)
);

-- With the queue, so that those that run are counted by the index, which only leads to the rows of that queue.
DROP INDEX work.jobs_leases;
CREATE INDEX jobs_leases ON work.jobs (lease_until, queue) WHERE state = 'running';

-- It takes turns and a step of aging now.
DROP FUNCTION IF EXISTS work.lease(text[], integer, bigint, text, integer, timestamptz, text, integer, timestamptz, bigint);
