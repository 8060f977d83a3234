//! What happened to jobs, written down by every process that touched them, and a checker that finds the promises that
//! were broken.
//!
//! Each process appends lines to a file with a [`Recorder`], each with one `write` and before whatever the line announces:
//! SIGKILL takes nothing of it away. [`RecordedStore`] does so around any store; handlers add [`What::Started`] and
//! [`What::Effect`], and whoever kills or stalls a process notes that too. In the end [`What::Kept`] says what the store holds.
//!
//! [`History::check`] answers with a [`Report`]: what was counted, and each [`Violation`] with the lines that prove it.
//! What is not recorded is not checked; [`Invariant`] says what each check needs.
//!
//! ```
//! use work_core::testing::history::{History, Invariant, Recorder, What};
//! use work_core::{Clock, JobId, JobState};
//!
//! # fn main() -> std::io::Result<()> {
//! let file = std::env::temp_dir().join(format!("history-{}", JobId::new()));
//! let recorder = Recorder::append(&file, Clock::system())?;
//! let (kept, lost) = (JobId::new(), JobId::new());
//! for job in [kept, lost] {
//!     recorder.note(What::offered(job, "mail"))?;
//!     recorder.note(What::Accepted { job })?;
//! }
//! recorder.note(What::kept(kept, JobState::Cancelled))?;
//!
//! let report = History::read([&file])?.check();
//! assert_eq!(report.accepted, 2);
//! assert_eq!(report.violations.len(), 1);
//! assert_eq!((report.violations[0].invariant, report.violations[0].job), (Invariant::Lost, Some(lost)));
//! # std::fs::remove_file(file)
//! # }
//! ```

mod attempts;
mod ends;
mod event;
mod limits;
mod links;
mod read;
mod recorder;
mod report;
mod store;
mod story;
mod together;

#[cfg(test)]
mod tests;

pub use event::{End, Event, Follows, Slot, Then, What, When};
pub use links::{AFTER_HEADER, FOLLOWS_HEADER, THEN_HEADER, expects, follow_up, starts_after};
pub use read::{History, Line};
pub use recorder::Recorder;
pub use report::{Invariant, Report, Violation};
pub use store::RecordedStore;
