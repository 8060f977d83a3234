use std::time::Duration;

use work_core::testing::history::{When, expects, follow_up, starts_after};
use work_core::{Chain, Group, Job, JobId, PerformError, QueueWorker, Unique, Worker};

use super::handlers::{Task, task};
use crate::Chance;

/// How long most jobs take at most, in milliseconds.
const MILLIS: u64 = 150;

/// Keys that jobs share.
const KEYS: u64 = 40;

/// Jobs of all sorts, one sort after the other by chance.
#[derive(Debug)]
pub struct Mix {
    chance: Chance,
    made: usize,
    sorts: Sorts,
}

/// Which jobs there are.
#[derive(Debug, Clone, Copy)]
enum Sorts {
    All,
    /// Groups of so many.
    Groups(usize),
    /// Jobs of queues with limits.
    Limited(&'static [&'static str]),
}

impl Mix {
    /// Jobs by chance.
    #[must_use]
    pub const fn new(chance: Chance) -> Self {
        Self { chance, made: 0, sorts: Sorts::All }
    }

    /// Groups alone, each of so many jobs, with a callback.
    #[must_use]
    pub const fn of_groups(chance: Chance, members: usize) -> Self {
        Self { chance, made: 0, sorts: Sorts::Groups(members) }
    }

    /// Plain jobs, each of one of these queues.
    #[must_use]
    pub const fn of_queues(chance: Chance, queues: &'static [&'static str]) -> Self {
        Self { chance, made: 0, sorts: Sorts::Limited(queues) }
    }

    /// How many jobs there will be of what was performed, at least and if all of it goes well.
    #[must_use]
    pub const fn made(&self) -> usize {
        self.made
    }

    /// Performs jobs until there are so many more.
    ///
    /// # Errors
    ///
    /// Those of the worker.
    pub async fn perform(&mut self, worker: &QueueWorker, jobs: usize) -> Result<(), PerformError> {
        let (until, mut single) = (self.made + jobs, Vec::new());
        while self.made < until {
            match (self.sorts, self.chance.below(100)) {
                (Sorts::Groups(members), _) => self.group(worker, members).await?,
                (Sorts::Limited(queues), dice) => {
                    self.made += 1;
                    single.push(task("plain", self.millis()).queue(queues[dice as usize % queues.len()]));
                }
                (Sorts::All, 0..6) => self.chain(worker).await?,
                (Sorts::All, 6..11) => self.group(worker, 4).await?,
                (Sorts::All, _) => single.push(self.single()),
            }
        }
        worker.perform_many(single).await.map(drop)
    }

    fn millis(&mut self) -> u64 {
        self.chance.below(MILLIS)
    }

    /// A job that is inserted by itself; others may follow.
    fn single(&mut self) -> Job {
        let millis = self.millis();
        self.made += 1;
        match self.chance.below(100) {
            0..34 => task("plain", millis),
            34..40 => task("pays", millis),
            40..55 => {
                let fails = 1 + self.chance.below(2) as u32;
                Job::new("flaky", Task { millis, fails, performs: None })
            }
            55..65 => {
                self.made += 1;
                let doomed = expects(task("doomed", millis), "on-error", When::Discarded);
                let on_error = follow_up(task("on-error", 5), doomed.id(), "on-error");
                doomed.on_error(on_error)
            }
            65..75 => {
                self.made += 2;
                expects(expects(task("makes", millis), "left", When::Completed), "right", When::Completed)
            }
            75..83 => {
                self.made += 1;
                Job::new("performs", Task { millis, fails: 0, performs: Some(JobId::new()) })
            }
            83..92 => {
                let delay = self.chance.between(Duration::from_millis(100), Duration::from_secs(5));
                let now = work_core::Clock::system().now();
                task("plain", millis).scheduled_at(now + delay)
            }
            _ => {
                // Another one may hold the key.
                self.made -= 1;
                task("plain", millis).unique(Unique::new(format!("key-{}", self.chance.below(KEYS))))
            }
        }
    }

    async fn chain(&mut self, worker: &QueueWorker) -> Result<(), PerformError> {
        self.made += 3;
        let first = expects(task("plain", self.millis()), "second", When::Completed);
        let second = follow_up(task("flaky", self.millis()), first.id(), "second");
        let second = expects(second, "third", When::Completed);
        let third = follow_up(task("plain", self.millis()), second.id(), "third");
        worker.perform_chain(Chain::new(first).then(second).then(third)).await.map(drop)
    }

    async fn group(&mut self, worker: &QueueWorker, members: usize) -> Result<(), PerformError> {
        // The jobs, the one that watches over them, and the callback.
        self.made += members + 2;
        let mut jobs: Vec<Job> = (0..members).map(|n| self.member(n)).collect();
        jobs[0] = expects(jobs[0].clone(), "callback", When::Ended);
        let ids: Vec<JobId> = jobs.iter().map(Job::id).collect();
        let callback = starts_after(follow_up(task("callback", self.millis()), ids[0], "callback"), &ids);
        worker.perform_group(Group::new(jobs).then(callback)).await.map(drop)
    }

    /// Of four jobs of a group one is never well, and of eight one is at its second attempt.
    fn member(&mut self, n: usize) -> Job {
        let millis = self.millis();
        match n % 8 {
            3 | 7 => task("doomed", millis),
            5 => Job::new("flaky", Task { millis, fails: 1, performs: None }),
            _ => task("plain", millis),
        }
    }
}
