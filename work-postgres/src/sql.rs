use crate::error::OpenError;

/// The statements of a store, in its schema.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) schema: Schema,
    pub(crate) insert: String,
    pub(crate) lease: String,
    pub(crate) extend: String,
    pub(crate) settle: String,
    pub(crate) refuse: String,
    pub(crate) rescue: String,
    pub(crate) cancel: String,
    pub(crate) retry: String,
    pub(crate) get: String,
    pub(crate) list: String,
    pub(crate) counts: String,
    pub(crate) attempts: String,
}

impl Sql {
    pub(crate) fn new(schema: Schema) -> Self {
        let sql = |text: &str| schema.in_sql(text);
        Self {
            insert: sql("SELECT * FROM work.insert_jobs($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"),
            lease: sql("SELECT * FROM work.lease($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"),
            extend: sql("SELECT * FROM work.extend($1, $2, $3, $4)"),
            settle: sql("SELECT * FROM work.settle($1, $2, $3, $4, $5, $6, $7, $8, $9)"),
            refuse: sql("SELECT FROM work.refuse($1, $2, $3, $4)"),
            rescue: sql("SELECT * FROM work.rescue($1, $2, $3, $4)"),
            cancel: sql("SELECT * FROM work.cancel($1, $2)"),
            retry: sql("SELECT * FROM work.retry($1, $2, $3)"),
            get: sql(&format!("SELECT {COLUMNS} FROM work.all_jobs WHERE id = $1 LIMIT 1")),
            list: sql(&list()),
            counts: sql(&format!("SELECT state, count(*) FROM work.all_jobs WHERE {FILTER} GROUP BY state")),
            attempts: sql("SELECT job, attempt, status, message, backtrace, at FROM work.attempts
                WHERE job = ANY($1) ORDER BY job, n"),
            schema,
        }
    }
}

/// As `lease` answers them, and then what only people look at.
const COLUMNS: &str = "seq, id, kind, args, queue, priority, scheduled_at, created_at, attempt, max_attempts, fence,
    timeout_ms, expires_at, unique_key, unique_scope, headers, state, crashes, status, output, finished_at";

const FILTER: &str = "($1::text IS NULL OR queue = $1) AND ($2::text IS NULL OR kind = $2)
    AND ($3::text IS NULL OR state = $3)";

/// Each table by itself first, so that the long one is read by its index.
fn list() -> String {
    let rows =
        COLUMNS.replace("output", "NULL::bytea AS output").replace("finished_at", "NULL::timestamptz AS finished_at");
    let page = format!("WHERE {FILTER} AND seq > $4 ORDER BY seq LIMIT $5");
    format!(
        "(SELECT {rows} FROM work.jobs {page}) UNION ALL (SELECT {COLUMNS} FROM work.history {page}) ORDER BY seq LIMIT $5"
    )
}

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
            return Err(OpenError::InvalidSchema { given: name.chars().take(80).collect() });
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
