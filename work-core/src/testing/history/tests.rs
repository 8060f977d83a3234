use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::{Job, JobId, JobState, Unique};

/// A history that is told line by line, a millisecond apart. Two processes: 1 and 2.
struct Tale {
    events: Vec<Event>,
    pid: u32,
    now: DateTime<Utc>,
}

impl Tale {
    fn new() -> Self {
        Self { events: Vec::new(), pid: 1, now: "2026-05-01T12:00:00Z".parse().unwrap() }
    }

    fn by(&mut self, pid: u32) -> &mut Self {
        self.pid = pid;
        self
    }

    fn pass(&mut self, millis: i64) -> &mut Self {
        self.now += TimeDelta::milliseconds(millis);
        self
    }

    fn note(&mut self, what: What) -> &mut Self {
        self.pass(1);
        self.events.push(Event { at: self.now, since: None, pid: self.pid, what });
        self
    }

    fn accepted(&mut self, job: JobId) -> &mut Self {
        self.note(What::offered(job, "k")).note(What::Accepted { job })
    }

    fn accepted_with(&mut self, job: &Job) -> &mut Self {
        self.note(What::offer(job.parts())).note(What::Accepted { job: job.id() })
    }

    /// Leases for 100 ms.
    fn leased(&mut self, job: JobId, fence: u64, attempt: u32) -> &mut Self {
        let until = self.now + TimeDelta::milliseconds(100);
        self.note(What::Leased { job, fence, attempt, until })
    }

    fn runs(&mut self, job: JobId, fence: u64, attempt: u32) -> &mut Self {
        self.leased(job, fence, attempt).note(What::Started { job, fence, attempt }).note(What::Effect { job, fence })
    }

    fn settled(&mut self, job: JobId, fence: u64, end: End) -> &mut Self {
        self.note(What::Returned { job, fence }).note(What::Settled { job, fence, end })
    }

    fn kept(&mut self, job: JobId, state: JobState) -> &mut Self {
        self.note(What::kept(job, state))
    }

    /// One job, from its insert to the end.
    fn good(job: JobId) -> Self {
        let mut tale = Self::new();
        tale.accepted(job).runs(job, 1, 1).settled(job, 1, End::Completed).kept(job, JobState::Completed);
        tale
    }

    fn report(&self) -> Report {
        History::of(self.events.clone()).check()
    }

    #[track_caller]
    fn is_good(&self) {
        let report = self.report();
        assert!(report.is_clean(), "{report}");
    }

    /// Exactly this invariant is broken.
    #[track_caller]
    fn breaks(&self, invariant: Invariant) {
        let report = self.report();
        let mut found: Vec<_> = report.violations.iter().map(|violation| violation.invariant).collect();
        found.dedup();
        assert_eq!(found, [invariant], "{report}");
        assert!(report.violations.iter().all(|violation| !violation.lines.is_empty()), "{report}");
    }
}

fn ids<const N: usize>() -> [JobId; N] {
    std::array::from_fn(|_| JobId::new())
}

#[test]
fn a_job_that_is_completed_once_is_good() {
    let job = JobId::new();
    let tale = Tale::good(job);
    tale.is_good();
    let report = tale.report();
    assert_eq!((report.accepted, report.starts, report.completed, report.kept), (1, 1, 1, 1));
}

#[test]
fn a_retry_a_kill_a_release_and_a_freeze_explain_another_attempt() {
    let [retried, killed, released, frozen] = ids();
    let mut tale = Tale::new();
    tale.accepted(retried).runs(retried, 1, 1).settled(retried, 1, End::Retried);
    tale.runs(retried, 2, 2).settled(retried, 2, End::Completed);
    tale.accepted(released).runs(released, 1, 1).settled(released, 1, End::GivenBack);
    tale.by(2).runs(released, 2, 1).settled(released, 2, End::Completed);

    tale.by(3).accepted(killed).accepted(frozen).runs(killed, 1, 1).runs(frozen, 1, 1);
    tale.by(0).note(What::Killed { victim: 3 }).pass(200);
    tale.by(4).runs(killed, 2, 1).settled(killed, 2, End::Completed);
    tale.runs(frozen, 2, 1).by(0).note(What::Stalled { victim: 4 }).pass(300);
    tale.by(5).runs(frozen, 3, 1).settled(frozen, 3, End::Completed);
    tale.by(0).note(What::Resumed { victim: 4 });
    tale.by(4).note(What::Effect { job: frozen, fence: 2 }).note(What::Stale { job: frozen, fence: 2 });
    for job in [retried, killed, released, frozen] {
        tale.kept(job, JobState::Completed);
    }
    tale.is_good();
    let report = tale.report();
    assert_eq!((report.kills, report.kills_at_work, report.kills_with_leases, report.stale), (1, 1, 1, 1));
}

#[test]
fn a_job_that_is_not_kept_or_has_not_ended_is_lost() {
    let [job, other] = ids();
    let mut tale = Tale::good(job);
    tale.accepted(other).breaks(Invariant::Lost);
    // The store holds nothing at all.
    let mut tale = Tale::new();
    tale.accepted(other).is_good();
    tale.note(What::Listed).breaks(Invariant::Lost);

    let mut tale = Tale::good(job);
    tale.accepted(other).kept(other, JobState::Available).breaks(Invariant::Lost);

    let mut tale = Tale::good(job);
    tale.accepted(other).kept(other, JobState::Completed).breaks(Invariant::Lost);
}

#[test]
fn an_insert_without_an_answer_may_be_there_or_not() {
    let [job, there, not] = ids();
    let mut tale = Tale::good(job);
    tale.note(What::offered(there, "k")).note(What::offered(not, "k")).kept(there, JobState::Cancelled).is_good();
    assert_eq!(tale.report().recovered, 1);
}

#[test]
fn a_job_that_nobody_offered_or_that_was_refused_is_a_ghost() {
    let [job, other] = ids();
    let mut tale = Tale::new();
    tale.runs(job, 1, 1).breaks(Invariant::Ghost);
    let mut tale = Tale::new();
    tale.note(What::offered(job, "k")).note(What::Refused { job }).runs(job, 1, 1).breaks(Invariant::Ghost);
    let mut tale = Tale::new();
    tale.accepted(other).note(What::offered(job, "k")).note(What::Duplicate { job, holder: other });
    tale.is_good();
    tale.runs(job, 1, 1).breaks(Invariant::Ghost);
}

#[test]
fn a_fence_that_is_given_twice_or_falls_is_found() {
    let job = JobId::new();
    let mut tale = Tale::new();
    tale.accepted(job).runs(job, 1, 1).runs(job, 1, 1).breaks(Invariant::Fences);
    let mut tale = Tale::new();
    tale.accepted(job).runs(job, 2, 1).settled(job, 2, End::Retried).pass(200).leased(job, 1, 2);
    let report = tale.report();
    assert!(report.violations.iter().any(|violation| violation.invariant == Invariant::Fences), "{report}");
}

#[test]
fn a_lease_within_another_lease_is_found() {
    let job = JobId::new();
    let mut tale = Tale::new();
    tale.accepted(job).leased(job, 1, 1).by(0).note(What::Stalled { victim: 1 });
    tale.by(2).leased(job, 2, 1).breaks(Invariant::Overlap);

    // Extended, so that the end of the first 100 ms is no end.
    let mut tale = Tale::new();
    tale.accepted(job).leased(job, 1, 1).by(0).note(What::Stalled { victim: 1 });
    let until = tale.now + TimeDelta::milliseconds(300);
    tale.by(1).note(What::Extended { job, fence: 1, until }).pass(200).by(2).leased(job, 2, 1);
    tale.breaks(Invariant::Overlap);
    tale.events.pop();
    tale.pass(200).leased(job, 2, 1).is_good();
}

#[test]
fn a_handler_beside_its_successor_is_found() {
    let job = JobId::new();
    let mut tale = Tale::new();
    tale.accepted(job).runs(job, 1, 1).pass(200).by(2).runs(job, 2, 1);
    tale.breaks(Invariant::Unexplained);
    tale.by(1).note(What::Effect { job, fence: 1 });
    let report = tale.report();
    assert!(report.violations.iter().any(|violation| violation.invariant == Invariant::Overlap), "{report}");
}

#[test]
fn a_lease_that_lapses_while_its_process_lives_is_unexplained() {
    let job = JobId::new();
    let mut tale = Tale::new();
    tale.accepted(job).runs(job, 1, 1).pass(200).by(2).leased(job, 2, 1).breaks(Invariant::Unexplained);
    tale.by(0).note(What::Killed { victim: 1 }).breaks(Invariant::Unexplained);
}

#[test]
fn a_process_that_dies_before_it_writes_that_its_end_was_taken_explains_a_successor_that_was_there_first() {
    let job = JobId::new();
    let mut tale = Tale::new();
    tale.accepted(job).runs(job, 1, 1).note(What::Returned { job, fence: 1 });
    tale.note(What::Settling { job, fence: 1 }).by(2).runs(job, 2, 2);
    let report = tale.report();
    assert_eq!(report.violations.len(), 2, "{report}");
    tale.by(0).note(What::Killed { victim: 1 }).is_good();
}

#[test]
fn an_attempt_that_is_counted_wrongly_is_found() {
    let job = JobId::new();
    let mut tale = Tale::new();
    tale.accepted(job).runs(job, 1, 1).settled(job, 1, End::Retried).leased(job, 2, 1).breaks(Invariant::Attempts);
    let mut tale = Tale::new();
    tale.accepted(job).runs(job, 1, 1).settled(job, 1, End::GivenBack).leased(job, 2, 2).breaks(Invariant::Attempts);
    let limited = Job::new("k", ()).max_attempts(1);
    let mut tale = Tale::new();
    tale.accepted_with(&limited).runs(limited.id(), 1, 1).settled(limited.id(), 1, End::Retried);
    tale.is_good();
    tale.leased(limited.id(), 2, 2).breaks(Invariant::Attempts);
}

#[test]
fn a_second_end_and_a_life_after_the_end_are_found() {
    let job = JobId::new();
    let mut tale = Tale::good(job);
    tale.note(What::Settled { job, fence: 1, end: End::Completed }).breaks(Invariant::TwoEnds);
    let mut tale = Tale::good(job);
    tale.leased(job, 2, 1).breaks(Invariant::TwoEnds);
}

#[test]
fn an_end_of_a_lease_with_a_successor_is_found() {
    let job = JobId::new();
    let mut tale = Tale::new();
    tale.accepted(job).leased(job, 1, 1).by(0).note(What::Stalled { victim: 1 }).pass(200).by(2).leased(job, 2, 1);
    tale.by(1).note(What::Stale { job, fence: 1 }).is_good();
    tale.note(What::Settled { job, fence: 1, end: End::Completed }).breaks(Invariant::StaleEnd);
}

#[test]
fn an_end_that_the_store_has_otherwise_is_found() {
    let job = JobId::new();
    let mut tale = Tale::new();
    tale.accepted(job).runs(job, 1, 1).settled(job, 1, End::Completed).kept(job, JobState::Discarded);
    tale.breaks(Invariant::WrongEnd);

    let mut tale = Tale::new();
    tale.accepted(job).runs(job, 1, 1).kept(job, JobState::Discarded).breaks(Invariant::WrongEnd);
    tale.events.pop();
    let mut crashed = What::kept(job, JobState::Discarded);
    if let What::Kept { crashes, .. } = &mut crashed {
        *crashes = 3;
    }
    tale.note(crashed).is_good();
}

#[test]
fn a_job_that_starts_before_it_is_due_is_found() {
    let mut tale = Tale::new();
    let job = Job::new("k", ()).scheduled_at(tale.now + TimeDelta::milliseconds(50));
    tale.accepted_with(&job).runs(job.id(), 1, 1).breaks(Invariant::Early);
    let mut tale = Tale::new();
    tale.accepted_with(&job).pass(50).runs(job.id(), 1, 1).is_good();
}

/// What is kept of a job, from its headers.
fn linked(job: &Job, state: JobState) -> What {
    let mut stored = crate::store::StoredJob::new(job.clone().into_stored(1_000).unwrap(), DateTime::UNIX_EPOCH);
    stored.state = state;
    What::stored(&stored)
}

#[test]
fn a_follow_up_that_is_missing_doubled_or_not_deserved_is_found() {
    let parent = expects(Job::new("p", ()), "next", When::Completed);
    let parent = expects(parent, "on-error", When::Discarded);
    let next = || follow_up(Job::new("n", ()), parent.id(), "next");
    let bad = follow_up(Job::new("n", ()), parent.id(), "on-error");
    let stranger = follow_up(Job::new("n", ()), parent.id(), "stranger");
    let with = |followers: &[Job]| {
        let mut tale = Tale::new();
        let id = parent.id();
        tale.accepted_with(&parent).runs(id, 1, 1).settled(id, 1, End::Completed);
        tale.note(linked(&parent, JobState::Completed));
        for job in followers {
            tale.note(linked(job, JobState::Cancelled));
        }
        tale
    };
    with(&[next()]).is_good();
    with(&[]).breaks(Invariant::FollowUps);
    with(&[next(), next()]).breaks(Invariant::FollowUps);
    with(&[next(), bad]).breaks(Invariant::FollowUps);
    with(&[next(), stranger]).breaks(Invariant::FollowUps);
    assert_eq!(with(&[next()]).report().follow_ups, 1);
}

#[test]
fn a_callback_before_the_end_of_its_group_is_found() {
    let member = JobId::new();
    let callback = starts_after(Job::new("c", ()), &[member]);
    let mut tale = Tale::new();
    tale.accepted(member).accepted_with(&callback).runs(member, 1, 1).settled(member, 1, End::Completed);
    tale.runs(callback.id(), 1, 1).settled(callback.id(), 1, End::Completed);
    tale.kept(member, JobState::Completed).note(linked(&callback, JobState::Completed)).is_good();

    let mut tale = Tale::new();
    tale.accepted(member).accepted_with(&callback).runs(member, 1, 1).runs(callback.id(), 1, 1);
    tale.settled(member, 1, End::Completed).settled(callback.id(), 1, End::Completed);
    tale.kept(member, JobState::Completed).note(linked(&callback, JobState::Completed)).breaks(Invariant::Callback);
}

#[test]
fn two_jobs_with_one_unique_key_at_a_time_are_found() {
    let job = || Job::new("k", ()).unique(Unique::new("key"));
    let (one, other) = (job(), job());
    let mut tale = Tale::new();
    tale.accepted_with(&one).runs(one.id(), 1, 1).settled(one.id(), 1, End::Completed);
    tale.accepted_with(&other).runs(other.id(), 1, 1).is_good();

    let mut tale = Tale::new();
    tale.accepted_with(&one).accepted_with(&other).runs(one.id(), 1, 1).runs(other.id(), 1, 1);
    tale.breaks(Invariant::Unique);

    let stranger = Job::new("k", ()).unique(Unique::new("another"));
    let mut tale = Tale::new();
    tale.accepted_with(&stranger).note(What::offer(one.parts()));
    tale.note(What::Duplicate { job: one.id(), holder: stranger.id() }).breaks(Invariant::Unique);
}

#[test]
fn a_slot_with_two_jobs_is_found() {
    let [one, other, third] = ids();
    let slot = |job, at: &str| {
        let slot = Some(Slot { schedule: "daily".into(), at: at.into() });
        let mut what = What::kept(job, JobState::Cancelled);
        if let What::Kept { slot: into, .. } = &mut what {
            *into = slot;
        }
        what
    };
    let mut tale = Tale::new();
    tale.note(slot(one, "1")).note(slot(other, "2")).is_good();
    assert_eq!(tale.report().slots, 2);
    tale.note(slot(third, "2")).breaks(Invariant::Slots);
}

#[test]
fn a_line_of_a_process_that_was_killed_is_found() {
    let job = JobId::new();
    let mut tale = Tale::new();
    tale.accepted(job).by(0).note(What::Killed { victim: 1 });
    tale.is_good();
    tale.by(1).note(What::Accepted { job }).breaks(Invariant::Recording);
}

#[test]
fn a_process_may_have_the_number_of_one_that_was_killed() {
    let [first, second] = ids();
    let mut tale = Tale::new();
    tale.note(What::Began).accepted(first).runs(first, 1, 1).by(0).note(What::Killed { victim: 1 });
    tale.by(1).note(What::Began).pass(200).accepted(second).runs(first, 2, 1).settled(first, 2, End::Completed);
    tale.runs(second, 1, 1).pass(200).by(0).note(What::Killed { victim: 1 }).pass(200);
    tale.by(2).runs(second, 2, 1).settled(second, 2, End::Completed).is_good();
    let report = tale.report();
    assert_eq!((report.kills, report.kills_at_work), (2, 2));
}

#[test]
fn a_torn_line_is_passed_over_and_what_stands_behind_it_is_read() {
    let dir = tempdir();
    let file = dir.join("history");
    let [job, other] = ids();
    let recorder = Recorder::append(&file, crate::Clock::system()).unwrap();
    recorder.note(What::offered(job, "k")).unwrap();
    let whole = std::fs::read(&file).unwrap();
    // A process died in the middle of a line, another one went on, and died as well.
    append(&file, &whole[..30]);
    recorder.note(What::offered(other, "k")).unwrap();
    append(&file, &whole[..50]);

    let history = History::read([&file]).unwrap();
    let jobs: Vec<_> = history.lines().iter().filter_map(|line| line.event.what.job()).collect();
    assert_eq!((jobs, history.torn().len()), (vec![job, other], 2));
    // Nobody was killed, so nothing may be torn.
    assert_eq!(history.check().violations[0].invariant, Invariant::Recording);
    recorder.note(What::Killed { victim: 1 }).unwrap();
    append(&file, b"\n");
    recorder.note(What::Killed { victim: 2 }).unwrap();
    assert!(History::read([&file]).unwrap().check().is_clean());
    std::fs::remove_dir_all(dir).unwrap();
}

fn append(file: &std::path::Path, bytes: &[u8]) {
    use std::io::Write;
    std::fs::OpenOptions::new().append(true).open(file).unwrap().write_all(bytes).unwrap();
}

fn tempdir() -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("work-history-{}", JobId::new()));
    std::fs::create_dir(&dir).unwrap();
    dir
}

#[test]
fn a_lease_of_which_nobody_was_told_may_be_given_again_at_once() {
    let job = JobId::new();
    let again = |answer: Option<What>| {
        let mut tale = Tale::new();
        tale.accepted(job).leased(job, 1, 1);
        if let Some(answer) = answer {
            tale.note(answer);
        }
        tale.runs(job, 2, 1).settled(job, 2, End::Completed).kept(job, JobState::Completed);
        tale.report()
    };
    let told = again(None);
    assert!(told.violations.iter().any(|violation| violation.invariant == Invariant::Overlap), "{told}");
    let untold = again(Some(What::Unanswered { job, fence: 1 }));
    assert!(untold.is_clean(), "{untold}");
}

/// A job of a queue with this name, accepted.
fn in_queue(tale: &mut Tale, queue: &'static str) -> JobId {
    let job = Job::new("k", ()).queue(queue);
    tale.accepted_with(&job);
    job.id()
}

#[test]
fn a_lease_too_many_of_a_queue_with_a_limit_is_found() {
    let mut tale = Tale::new();
    tale.note(What::Limited { queue: "q".into(), at_most: 1 });
    let [one, other] = [in_queue(&mut tale, "q"), in_queue(&mut tale, "q")];
    // The lease of a process that is killed counts until its end.
    tale.runs(one, 1, 1).by(3).note(What::Killed { victim: 1 }).pass(100);
    tale.by(2).note(What::Began).runs(other, 1, 1).is_good();
    let mut tale = Tale::new();
    tale.note(What::Limited { queue: "q".into(), at_most: 1 });
    let [one, other] = [in_queue(&mut tale, "q"), in_queue(&mut tale, "q")];
    tale.runs(one, 1, 1).by(3).note(What::Killed { victim: 1 }).pass(50).by(2).note(What::Began).runs(other, 1, 1);
    tale.breaks(Invariant::Limit);
}

#[test]
fn a_limit_of_each_key_is_that_of_one_key() {
    let mut tale = Tale::new();
    tale.note(What::Limited { queue: "q:*".into(), at_most: 1 });
    let [one, other, third] = ["q:a", "q:b", "q:b"].map(|queue| in_queue(&mut tale, queue));
    tale.runs(one, 1, 1).runs(other, 1, 1).is_good();
    tale.runs(third, 1, 1).breaks(Invariant::Limit);
}

#[test]
fn a_lease_too_many_in_a_span_is_found_once_it_is_certain() {
    let tale = |pause| {
        let mut tale = Tale::new();
        tale.note(What::Rated { queue: "q".into(), most: 1, within: 100 });
        let [one, other] = [in_queue(&mut tale, "q"), in_queue(&mut tale, "q")];
        tale.runs(one, 1, 1).settled(one, 1, End::Completed).pass(pause).runs(other, 1, 1);
        tale.settled(other, 1, End::Completed);
        tale
    };
    tale(100).is_good();
    tale(50).breaks(Invariant::Rate);
}
