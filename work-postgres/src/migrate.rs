use tokio_postgres::{Client, Error, IsolationLevel, Transaction};

use crate::error::{OpenError, in_full};
use crate::open::Durability;
use crate::sql::Schema;

/// The schema, one step for each version. A step that was released is never edited.
const STEPS: &[&str] = &[
    include_str!("sql/1_jobs.sql"),
    include_str!("sql/2_operate.sql"),
    include_str!("sql/3_queues.sql"),
    include_str!("sql/4_rates.sql"),
    include_str!("sql/5_capacities.sql"),
];

/// What is replaced after every step: functions and the view, which hold nothing.
const FUNCTIONS: &str = concat!(
    include_str!("sql/functions/rates.sql"),
    include_str!("sql/functions/run.sql"),
    include_str!("sql/functions/capacities.sql"),
    include_str!("sql/functions/insert.sql"),
    include_str!("sql/functions/operate.sql")
);

/// The newest version that this program knows.
pub(crate) const VERSION: i64 = STEPS.len() as i64;

/// The tables, and the indexes that are more than a short way.
const NEEDED: &[&str] = &[
    "jobs",
    "history",
    "attempts",
    "tags",
    "paused",
    "workers",
    "schedules",
    "limits",
    "rates",
    "permits",
    "kept",
    "capacities",
    "jobs_ready",
    "jobs_leases",
    "jobs_unique",
    "jobs_after",
];

/// What is opened.
pub(crate) struct Target<'t> {
    pub(crate) server: &'t str,
    pub(crate) schema: &'t Schema,
    pub(crate) durability: Durability,
}

impl Target<'_> {
    /// Checks the server, and brings the schema to our version.
    pub(crate) async fn open(&self, client: &mut Client) -> Result<(), OpenError> {
        self.check_server(client).await?;
        self.check_durability(client).await?;
        if self.version(client).await? != VERSION {
            self.migrate(client).await?;
        }
        self.check_tables(client).await
    }

    pub(crate) fn other(&self, error: &Error) -> OpenError {
        OpenError::Other { server: self.server.to_owned(), source: in_full(error).into() }
    }

    async fn setting(&self, client: &Client, name: &str) -> Result<String, OpenError> {
        let row = client.query_one("SELECT current_setting($1)", &[&name]).await;
        row.and_then(|row| row.try_get(0)).map_err(|error| self.other(&error))
    }

    /// What every use of a server needs.
    pub(crate) async fn check_server(&self, client: &Client) -> Result<(), OpenError> {
        let server = self.server.to_owned();
        let number = self.setting(client, "server_version_num").await?;
        if number.parse::<u32>().is_ok_and(|number| number < 150_000) {
            return Err(OpenError::OldServer { server, found: self.setting(client, "server_version").await? });
        }
        let found = self.setting(client, "server_encoding").await?;
        if found != "UTF8" {
            return Err(OpenError::NotUtf8 { server, found });
        }
        // A replica says so too.
        if self.setting(client, "transaction_read_only").await? != "off" {
            return Err(OpenError::ReadOnly { server });
        }
        Ok(())
    }

    async fn check_durability(&self, client: &Client) -> Result<(), OpenError> {
        // With `synchronous_commit = off`, what was accepted dies with the server's process.
        let settings: &[(&'static str, &'static str)] = match self.durability {
            Durability::PowerLoss => &[("synchronous_commit", "on"), ("fsync", "on"), ("full_page_writes", "on")],
            Durability::ProcessDeath => &[("synchronous_commit", "on")],
        };
        for (setting, needed) in settings {
            let found = self.setting(client, setting).await?;
            // `local`, `remote_write` and `remote_apply` differ in what replicas have got.
            if found == "off" {
                return Err(OpenError::NotDurable { server: self.server.to_owned(), setting, found, needed });
            }
        }
        Ok(())
    }

    /// Tables without a log are empty after a crash.
    async fn check_tables(&self, client: &Client) -> Result<(), OpenError> {
        let unlogged = "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relpersistence <> 'p'
            AND relnamespace = to_regnamespace($1) AND relname IN ('jobs', 'history', 'attempts', 'tags', 'schedules')";
        let row = client.query_opt(unlogged, &[&self.schema.name()]).await.map_err(|error| self.other(&error))?;
        match row {
            Some(row) => Err(OpenError::NotDurable {
                server: self.server.to_owned(),
                setting: "the persistence of a table",
                found: format!("{} UNLOGGED", row.get::<_, &str>(0)),
                needed: "LOGGED",
            }),
            None => self.check_all_there(client).await,
        }
    }

    /// Without an index of unique keys, say, there would be two jobs of one key, and nobody would be told.
    async fn check_all_there(&self, client: &Client) -> Result<(), OpenError> {
        let missing = "SELECT name FROM unnest($2::text[]) AS name WHERE NOT EXISTS (
            SELECT FROM pg_class WHERE relname = name AND relnamespace = to_regnamespace($1)) LIMIT 1";
        let row =
            client.query_opt(missing, &[&self.schema.name(), &NEEDED]).await.map_err(|error| self.other(&error))?;
        let Some(row) = row else { return Ok(()) };
        let (server, schema) = (self.server.to_owned(), self.schema.name().to_owned());
        Err(OpenError::Incomplete { server, schema, missing: row.try_get(0).map_err(|error| self.other(&error))? })
    }

    /// The version in the database, 0 if there is none. Refuses a schema of a newer program, and one of another program.
    async fn version(&self, client: &impl tokio_postgres::GenericClient) -> Result<i64, OpenError> {
        let (server, schema) = (self.server.to_owned(), self.schema.name().to_owned());
        // In one look: another process may migrate in between, and both tables come with one commit.
        let tables = "SELECT count(*) FILTER (WHERE relname = 'jobs'), count(*) FILTER (WHERE relname = 'work_schema')
            FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = to_regnamespace($1)";
        let row = client.query_one(tables, &[&schema]).await.map_err(|error| self.other(&error))?;
        let (jobs, versions): (i64, i64) = (row.get(0), row.get(1));
        if versions == 0 {
            return if jobs > 0 { Err(OpenError::Foreign { server, schema }) } else { Ok(0) };
        }
        let sql = self.schema.in_sql("SELECT coalesce(max(version), 0)::bigint FROM work.work_schema");
        let found = client.query_one(&sql, &[]).await.and_then(|row| row.try_get(0));
        match found.map_err(|error| self.other(&error))? {
            found if found > VERSION => Err(OpenError::NewerSchema { server, schema, found, known: VERSION }),
            found => Ok(found),
        }
    }

    /// Any number of processes may do so at once: they wait for each other, and the second finds nothing to do.
    async fn migrate(&self, client: &mut Client) -> Result<(), OpenError> {
        let builder = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted);
        let transaction = builder.start().await.map_err(|error| self.other(&error))?;
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended('work:' || $1, 0))";
        transaction.query_one(lock, &[&self.schema.name()]).await.map_err(|error| self.other(&error))?;
        let found = self.version(&transaction).await?;
        self.run(&transaction, usize::try_from(found).unwrap_or_default()).await.map_err(|error| self.other(&error))?;
        transaction.commit().await.map_err(|error| self.other(&error))
    }

    async fn run(&self, transaction: &Transaction<'_>, from: usize) -> Result<(), Error> {
        if from == STEPS.len() {
            return Ok(());
        }
        let schema = self.schema.name();
        transaction.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\"")).await?;
        transaction
            .batch_execute(&self.schema.in_sql("CREATE TABLE IF NOT EXISTS work.work_schema (version bigint NOT NULL)"))
            .await?;
        for step in STEPS.iter().skip(from) {
            transaction.batch_execute(&self.schema.in_sql(step)).await?;
        }
        transaction.batch_execute(&self.schema.in_sql(FUNCTIONS)).await?;
        let version = "DELETE FROM work.work_schema; INSERT INTO work.work_schema (version) VALUES ";
        transaction.batch_execute(&self.schema.in_sql(&format!("{version} ({VERSION})"))).await
    }
}
