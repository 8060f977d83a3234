use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use work_core::store::{ErrorRecord, Inspect, NewJob, Settle, Settlement, Want};
use work_core::{DEFAULT_MAX_ARGS, Job, JobId, Queue, Status};
use work_postgres::PostgresStore;
use work_sqlite::SqliteStore;

/// A folder, and a store: in it, or on a server.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    server: Option<Server>,
}

/// A schema of a server.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) schema: String,
}

/// Which kind of store these tests are about: each is built once for each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    #[allow(dead_code, reason = "of one of the two")]
    Postgres,
}

/// How a call ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// The lines of the answer, each of which is JSON.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
    }

    /// The same, after it was checked that all went well.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// The same, after it was checked that it ended so, and why.
    pub(crate) fn refused(self, code: i32, why: &str) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(why), "{self:?} lacks {why:?}");
        self
    }
}

impl Place {
    /// With an empty store; nothing where there is no server.
    pub(crate) fn new() -> Option<Self> {
        let place = Self::without_store()?;
        place.work(&["migrate"]).ok();
        Some(place)
    }

    pub(crate) fn without_store() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        if crate::KIND == Kind::Sqlite {
            return Some(Self { dir, server: None });
        }
        let Ok(url) = std::env::var("WORK_TEST_POSTGRES") else {
            eprintln!("SKIPPED: WORK_TEST_POSTGRES is not set; `cargo xtask test` sets it");
            return None;
        };
        let schema = format!("t_{}", JobId::new().as_uuid().simple());
        Some(Self { dir, server: Some(Server { url, schema }) })
    }

    /// Where the store is, if it is on a server.
    #[allow(dead_code, reason = "of one of the two")]
    pub(crate) const fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// What the command is told by `WORK_STORE`.
    pub(crate) fn url(&self) -> String {
        self.server.as_ref().map_or_else(|| format!("sqlite:{}", self.file().display()), |server| server.url.clone())
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("jobs.db")
    }

    /// The command with this store, and no setting of the environment that the tests run in.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_work"));
        for name in
            ["DATABASE_URL", "NO_COLOR", "CLICOLOR_FORCE", "WORK_DASHBOARD_TOKEN", "WORK_DASHBOARD_READ_ONLY_TOKEN"]
        {
            command.env_remove(name);
        }
        command.args(args).env("WORK_STORE", self.url());
        if let Some(server) = &self.server {
            command.args(["--schema", &server.schema]);
        }
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn work(&self, args: &[&str]) -> Said {
        said(self.command(args))
    }

    pub(crate) async fn store(&self) -> Arc<dyn Inspect> {
        match &self.server {
            None => Arc::new(SqliteStore::open(self.file()).await.unwrap()),
            Some(Server { url, schema }) => {
                Arc::new(PostgresStore::builder(url).schema(schema).connect().await.unwrap())
            }
        }
    }

    pub(crate) async fn insert(&self, jobs: Vec<Job>) -> Vec<JobId> {
        let jobs: Vec<NewJob> = jobs.into_iter().map(|job| job.into_stored(DEFAULT_MAX_ARGS).unwrap()).collect();
        self.store().await.insert(jobs).await.unwrap().into_iter().map(work_core::store::Inserted::id).collect()
    }

    /// Takes this job, so that it runs.
    pub(crate) async fn lease(&self, id: JobId) -> work_core::store::LeaseKey {
        let store = self.store().await;
        let queue = store.get(id).await.unwrap().unwrap().job.parts.queue;
        let want = Want {
            queues: vec![queue],
            limit: 100,
            lease_for: Duration::from_secs(600),
            worker: "w".into(),
            ..Want::default()
        };
        let leased = store.lease(want).await.unwrap().jobs;
        assert_eq!(leased.len(), 1, "keep each job that is to run in a queue of its own");
        assert_eq!(leased[0].key.id, id);
        leased[0].key
    }

    /// A dead letter, in a queue of its own.
    pub(crate) async fn dead_letter(&self, queue: &str, error: &str) -> JobId {
        let job = Job::new("mail", serde_json::json!({ "user": { "id": 7, "name": "Ann" } })).queue(queue.to_owned());
        self.dead(job, error).await
    }

    pub(crate) async fn dead(&self, job: Job, error: &str) -> JobId {
        let id = self.insert(vec![job]).await[0];
        let key = self.lease(id).await;
        let (status, error) = (Status::new(500).unwrap(), Some(ErrorRecord::new(error)));
        let done = Settle { key, status, settlement: Settlement::Discard, error, then: Vec::new() };
        self.store().await.settle(vec![done]).await.unwrap();
        id
    }

    pub(crate) async fn state(&self, id: JobId) -> String {
        let job = self.store().await.get(id).await.unwrap();
        job.map_or_else(|| "gone".to_owned(), |job| job.state.to_string())
    }

    pub(crate) async fn pause(&self, queue: &'static str) {
        self.store().await.pause(Queue::from(queue)).await.unwrap();
    }
}

pub(crate) fn said(mut command: Command) -> Said {
    let output = command.output().unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
