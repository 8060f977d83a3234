use std::path::Path;

use anyhow::bail;
use serde::{Deserialize, Serialize};
use work_core::store::{Inserted, Inspect, JobFilter, Store, StoredJob};
use work_core::{DEFAULT_MAX_ARGS, Job, JobId, JobState, Queue, Unique};
use work_sqlite::SqliteStore;

use crate::path_text::to_text;
use crate::{Options, Wrong, walk};

/// The queue of the jobs that begin a run.
pub(crate) const WALKS: &str = "walks";

/// One index of one folder. Its jobs have a queue of their own, so that runs do not mix.
pub(crate) struct Run {
    pub(crate) store: SqliteStore,
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
    pub(crate) json: Option<String>,
    /// The job that will write the report.
    pub(crate) report: JobId,
}

impl Run {
    pub(crate) async fn start_or_resume(store: &SqliteStore, root: &Path, options: &Options) -> anyhow::Result<Self> {
        let last = last(store).await?;
        let number = last.as_ref().map_or(1, |(_, plan)| plan.run + 1);
        if let Some((walk, plan)) = last.filter(|(walk, _)| walk.state != JobState::Discarded)
            && !is_reported(store, &plan).await?
        {
            return Self::resume(store, root, walk.job.parts.id, plan);
        }
        let plan = plan(number, root, options);
        // Who starts the same at the same moment gets the same run.
        let job =
            Job::new(walk::KIND, plan).queue(WALKS).max_attempts(3).unique(Unique::while_kept(format!("run {number}")));
        let inserted = store.insert(vec![job.into_stored(DEFAULT_MAX_ARGS)?]).await?;
        let walk = inserted.first().copied().map(Inserted::id).unwrap_or_default();
        match store.get(walk).await? {
            Some(stored) => Self::resume(store, root, walk, serde_json::from_slice(&stored.job.args)?),
            None => bail!("the run that was just started is gone from the store"),
        }
    }

    fn resume(store: &SqliteStore, root: &Path, walk: JobId, plan: Plan) -> anyhow::Result<Self> {
        if plan.root != to_text(root) {
            let store = store.path().display();
            bail!(Wrong(format!(
                "{store} has an unfinished run of {}; finish that one first, or give another --store",
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

fn plan(run: u32, root: &Path, options: &Options) -> Plan {
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let store = whole(&options.store).into_os_string();
    let own = ["", "-wal", "-shm"].map(|end| {
        let mut name = store.clone();
        name.push(end);
        to_text(Path::new(&name))
    });
    let json = options.json.as_deref().map(|path| to_text(&whole(path)));
    Plan {
        run,
        root: to_text(root),
        skip: options.skip.clone(),
        own: own.into_iter().chain(json.clone()).collect(),
        json,
        report: JobId::new(),
    }
}

/// The newest run.
async fn last(store: &SqliteStore) -> anyhow::Result<Option<(StoredJob, Plan)>> {
    let filter = JobFilter { queue: Some(Queue::from_static(WALKS)), ..JobFilter::default() };
    let walk = store.list(filter, None, usize::MAX - 1).await?.jobs.pop();
    Ok(match walk {
        Some(walk) => {
            let plan = serde_json::from_slice(&walk.job.args)?;
            Some((walk, plan))
        }
        None => None,
    })
}

async fn is_reported(store: &SqliteStore, plan: &Plan) -> anyhow::Result<bool> {
    Ok(store.get(plan.report).await?.is_some_and(|report| report.state.is_terminal()))
}
