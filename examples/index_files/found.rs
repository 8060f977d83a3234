use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use serde::Serialize;
use work_core::store::{Inspect, JobFilter, Order, StoredJob};
use work_core::{JobState, Kind, Queue, Status};

use crate::file::{self, Facts};
use crate::report::Summary;
use crate::run::Plan;
use crate::watched::Watched;

/// Everything that the jobs of a run found, sorted by path: the jobs arrived in the order of the walk, which is the
/// file system's.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Found {
    /// What could be indexed.
    pub(crate) files: Vec<Facts>,
    /// What could not.
    pub(crate) dead_letters: Vec<NotIndexed>,
    /// What somebody cancelled.
    pub(crate) cancelled: Vec<NotIndexed>,
}

/// A file that could not be indexed.
#[derive(Debug, Serialize)]
pub(crate) struct NotIndexed {
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) reason: String,
}

/// The whole report, for `--json`.
#[derive(Debug, Serialize)]
struct Everything<'r> {
    #[serde(flatten)]
    summary: &'r Summary,
    duplicates: Vec<&'r [&'r str]>,
    #[serde(flatten)]
    found: &'r Found,
}

/// The jobs of the files of a run.
pub(crate) fn of_files(plan: &Plan) -> JobFilter {
    let (queue, kind) = (Queue::from(plan.queue()), Kind::from_static(file::KIND));
    JobFilter::all().queue(queue).kind(kind)
}

impl Found {
    /// Reads the outputs of a run, page by page.
    pub(crate) async fn read(store: &Watched, plan: &Plan) -> anyhow::Result<Self> {
        let (mut found, mut after) = (Self::default(), None);
        loop {
            let page = store.list(of_files(plan), Order::OldestFirst, after, 5_000).await?;
            for job in &page.jobs {
                found.add(job)?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        found.files.sort_by(|a, b| a.path.cmp(&b.path));
        found.dead_letters.sort_by(|a, b| a.path.cmp(&b.path));
        found.cancelled.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    fn add(&mut self, job: &StoredJob) -> anyhow::Result<()> {
        match (job.state, &job.output) {
            (JobState::Completed, Some(facts)) => self.files.push(serde_json::from_slice(facts)?),
            (JobState::Cancelled, _) => self.cancelled.push(not_indexed(job)),
            _ => self.dead_letters.push(not_indexed(job)),
        }
        Ok(())
    }

    /// Paths of files of the same content, without empty ones: the largest files first.
    pub(crate) fn duplicates(&self) -> Vec<(u64, Vec<&str>)> {
        let mut same = BTreeMap::<(u64, &str), Vec<&str>>::new();
        for file in self.files.iter().filter(|file| file.bytes > 0) {
            same.entry((file.bytes, &file.sha256)).or_default().push(&file.path);
        }
        let groups = same.into_iter().rev().filter(|(_, paths)| paths.len() > 1);
        groups.map(|((bytes, _), paths)| (bytes, paths)).collect()
    }

    /// Writes all of it, whole or not at all: the file appears under its name when it is complete.
    pub(crate) fn write_json(&self, summary: &Summary, path: &Path) -> anyhow::Result<()> {
        let mut part = path.to_owned().into_os_string();
        // Another process may write the same report at the same time.
        part.push(format!(".{}.part", std::process::id()));
        let groups = self.duplicates();
        let duplicates = groups.iter().map(|(_, paths)| paths.as_slice()).collect();
        let written = write(Path::new(&part), &Everything { summary, duplicates, found: self })
            .and_then(|()| Ok(std::fs::rename(&part, path)?));
        if written.is_err() {
            // What is half written is no use; the error to show is the first one.
            let _ = std::fs::remove_file(&part);
        }
        written
    }
}

fn write(path: &Path, everything: &Everything<'_>) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    serde_json::to_writer_pretty(&mut file, everything)?;
    file.flush()?;
    Ok(file.get_ref().sync_all()?)
}

fn not_indexed(job: &StoredJob) -> NotIndexed {
    let reason = job.last_error().map_or("no reason was recorded", |error| &error.message);
    NotIndexed {
        path: serde_json::from_slice(&job.job.args).unwrap_or_default(),
        status: job.status.map_or(0, Status::code),
        reason: reason.to_owned(),
    }
}
