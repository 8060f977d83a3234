use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use work_core::testing::history::{History, Recorder, Report, What};
use work_core::{
    Clock, JobState, QueueWorker,
    store::{Inspect, JobFilter, Order},
};

use super::child::{Orders, Said, worker};
use super::ledger::Ledger;
use crate::signal;

/// How long a worker process may take to stop after its grace.
const PATIENCE: Duration = Duration::from_secs(30);

/// How late it may be noticed that a process has ended.
const LATE: chrono::TimeDelta = chrono::TimeDelta::seconds(1);

/// Worker processes of one store, and the history of what they and this process do.
#[derive(Debug)]
pub struct Crew {
    program: PathBuf,
    orders: Orders,
    recorder: Recorder,
}

/// A worker process. Killed when it is dropped.
#[derive(Debug)]
pub struct Member {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Crew {
    /// A crew with these orders, of this program.
    ///
    /// # Panics
    ///
    /// If something cannot be started, written or read, as in all methods here.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, orders: Orders) -> Self {
        let recorder = Recorder::append(&orders.history, Clock::system()).expect("a history");
        for limit in &orders.limits {
            recorder.note(limit.line()).expect("a line");
        }
        Self { program: program.into(), orders, recorder }
    }

    /// What its members are told.
    #[must_use]
    pub const fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Starts a worker process.
    #[must_use]
    pub fn start(&self) -> Member {
        self.start_with(&self.orders)
    }

    /// Starts a worker process that makes jobs as well, by chance out of a seed.
    #[must_use]
    pub fn start_maker(&self, seed: u64) -> Member {
        self.start_with(&Orders { makes: Some(seed), ..self.orders.clone() })
    }

    fn start_with(&self, orders: &Orders) -> Member {
        let log = OpenOptions::new().create(true).append(true).open(self.log()).expect("a log");
        let mut command = Command::new(&self.program);
        command.arg(serde_json::to_string(orders).expect("JSON"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("a worker process");
        let stdin = child.stdin.take();
        Member { child, stdin }
    }

    /// A worker of this process that makes jobs and performs none.
    pub async fn producer(&self) -> QueueWorker {
        worker(&self.orders).await
    }

    /// Kills a worker process, at once.
    pub fn kill(&self, mut member: Member) {
        let since = self.recorder.now();
        // One that has ended by itself was not killed.
        assert!(
            member.child.try_wait().expect("a child").is_none(),
            "a worker process ended by itself: {}",
            self.said()
        );
        member.child.kill().expect("killed");
        member.child.wait().expect("gone");
        let killed = What::Killed { victim: member.id() };
        self.recorder.note_since(since, [killed]).expect("a history");
    }

    /// Notes the end of a process that was brought down from within; gives it back if it lives.
    pub fn bury(&self, mut member: Member) -> Option<Member> {
        let since = self.recorder.now();
        if member.child.try_wait().expect("a child").is_none() {
            return Some(member);
        }
        let killed = What::Killed { victim: member.id() };
        self.recorder.note_since(since - LATE, [killed]).expect("a history");
        None
    }

    /// Kills worker processes all at once, with something else that breaks at the same moment: none of them does anything
    /// beyond it. A file system that is shut down may say that it has flushed what it has dropped, to who still listens.
    pub fn kill_all(&self, mut members: Vec<Member>, breaks: impl FnOnce()) {
        let since = self.recorder.now();
        for member in &members {
            signal(member.id(), "STOP");
        }
        for member in &mut members {
            while !is_stopped(member.id()) {
                assert!(member.child.try_wait().expect("a child").is_none(), "it ended by itself: {}", self.said());
                sleep(Duration::from_millis(1));
            }
        }
        breaks();
        for member in &mut members {
            drop(member.child.kill());
            member.child.wait().expect("gone");
        }
        let killed = members.iter().map(|member| What::Killed { victim: member.id() });
        self.recorder.note_since(since, killed).expect("a history");
    }

    /// Freezes a worker process.
    pub fn freeze(&self, member: &Member) {
        self.recorder.note(What::Stalled { victim: member.id() }).expect("a history");
        signal(member.id(), "STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self, member: &Member) {
        signal(member.id(), "CONT");
        self.recorder.note(What::Resumed { victim: member.id() }).expect("a history");
    }

    /// The history up to now.
    #[must_use]
    pub fn history(&self) -> History {
        History::read([&self.orders.history]).expect("a history")
    }

    /// Writes down what the store holds, and checks the history.
    pub async fn check(&self, store: &dyn Inspect) -> (History, Report) {
        self.recorder.note(What::Listed).expect("a history");
        let mut after = None;
        loop {
            let page = store.list(JobFilter::all(), Order::default(), after, 500).await.expect("a page");
            let kept = page.jobs.iter().map(What::stored);
            self.recorder.note_since(self.recorder.now(), kept).expect("a history");
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        let history = self.history();
        let report = history.check();
        (history, report)
    }

    /// How many jobs have paid: each once, and exactly those that are completed.
    pub async fn have_paid(&self, store: &dyn Inspect, ledger: &Ledger) -> usize {
        let (mut completed, mut after) = (Vec::new(), None);
        let filter = JobFilter::all().kind("pays").state(JobState::Completed);
        loop {
            let page = store.list(filter.clone(), Order::default(), after, 500).await.expect("a page");
            completed.extend(page.jobs.iter().map(|job| job.job.parts.id.to_string()));
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        completed.sort_unstable();
        let paid = ledger.paid().await.expect("what was paid");
        assert!(paid == completed, "{} completed jobs have paid {} times", completed.len(), paid.len());
        paid.len()
    }

    /// What the worker processes have logged.
    #[must_use]
    pub fn said(&self) -> String {
        let mut text = String::new();
        File::open(self.log()).and_then(|mut log| log.read_to_string(&mut text)).expect("a log");
        text
    }

    fn log(&self) -> PathBuf {
        self.orders.history.with_extension("log")
    }
}

impl Member {
    /// The id of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to stop, and answers what it says, and how long it took until the process was gone.
    ///
    /// # Panics
    ///
    /// If it fails, or does not stop.
    pub fn stop(mut self) -> (Said, Duration) {
        let start = Instant::now();
        drop(self.stdin.take());
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "process {} does not stop", self.id());
            sleep(Duration::from_millis(5));
        };
        let took = start.elapsed();
        let mut text = String::new();
        let output = self.child.stdout.as_mut().expect("its output");
        output.read_to_string(&mut text).expect("its output");
        assert!(status.success(), "{status}: {text}");
        (serde_json::from_str(&text).expect("JSON"), took)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// True if no thread of a process runs: each is stopped, or stays in a call of the system until it is.
fn is_stopped(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let states = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    // The state follows the name, which is in brackets.
    states.filter_map(|stat| stat.rsplit(") ").next()?.chars().next()).all(|state| matches!(state, 'T' | 't' | 'D'))
}
