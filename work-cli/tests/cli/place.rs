use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use work_core::store::{ErrorRecord, Inspect, NewJob, Settle, Settlement, Store, Want};
use work_core::{DEFAULT_MAX_ARGS, Job, JobId, Queue, Status};
use work_sqlite::SqliteStore;

/// A folder with a store in it.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
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
    /// With an empty store.
    pub(crate) fn new() -> Self {
        let place = Self::without_store();
        place.work(&["migrate"]).ok();
        place
    }

    pub(crate) fn without_store() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("jobs.db")
    }

    /// The command with this store, and no setting of the environment that the tests run in.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_work"));
        for name in ["DATABASE_URL", "NO_COLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        command.args(args).env("WORK_STORE", format!("sqlite:{}", self.file().display()));
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn work(&self, args: &[&str]) -> Said {
        said(self.command(args))
    }

    pub(crate) async fn store(&self) -> SqliteStore {
        SqliteStore::open(self.file()).await.unwrap()
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
