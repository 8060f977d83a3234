use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use work_core::store::Store;
use work_core::{Args, Classify, DEFAULT_MAX_ARGS, IntoOutcome, Job, Outcome, State, Unique};

use crate::path_text::{to_path, to_text};
use crate::run::Plan;
use crate::{App, file, report};

pub(crate) const KIND: &str = "walk";

/// Files that go to the store at once.
const BATCH: usize = 500;

/// Makes one job for each file, and the job that reports on all of them.
///
/// If it is interrupted it walks again: what it made before is there already, under the same key.
pub(crate) async fn walk(Args(plan): Args<Plan>, State(app): State<App>) -> Outcome {
    match make_jobs(&plan, &app).await {
        Ok(()) => {
            // After every file that waits: priority 9 is the last.
            let report = Job::new(report::KIND, plan.clone()).with_id(plan.report).queue(plan.queue()).priority(9);
            Outcome::done().then(report)
        }
        Err(error) => Err::<(), _>(error).retryable().into_outcome(),
    }
}

async fn make_jobs(plan: &Plan, app: &App) -> anyhow::Result<()> {
    let (sender, mut found) = mpsc::channel(4);
    let walker = Walker {
        skip: plan.skip.iter().map(|name| to_path(name).into_os_string()).collect(),
        own: plan.own.iter().map(|own| to_path(own)).collect(),
        batch: Vec::new(),
        sender,
    };
    let root = to_path(&plan.root);
    let walking = tokio::task::spawn_blocking(move || walker.run(root));
    while let Some(batch) = found.recv().await {
        let jobs: Result<_, _> = batch.iter().map(|path| job(plan, path).into_stored(DEFAULT_MAX_ARGS)).collect();
        app.store.insert(jobs?).await?;
    }
    walking.await?;
    Ok(())
}

fn job(plan: &Plan, path: &Path) -> Job {
    let path = to_text(path);
    let digest = hex(&Sha256::digest(&path));
    let key = Unique::while_kept(format!("{} {digest}", plan.queue()));
    Job::new(file::KIND, path).queue(plan.queue()).max_attempts(3).unique(key)
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Goes through a folder on a thread that may block, and hands on what it finds in batches.
struct Walker {
    skip: HashSet<OsString>,
    own: HashSet<PathBuf>,
    batch: Vec<PathBuf>,
    sender: mpsc::Sender<Vec<PathBuf>>,
}

impl Walker {
    /// Finds what `find -type f` finds. A folder that cannot be read is passed on as if it were a file, so that it ends
    /// among the dead letters with its reason.
    fn run(mut self, root: PathBuf) {
        let mut folders = vec![root];
        while let Some(folder) = folders.pop() {
            if self.read(&folder, &mut folders).is_err() {
                self.found(folder);
            }
        }
        self.send();
    }

    fn read(&mut self, folder: &Path, folders: &mut Vec<PathBuf>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if self.skip.contains(&entry.file_name()) || self.is_own(&path) {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(kind) if !kind.is_file() => {}
                // Its job finds out why its kind is not known.
                Ok(_) | Err(_) => self.found(path),
            }
        }
        Ok(())
    }

    /// True for what this program writes itself, and for `FILE.PID.part`, which becomes the report.
    fn is_own(&self, path: &Path) -> bool {
        let whole = || path.with_extension("").with_extension("");
        self.own.contains(path) || (path.extension().is_some_and(|end| end == "part") && self.own.contains(&whole()))
    }

    fn found(&mut self, path: PathBuf) {
        self.batch.push(path);
        if self.batch.len() >= BATCH {
            self.send();
        }
    }

    fn send(&mut self) {
        // Nobody receives if the job was cancelled: then nobody wants the rest.
        let _ = self.sender.blocking_send(std::mem::take(&mut self.batch));
    }
}
