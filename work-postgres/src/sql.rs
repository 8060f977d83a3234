use crate::error::OpenError;

/// The statements of a store, in its schema.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) schema: Schema,
    pub(crate) insert: String,
    pub(crate) accept: String,
    pub(crate) known: String,
    pub(crate) insert_and_lease: String,
    pub(crate) lease: String,
    pub(crate) extend: String,
    pub(crate) settle: String,
    pub(crate) completed: String,
    pub(crate) refuse: String,
    pub(crate) rescue: String,
    pub(crate) take_back: String,
    pub(crate) cancel: String,
    pub(crate) retry: String,
    pub(crate) get: String,
    pub(crate) attempts: String,
    pub(crate) stop_requests: String,
    pub(crate) set_progress: String,
    pub(crate) beat: String,
    pub(crate) leave: String,
    pub(crate) workers: String,
    pub(crate) prune: String,
    pub(crate) pause: String,
    pub(crate) resume: String,
    pub(crate) declare_limit: String,
    pub(crate) limit_queue: String,
    pub(crate) queues_of_keys: String,
    pub(crate) keep: String,
    pub(crate) release: String,
    pub(crate) declare_rate: String,
    pub(crate) rate_queue: String,
    pub(crate) bound_queue: String,
    pub(crate) run_now: String,
    pub(crate) edit: String,
    pub(crate) delete: String,
    pub(crate) retry_all: String,
    pub(crate) put_schedule: String,
    pub(crate) schedules: String,
    pub(crate) pass: String,
    pub(crate) note_last: String,
    pub(crate) pause_schedule: String,
    pub(crate) resume_schedule: String,
    pub(crate) remove_schedule: String,
}

impl Sql {
    pub(crate) fn new(schema: Schema) -> Self {
        let sql = |text: &str| schema.in_sql(text);
        Self {
            insert: sql(
                "SELECT * FROM work.insert_jobs($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
            ),
            accept: sql(&format!("{ACCEPTED} SELECT * FROM accepted")),
            known: sql("SELECT id FROM work.jobs WHERE id = ANY ($1) UNION ALL SELECT id FROM work.history WHERE id = ANY ($1)"),
            // One after the other: each function sees what those before it did.
            insert_and_lease: sql(&format!("{ACCEPTED} SELECT NULL::bigint, NULL::uuid, NULL::text, NULL::bytea, NULL::text, NULL::smallint,
                NULL::timestamptz, NULL::timestamptz, NULL::integer, NULL::integer, NULL::bigint, NULL::bigint,
                NULL::timestamptz, NULL::text, NULL::smallint, NULL::text, NULL::text, NULL::integer, NULL::timestamptz,
                NULL::boolean, place, holder
                FROM accepted
                UNION ALL SELECT l.*, NULL, NULL FROM work.lease($17, $18, $19, $20, $21, $16, NULL, NULL, NULL, NULL, $22, $23) AS l")),
            lease: sql("SELECT * FROM work.lease($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"),
            extend: sql("SELECT * FROM work.extend($1, $2, $3, $4)"),
            settle: sql("SELECT * FROM work.settle($1, $2, $3, $4, $5, $6, $7, $8, $9)"),
            completed: sql("SELECT h.id FROM unnest($1, $2) AS d (id, fence) JOIN work.history h
                ON h.id = d.id AND h.fence = d.fence AND h.state = 'completed'"),
            refuse: sql("SELECT * FROM work.refuse($1, $2, $3, $4)"),
            rescue: sql("SELECT * FROM work.rescue($1, $2, $3, $4, $5)"),
            take_back: sql("SELECT * FROM work.take_back($1, $2)"),
            cancel: sql("SELECT * FROM work.cancel($1, $2)"),
            retry: sql("SELECT * FROM work.retry($1, $2, $3)"),
            get: sql(&format!("SELECT {COLUMNS} FROM work.all_jobs WHERE id = $1 LIMIT 1")),
            attempts: sql("SELECT job, attempt, status, message, backtrace, at FROM work.attempts
                WHERE job = ANY($1) ORDER BY job, n"),
            stop_requests: sql("SELECT * FROM work.stop_requests()"),
            set_progress: sql("SELECT FROM work.set_progress($1, $2, $3, $4)"),
            beat: sql("SELECT FROM work.beat($1, $2, $3, $4, $5, $6, $7, $8, $9)"),
            leave: sql("DELETE FROM work.workers WHERE id = $1"),
            workers: sql("SELECT id, host, pid, version, queues, slots, running, started_at, last_beat
                FROM work.workers
                WHERE last_beat >= coalesce($1, clock_timestamp()) - $2 * interval '1 microsecond' ORDER BY id"),
            prune: sql("SELECT * FROM work.prune($1, $2, $3, $4, $5)"),
            pause: sql("INSERT INTO work.paused (queue, at) VALUES ($1, coalesce($2, clock_timestamp()))
                ON CONFLICT DO NOTHING RETURNING queue"),
            resume: sql("DELETE FROM work.paused WHERE queue = $1 RETURNING queue"),
            declare_limit: sql("SELECT work.declare_limit($1, $2)"),
            limit_queue: sql("SELECT work.limit_queue($1, $2)"),
            queues_of_keys: sql("SELECT q FROM work.queues_of_keys($1, $2) AS q"),
            keep: sql("INSERT INTO work.kept (prefix) VALUES ($1) ON CONFLICT DO NOTHING RETURNING prefix"),
            release: sql("DELETE FROM work.kept WHERE prefix = $1 RETURNING prefix"),
            declare_rate: sql("SELECT * FROM work.declare_rate($1, $2, $3, $4, $5, $6)"),
            rate_queue: sql("SELECT * FROM work.rate_queue($1, $2, $3, $4, $5, $6)"),
            bound_queue: sql("SELECT work.bound_queue($1, $2)"),
            run_now: sql("SELECT * FROM work.run_now($1, $2)"),
            edit: sql("SELECT work.edit($1, $2)"),
            delete: sql("SELECT * FROM work.delete($1)"),
            retry_all: sql("SELECT r FROM unnest($1) AS d (id) CROSS JOIN LATERAL work.retry(d.id, $2, $3) AS r"),
            put_schedule: sql("SELECT FROM work.put_schedule($1, $2, $3, $4, $5, $6, $7, $8, $9)"),
            schedules: sql(
                "SELECT name, kind, args, queue, options, schedule, overlap, catch_up, paused_at, created_at,
                last_slot, last_job FROM work.schedules ORDER BY name",
            ),
            pass: sql("SELECT * FROM work.pass($1, $2, $3)"),
            note_last: sql("UPDATE work.schedules SET last_job = $2 WHERE name = $1"),
            pause_schedule: sql("UPDATE work.schedules SET paused_at = coalesce($2, clock_timestamp())
                WHERE name = $1 AND paused_at IS NULL RETURNING name"),
            resume_schedule: sql("UPDATE work.schedules
                SET paused_at = NULL, last_slot = greatest(last_slot, coalesce($2, clock_timestamp()))
                WHERE name = $1 AND paused_at IS NOT NULL RETURNING name"),
            remove_schedule: sql("DELETE FROM work.schedules WHERE name = $1 RETURNING name"),
            schema,
        }
    }
}

/// Jobs that were inserted, if they fit into their queues.
const ACCEPTED: &str = "WITH made AS MATERIALIZED (SELECT * FROM work.insert_jobs($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)),
    accepted AS MATERIALIZED (SELECT * FROM made
        UNION ALL SELECT * FROM work.check_capacities($1, $4, (SELECT array_agg(place) FROM made)))";

/// As `lease` answers them, and then what only people look at.
pub(crate) const COLUMNS: &str =
    "seq, id, kind, args, queue, priority, scheduled_at, created_at, attempt, max_attempts,
    fence, timeout_ms, expires_at, unique_key, unique_scope, headers, tags, state, crashes, status, output, finished_at,
    worker, lease_until, cancel_requested, progress, progress_at";

/// The name of a schema, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schema(String);

/// So long that the channel of notifications is a name for Postgres too.
const MAX_SCHEMA: usize = 48;

impl Schema {
    pub(crate) fn new(name: &str) -> Result<Self, OpenError> {
        let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') && !name.starts_with("pg_");
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !starts_well || name.len() > MAX_SCHEMA || !name.chars().all(allowed) {
            return Err(OpenError::InvalidSchema { given: work_core::cut(name) });
        }
        Ok(Self(name.to_owned()))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Where notifications of this schema go.
    pub(crate) fn channel(&self) -> String {
        format!("work:{}", self.0)
    }

    /// SQL that is written for a schema `work`.
    pub(crate) fn in_sql(&self, sql: &str) -> String {
        sql.replace("work.", &format!("\"{}\".", self.0)).replace("work_channel", &format!("'{}'", self.channel()))
    }
}
