use std::path::{Path, PathBuf};

use anyhow::bail;
use serde::{Deserialize, Serialize};
use work_core::store::{Inserted, Inspect, JobFilter, Order, Store, StoredJob};
use work_core::{DEFAULT_MAX_ARGS, Job, JobId, JobState, Queue, Unique};

use crate::path_text::to_text;
use crate::watched::Watched;
use crate::{Options, Wrong, walk};

/// The queue of the jobs that begin a run.
pub(crate) const WALKS: &str = "walks";

/// One index of one folder. Its jobs have a queue of their own, so that runs do not mix.
pub(crate) struct Run {
    pub(crate) store: Watched,
    pub(crate) plan: Plan,
    /// The job that walks the folder.
    pub(crate) walk: JobId,
}

/// What a run is to do: the arguments of its first job, and all there is to know for who resumes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) run: u32,
    pub(crate) root: String,
    pub(crate) skip: Vec<String>,
    /// Files that the program itself writes.
    pub(crate) own: Vec<String>,
    /// The job that will write the report.
    pub(crate) report: JobId,
}

impl Run {
    pub(crate) async fn start_or_resume(store: &Watched, root: &Path, options: &Options) -> anyhow::Result<Self> {
        let last = last(store).await?;
        let number = last.as_ref().map_or(1, |(_, plan)| plan.run + 1);
        if let Some((walk, plan)) = last.filter(|(walk, _)| !failed(walk))
            && !is_reported(store, &plan).await?
        {
            return Self::resume(store, root, options, walk.job.parts.id, plan);
        }
        let plan = plan(number, root, options)?;
        // Who starts the same at the same moment gets the same run.
        let job =
            Job::new(walk::KIND, plan).queue(WALKS).max_attempts(3).unique(Unique::while_kept(format!("run {number}")));
        let inserted = store.insert(vec![job.into_stored(DEFAULT_MAX_ARGS)?]).await?;
        let walk = inserted.first().copied().map(Inserted::id).unwrap_or_default();
        match store.get(walk).await? {
            Some(stored) => Self::resume(store, root, options, walk, serde_json::from_slice(&stored.job.args)?),
            None => bail!("the run that was just started is gone from the store"),
        }
    }

    fn resume(store: &Watched, root: &Path, options: &Options, walk: JobId, plan: Plan) -> anyhow::Result<Self> {
        let shown = options.store.display();
        if plan.root != to_text(root) {
            bail!(Wrong(format!(
                "{shown} has an unfinished run of {}, not of {}; finish that one first, or give another --store",
                plan.root,
                to_text(root)
            )));
        }
        if plan.skip != skipped(options) {
            let skip: String = plan.skip.iter().map(|name| format!(" --skip {name}")).collect();
            let skip = if skip.is_empty() { " no --skip" } else { &skip };
            bail!(Wrong(format!(
                "{shown} has an unfinished run of {} with{skip}; finish that one first, or give another --store",
                plan.root
            )));
        }
        Ok(Self { store: store.clone(), plan, walk })
    }

    pub(crate) fn queue(&self) -> String {
        self.plan.queue()
    }
}

impl Plan {
    pub(crate) fn queue(&self) -> String {
        format!("run.{}", self.run)
    }
}

fn plan(run: u32, root: &Path, options: &Options) -> anyhow::Result<Plan> {
    let own = own(options)?;
    let own = own.iter().map(|path| to_text(path)).collect();
    Ok(Plan { run, root: to_text(root), skip: skipped(options), own, report: JobId::new() })
}

/// Checks where the report is to go, before any work is done for it.
pub(crate) fn check_json(options: &Options) -> anyhow::Result<()> {
    let Some(json) = &options.json else { return Ok(()) };
    let shown = json.display();
    if json.is_dir() {
        bail!(Wrong(format!("{shown}: this is a folder; give --json the path of a file")));
    }
    if json.exists() && !json.is_file() {
        bail!(Wrong(format!("{shown}: this is no regular file; give --json another path")));
    }
    let whole = whole(json).map_err(|error| Wrong(format!("{shown}: the folder of --json: {error}")))?;
    // A store that has no folder is refused when it is opened.
    if store_files(options).is_ok_and(|files| files.contains(&whole)) {
        bail!(Wrong(format!("{shown}: this is the store; give --json another path")));
    }
    Ok(())
}

/// Files that the program itself writes, as the walk will meet them.
fn own(options: &Options) -> anyhow::Result<Vec<PathBuf>> {
    let mut own = store_files(options)?;
    if let Some(json) = &options.json {
        own.push(whole(json)?);
    }
    Ok(own)
}

/// The store and what SQLite keeps beside it.
fn store_files(options: &Options) -> anyhow::Result<Vec<PathBuf>> {
    let store = whole(&options.store)?.into_os_string();
    let ends = ["", "-wal", "-shm", "-journal"].into_iter();
    let name = |end| {
        let mut name = store.clone();
        name.push(end);
        PathBuf::from(name)
    };
    Ok(ends.map(name).collect())
}

/// The path without links and `..`, also of a file that is not there yet: the walk starts from such a path.
fn whole(path: &Path) -> std::io::Result<PathBuf> {
    if let Ok(whole) = path.canonicalize() {
        return Ok(whole);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.canonicalize()?;
    Ok(path.file_name().map_or_else(|| folder.clone(), |name| folder.join(name)))
}

fn skipped(options: &Options) -> Vec<String> {
    options.skip.iter().map(|name| to_text(Path::new(name))).collect()
}

/// The newest run.
async fn last(store: &Watched) -> anyhow::Result<Option<(StoredJob, Plan)>> {
    let filter = JobFilter::all().queue(Queue::from_static(WALKS));
    let (mut newest, mut after) = (None, None);
    while newest.is_none() {
        let mut page = store.list(filter.clone(), Order::NewestFirst, after, 1).await?;
        newest = page.jobs.pop();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let Some(walk) = newest else { return Ok(None) };
    let plan = serde_json::from_slice(&walk.job.args)?;
    Ok(Some((walk, plan)))
}

/// True if the walk ended in any other way than well: no report will ever come of it.
fn failed(walk: &StoredJob) -> bool {
    walk.state.is_terminal() && walk.state != JobState::Completed
}

async fn is_reported(store: &Watched, plan: &Plan) -> anyhow::Result<bool> {
    Ok(store.get(plan.report).await?.is_some_and(|report| report.state.is_terminal()))
}
