//! What people see.

use super::*;
use crate::JobState;
use crate::store::{
    Act, Acted, CancelOutcome, DeleteOutcome, ErrorRecord, JobFilter, JobVersion, MAX_ERROR_TEXT, Order, Tally,
};

/// By queue, kind and state, in pages of any size.
pub async fn counts_lists_and_pages_agree(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    insert(&*store, (0..7).map(job)).await;
    insert(&*store, (0..4).map(|n| Job::new("other", n).queue("mail"))).await;
    for lease in lease(&*store, 3).await {
        settle(&*store, complete(&lease)).await;
    }
    let filter = JobFilter::all().kind("test");
    let counts = store.counts(filter.clone()).await.expect("counts");
    assert_eq!((counts.of(JobState::Completed), counts.open(), counts.total()), (3, 4, 7));
    let mail = JobFilter::all().queue("mail").state(JobState::Available);
    assert_eq!(store.counts(mail.clone()).await.expect("counts").total(), 4);
    assert_eq!(store.list(mail, Order::OldestFirst, None, 100).await.expect("list").jobs.len(), 4);
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = store.list(filter.clone(), Order::OldestFirst, after, 3).await.expect("list");
        assert!(page.jobs.len() <= 3);
        seen.extend(page.jobs.iter().map(|stored| stored.job.args.clone()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..7).map(|n| n.to_string().into_bytes()).collect::<Vec<_>>());
    assert!(store.get(JobId::new()).await.expect("get").is_none());
}

/// Each job once, in whatever state it is, and those of a filter alone.
pub async fn the_parts_of_a_count_add_up(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    insert(&*store, (0..30).map(job)).await;
    insert(&*store, (0..12).map(|n| Job::new("other", n).queue("mail").tag("eu"))).await;
    let leases = lease(&*store, 12).await;
    for lease in &leases[..8] {
        settle(&*store, complete(lease)).await;
    }
    settle(&*store, end(&leases[8], Status::INTERNAL_ERROR, Settlement::Discard)).await;
    for (filter, default, mail) in [
        (JobFilter::all(), [18, 3, 8, 1, 0], [12, 0, 0, 0, 0]),
        (JobFilter::all().kind("other"), [0; 5], [12, 0, 0, 0, 0]),
        (JobFilter::all().tag("eu").state(JobState::Available), [0; 5], [12, 0, 0, 0, 0]),
        (JobFilter::all().state(JobState::Discarded).state(JobState::Running), [0, 3, 0, 1, 0], [0; 5]),
        (JobFilter::all().args("", 0), [0, 0, 1, 0, 0], [1, 0, 0, 0, 0]),
    ] {
        for rows in [1, 7, 1_000] {
            let (mut all, mut parts) = (Tally::default(), 0);
            loop {
                let part = store.tally(filter.clone(), all.next, rows).await.expect("tally");
                assert!(part.total() <= rows as u64, "{filter:?}: {part:?}");
                parts += 1;
                if all.add(part).is_none() {
                    break;
                }
                assert!(parts < 100, "{filter:?}: {all:?}");
            }
            let of = |queue: &str| {
                JobState::ALL.map(|state| all.queues.get(&Queue::from(queue.to_owned())).map_or(0, |of| of.of(state)))
            };
            assert_eq!((of("default"), of("mail")), (default, mail), "{filter:?}, {rows} rows at a time");
        }
    }
}

/// With its text, shortened if it is endless.
pub async fn a_failed_attempt_leaves_a_record(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let id = insert(&*store, [job(1)]).await[0];
    for text in ["first \u{1b}[31m".to_owned(), "x".repeat(1_000_000)] {
        let lease = lease_one(&*store).await;
        let mut failed = end(&lease, Status::INTERNAL_ERROR, Settlement::Retry { at: start() });
        failed.error = Some(ErrorRecord::new(text).with_backtrace("at main"));
        assert_eq!(settle(&*store, failed).await, Settled::Done);
    }
    let attempts = get(&*store, id).await.attempts;
    assert_eq!(
        attempts.iter().map(|a| (a.attempt, a.status)).collect::<Vec<_>>(),
        [(1, Status::INTERNAL_ERROR), (2, Status::INTERNAL_ERROR)]
    );
    assert_eq!(attempts[0].error, ErrorRecord::new("first \u{1b}[31m").with_backtrace("at main"));
    let long = &attempts[1].error.message;
    assert!(long.len() < MAX_ERROR_TEXT + 100 && long.ends_with("(shortened from 1000000 bytes)"));
}

/// With one more attempt if it had none left; what is not dead is left alone.
pub async fn a_dead_letter_can_be_retried(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let id = insert(&*store, [job(1).max_attempts(1)]).await[0];
    assert!(!store.retry(id).await.expect("retry"));
    let lease = lease_one(&*store).await;
    assert!(!store.retry(id).await.expect("retry"));
    settle(&*store, end(&lease, Status::INTERNAL_ERROR, Settlement::Discard)).await;
    assert!(store.retry(id).await.expect("retry"));
    let again = lease_one(&*store).await;
    assert_eq!((again.attempt, again.job.parts.max_attempts), (2, Some(2)));
    assert_eq!(settle(&*store, complete(&again)).await, Settled::Done);
    assert!(!store.retry(id).await.expect("retry"));
    assert!(!store.retry(JobId::new()).await.expect("retry"));
}

/// It stays where it is, and the holder is left alone.
pub async fn a_dead_letter_whose_unique_key_is_taken_is_not_retried(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let keyed = || job(1).unique(crate::Unique::new("k"));
    let dead = insert(&*store, [keyed()]).await[0];
    let lease = lease_one(&*store).await;
    settle(&*store, end(&lease, Status::BAD_REQUEST, Settlement::Discard)).await;
    let holder = insert(&*store, [keyed()]).await[0];
    assert_ne!(holder, dead);
    assert!(!store.retry(dead).await.expect("retry"));
    assert_eq!(store.retry_all(JobFilter::all(), 9).await.expect("retry"), 0);
    assert_eq!(get(&*store, dead).await.state, JobState::Discarded);
    assert_eq!(store.delete(vec![dead]).await.expect("delete"), [DeleteOutcome::Deleted]);
    assert_eq!(insert(&*store, [keyed()]).await, [holder], "the key is still the holder's");
}

/// All jobs of a filter in an order, in pages of two.
async fn listed(store: &dyn Inspect, filter: JobFilter, order: Order) -> Vec<u32> {
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = store.list(filter.clone(), order, after, 2).await.expect("list");
        assert!(page.jobs.len() <= 2);
        let number = |stored: &StoredJob| stored.job.parts.headers.get("n").and_then(|n| n.parse::<u32>().ok());
        seen.extend(page.jobs.iter().filter_map(number));
        after = page.next;
        if after.is_none() {
            return seen;
        }
    }
}

fn numbered(n: u32, job: Job) -> Job {
    job.header("n", n.to_string())
}

/// Each alone and together, and the newest first is the oldest first turned round.
pub async fn every_condition_of_a_filter_holds(make: &impl MakeStore) {
    let (store, clock) = store(make).await;
    let user = |id: u32| serde_json::json!({ "user": { "id": id, "name": "Ann" }, "items": [id] });
    let later = |n: u64| start() + seconds(n);
    let ids = insert(
        &*store,
        [
            numbered(0, Job::new("test", user(1)).queue("a").tag("eu").tag("big")),
            numbered(1, Job::new("test", user(2)).queue("b").tag("eu")),
            numbered(2, Job::new("mail", user(2)).queue("a").tag("us")),
            numbered(3, Job::new("mail", "text").queue("c").scheduled_at(later(100))),
        ],
    )
    .await;
    clock.advance(seconds(10));
    insert(&*store, [numbered(4, Job::new("late", user(7)).queue("c").scheduled_at(later(200)))]).await;
    let wanted = Want { queues: vec!["a".into()], ..want(2) };
    let leases = store.lease(wanted).await.expect("lease").jobs;
    let mut failed = end(&leases[0], Status::INTERNAL_ERROR, Settlement::Discard);
    failed.error = Some(ErrorRecord::new("connection to Db-7 timed out: 100%"));
    settle(&*store, failed).await;
    settle(&*store, complete(&leases[1])).await;
    let all = JobFilter::all;
    for (filter, expected) in [
        (all(), vec![0, 1, 2, 3, 4]),
        (all().queue("a").queue("b"), vec![0, 1, 2]),
        (all().kind("mail").kind("late"), vec![2, 3, 4]),
        (all().state(JobState::Available), vec![1, 3, 4]),
        (all().state(JobState::Discarded).state(JobState::Completed), vec![0, 2]),
        (all().state(JobState::Running), vec![]),
        (all().id(ids[3]).id(ids[1]).id(JobId::new()), vec![1, 3]),
        (all().tag("eu"), vec![0, 1]),
        (all().tag("eu").tag("big"), vec![0]),
        (all().tag("e"), vec![]),
        (all().created(later(10)..), vec![4]),
        (all().created(..later(10)), vec![0, 1, 2, 3]),
        (all().due(later(100)..=later(200)), vec![3, 4]),
        (all().due(later(100)..later(200)), vec![3]),
        (all().finished(later(10)..), vec![0, 2]),
        (all().finished(..later(10)), vec![]),
        (all().error_contains("db-7 TIMED"), vec![0]),
        (all().error_contains("100%"), vec![0]),
        (all().error_contains("10_%"), vec![]),
        (all().error_contains("' OR 1=1 --"), vec![]),
        (all().args("user.id", 2), vec![1, 2]),
        (all().args("user.id", 2.0).kind("mail"), vec![2]),
        (all().args("items.0", 7), vec![4]),
        (all().args("user.id", "2"), vec![]),
        (all().args("", "text"), vec![3]),
        (all().args("a\"b.c'd", 1), vec![]),
        (all().tag("eu").state(JobState::Discarded).queue("a").args("user.name", "Ann"), vec![0]),
    ] {
        assert_eq!(listed(&*store, filter.clone(), Order::OldestFirst).await, expected, "{filter:?}");
        let mut newest = listed(&*store, filter.clone(), Order::NewestFirst).await;
        newest.reverse();
        assert_eq!(newest, expected, "newest first: {filter:?}");
        let counted = store.counts(filter.clone()).await.expect("counts").total();
        assert_eq!(counted, expected.len() as u64, "counts: {filter:?}");
    }
}

/// And what it carries comes back.
pub async fn tags_come_back_with_the_job(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    insert(&*store, [job(1).tag("b").tag("a").tag("b"), job(2)]).await;
    let leases = lease(&*store, 2).await;
    assert_eq!(leases[0].job.parts.tags.iter().collect::<Vec<_>>(), ["a", "b"]);
    assert!(leases[1].job.parts.tags.is_empty());
}

/// Those that run are kept; what is deleted is gone everywhere, and its unique key is free.
pub async fn a_deleted_job_is_gone(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let held = || job(2).unique(crate::Unique::while_kept("k")).tag("t").priority(9);
    let ids = insert(&*store, [job(1), held()]).await;
    let running = lease_one(&*store).await;
    let answers = store.delete(vec![ids[0], ids[1], ids[1], JobId::new()]).await.expect("delete");
    let gone = DeleteOutcome::NotFound;
    assert_eq!(answers, [DeleteOutcome::Running, DeleteOutcome::Deleted, gone, gone]);
    assert!(store.get(ids[1]).await.expect("get").is_none());
    assert!(lease(&*store, 10).await.is_empty());
    let again = insert(&*store, [held()]).await[0];
    assert_ne!(again, ids[1], "the key is free");
    assert_eq!(store.list(JobFilter::all().tag("t"), Order::OldestFirst, None, 9).await.expect("list").jobs.len(), 1);
    assert_eq!(settle(&*store, complete(&running)).await, Settled::Done);
    assert_eq!(store.delete(vec![ids[0]]).await.expect("delete"), [DeleteOutcome::Deleted]);
    assert_eq!(store.counts(JobFilter::all()).await.expect("counts").total(), 1);
}

/// At once, and the others stay where they are.
pub async fn a_job_that_is_due_later_can_be_run_now(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let ids =
        insert(&*store, [job(1).scheduled_at(start() + seconds(60)), job(2).scheduled_at(start() + seconds(60))]).await;
    assert!(store.run_now(ids[0]).await.expect("run now"));
    assert!(store.run_now(ids[0]).await.expect("run now"), "it waits, and is due already");
    assert_eq!(numbers(&lease(&*store, 10).await), [1]);
    assert!(!store.run_now(ids[0]).await.expect("run now"), "it runs");
    assert!(!store.run_now(JobId::new()).await.expect("run now"));
}

/// However many act at once; and what was retried runs with the args of the one.
pub async fn of_those_who_saw_the_same_only_one_acts(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    for round in 0..10 {
        let id = insert(&*store, [job(1)]).await[0];
        settle(&*store, end(&lease_one(&*store).await, Status::BAD_REQUEST, Settlement::Discard)).await;
        let seen = JobVersion::of(&get(&*store, id).await);
        let acts = (0..8).map(|n| {
            let (store, seen, args) = (store.clone(), seen.clone(), format!("{}", 100 + n).into());
            let act = if (n + round) % 2 == 0 { Act::EditAndRetry(args) } else { Act::Edit(args) };
            tokio::spawn(async move { (n, store.act_if(id, seen, act).await.expect("act")) })
        });
        let mut won = Vec::new();
        for acting in acts.collect::<Vec<_>>() {
            match acting.await.expect("no panic") {
                (n, Acted::Done) => won.push(n),
                (_, acted) => assert_eq!(acted, Acted::Changed),
            }
        }
        assert_eq!(won.len(), 1, "{won:?}");
        let args = get(&*store, id).await.job.args;
        assert_eq!(args, (100 + won[0]).to_string());
        store.retry(id).await.expect("retry");
        assert_eq!(lease_one(&*store).await.job.args, args);
        store.cancel(vec![id]).await.expect("cancel");
    }
}

/// Also if the job is not one for that, or is gone.
pub async fn what_was_seen_is_acted_on_or_nothing_is_done(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let id = insert(&*store, [job(1).scheduled_at(start() + seconds(60)).unique(crate::Unique::new("key"))]).await[0];
    let seen = async || JobVersion::of(&get(&*store, id).await);
    let act = async |seen: JobVersion, act| store.act_if(id, seen, act).await.expect("act");
    let first = seen().await;
    assert_eq!(act(first.clone(), Act::Retry).await, Acted::Refused, "it waits");
    assert_eq!(act(first.clone(), Act::RunNow).await, Acted::Done);
    let lease = lease_one(&*store).await;
    assert_eq!(act(first.clone(), Act::Delete).await, Acted::Changed, "it runs by now");
    assert_eq!(act(seen().await, Act::Edit("2".into())).await, Acted::Refused);
    settle(&*store, end(&lease, Status::BAD_REQUEST, Settlement::Discard)).await;
    let dead = seen().await;
    let other = insert(&*store, [job(9).unique(crate::Unique::new("key"))]).await[0];
    assert_eq!(act(dead.clone(), Act::EditAndRetry("2".into())).await, Acted::Refused, "another holds its key");
    assert_eq!(seen().await, dead, "and it has its args");
    store.delete(vec![other]).await.expect("delete");
    let wrong = store.act_if(id, dead.clone(), Act::Edit("{".into())).await.expect_err("no JSON");
    assert!(wrong.to_string().contains("new arguments"), "{wrong}");
    assert_eq!(act(dead.clone(), Act::EditAndRetry("3".into())).await, Acted::Done);
    assert_eq!(act(dead, Act::EditAndRetry("4".into())).await, Acted::Changed);
    assert_eq!(act(seen().await, Act::Cancel).await, Acted::Done);
    let cancelled = seen().await;
    assert_eq!(act(cancelled.clone(), Act::Delete).await, Acted::Done);
    assert_eq!(act(cancelled, Act::Delete).await, Acted::NotFound);
}

/// Unless it runs, or they are no arguments.
pub async fn the_args_of_a_job_can_be_edited(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    let ids = insert(&*store, [job(1), job(2)]).await;
    assert!(store.edit(ids[0], "7".into()).await.expect("edit"));
    let leases = lease(&*store, 1).await;
    assert_eq!(numbers(&leases), [7]);
    assert!(!store.edit(ids[0], "8".into()).await.expect("edit"), "it runs");
    assert!(!store.edit(JobId::new(), "8".into()).await.expect("edit"));
    let deep = "[".repeat(65) + &"]".repeat(65);
    for args in ["{ no json".to_owned(), String::new(), deep, format!("{:?}", "x".repeat(DEFAULT_MAX_ARGS))] {
        let refused = store.edit(ids[1], args.into()).await.expect_err("refused");
        assert!(refused.to_string().contains("new arguments"), "{refused}");
    }
    settle(&*store, end(&leases[0], Status::BAD_REQUEST, Settlement::Discard)).await;
    assert!(store.edit(ids[0], "9".into()).await.expect("edit"), "a dead letter can be mended");
    assert_eq!(get(&*store, ids[0]).await.state, JobState::Discarded);
    assert!(store.retry(ids[0]).await.expect("retry"));
    let mut again = numbers(&lease(&*store, 2).await);
    again.sort_unstable();
    assert_eq!(again, [2, 9]);
}

/// No more than the limit, no other job, and only those that it suits.
pub async fn jobs_of_a_filter_are_changed_together(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    insert(&*store, (0..30).map(|n| job(n).tag(if n % 2 == 0 { "even" } else { "odd" }))).await;
    let ends = lease(&*store, 20).await;
    let (dead, running) = ends.split_at(15);
    for lease in dead {
        settle(&*store, end(lease, Status::BAD_REQUEST, Settlement::Discard)).await;
    }
    let even = || JobFilter::all().tag("even");
    let of = async |state| store.counts(even().state(state)).await.expect("counts").total();
    assert_eq!(store.retry_all(even(), 3).await.expect("retry"), 3);
    assert_eq!((of(JobState::Discarded).await, of(JobState::Available).await), (5, 8));
    assert_eq!(store.retry_all(even(), 100).await.expect("retry"), 5);
    assert_eq!(store.retry_all(even(), 100).await.expect("retry"), 0);
    assert_eq!(store.cancel_all(even(), 100).await.expect("cancel"), 15, "13 that wait and 2 that run");
    assert_eq!((of(JobState::Cancelled).await, of(JobState::Running).await), (13, 2));
    let told = store.cancel(vec![running[1].key.id]).await.expect("cancel");
    assert_eq!(told, [CancelOutcome::Requested]);
    assert_eq!(store.delete_all(even(), 4).await.expect("delete"), 4);
    assert_eq!(store.delete_all(even().state(JobState::Running), 100).await.expect("delete"), 0);
    assert_eq!(store.delete_all(even(), 100).await.expect("delete"), 9);
    let left = store.counts(JobFilter::all()).await.expect("counts");
    assert_eq!((left.of(JobState::Running), left.of(JobState::Discarded), left.open()), (5, 7, 10));
}
