-- Queues in which only so many jobs may wait or run. An insert pays for one look at an empty table if there are none.
CREATE TABLE work.capacities (
    queue text COLLATE "C" PRIMARY KEY,
    jobs integer NOT NULL CHECK (jobs > 0)
);
