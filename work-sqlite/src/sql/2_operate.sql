-- A JSON array of texts, for who reads the row; the table below is for who looks for one.
ALTER TABLE jobs ADD COLUMN tags TEXT;
CREATE TABLE tags (
    tag TEXT NOT NULL,
    job INTEGER NOT NULL,
    PRIMARY KEY (tag, job)
) STRICT, WITHOUT ROWID;

-- What ended badly. An index of what ended well would cost every job, and is not worth it.
CREATE INDEX jobs_dead ON jobs (state, queue, kind) WHERE state = 'discarded' OR state = 'cancelled';
