use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use work_core::JobId;
use work_core::store::Inspect;
use work_postgres::PostgresStore;
use work_sqlite::SqliteStore;

/// Where a child finds its folder; without it, the tests for children do nothing.
const FOLDER: &str = "WORK_WORKFLOW_CRASH";
const SCHEMA: &str = "WORK_WORKFLOW_SCHEMA";
const SERVER: &str = "WORK_TEST_POSTGRES";

/// A folder, and a store: a file in it, or a schema of the server.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    schema: Option<String>,
    _dir: Option<tempfile::TempDir>,
}

impl Place {
    pub(crate) fn on_sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { folder: dir.path().to_owned(), schema: None, _dir: Some(dir) }
    }

    /// None without a server.
    pub(crate) fn on_postgres() -> Option<Self> {
        if std::env::var_os(SERVER).is_none() {
            println!("SKIPPED: {SERVER} is not set; `cargo xtask test test` starts a server and sets it");
            return None;
        }
        Some(Self { schema: Some(format!("t_{}", JobId::new().as_uuid().simple())), ..Self::on_sqlite() })
    }

    /// That of a child; none in a process that is no child.
    pub(crate) fn of_child() -> Option<Self> {
        let folder = std::env::var_os(FOLDER).map(PathBuf::from)?;
        Some(Self { folder, schema: std::env::var(SCHEMA).ok(), _dir: None })
    }

    /// Starts a test of this binary as a child.
    pub(crate) fn start(&self, test: &str, settings: &[(&str, String)]) -> Child {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", test, "--nocapture"]).env(FOLDER, &self.folder);
        self.schema.iter().for_each(|schema| _ = child.env(SCHEMA, schema));
        settings.iter().for_each(|(name, value)| _ = child.env(name, value));
        child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    pub(crate) async fn open(&self) -> Arc<dyn Inspect> {
        match &self.schema {
            None => Arc::new(SqliteStore::open(self.folder.join("jobs.db")).await.unwrap()),
            Some(schema) => {
                let url = std::env::var(SERVER).unwrap();
                let builder = PostgresStore::builder(&url).schema(schema).pool_size(4);
                Arc::new(builder.connect().await.unwrap())
            }
        }
    }

    pub(crate) fn starts(&self) -> Starts {
        Starts(Arc::new(append(&self.folder.join("starts"))))
    }

    /// The lines that were noted.
    pub(crate) fn noted(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("starts")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn append(path: &Path) -> File {
    File::options().create(true).append(true).open(path).unwrap()
}

/// Where every start of a handler is written, before it does anything.
#[derive(Clone)]
pub(crate) struct Starts(Arc<File>);

impl Starts {
    pub(crate) fn note(&self, what: impl std::fmt::Display) {
        // One write of one line, appended: a kill leaves all of it or nothing.
        (&*self.0).write_all(format!("{what}\n").as_bytes()).unwrap();
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
