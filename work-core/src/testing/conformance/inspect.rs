//! What people see.

use super::*;
use crate::store::{ErrorRecord, JobFilter, MAX_ERROR_TEXT};
use crate::{JobState, Kind};

/// By queue, kind and state, in pages of any size.
pub async fn counts_lists_and_pages_agree(make: &impl MakeStore) {
    let (store, _) = store(make).await;
    insert(&*store, (0..7).map(job)).await;
    insert(&*store, (0..4).map(|n| Job::new("other", n).queue("mail"))).await;
    for lease in lease(&*store, 3).await {
        settle(&*store, complete(&lease)).await;
    }
    let filter = JobFilter { kind: Some(Kind::from_static("test")), ..JobFilter::default() };
    let counts = store.counts(filter.clone()).await.expect("counts");
    assert_eq!((counts.of(JobState::Completed), counts.open(), counts.total()), (3, 4, 7));
    let mail = JobFilter { queue: Some("mail".into()), state: Some(JobState::Available), ..JobFilter::default() };
    assert_eq!(store.counts(mail.clone()).await.expect("counts").total(), 4);
    assert_eq!(store.list(mail, None, 100).await.expect("list").jobs.len(), 4);
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = store.list(filter.clone(), after, 3).await.expect("list");
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
