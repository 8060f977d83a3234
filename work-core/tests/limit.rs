//! Limits: what they promise, over all sequences of instants, and with many tasks at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::{Instant, sleep, timeout};
use work_core::limit::{Adaptive, Aimd, FixedWindow, Gcra, InvalidLimit, Limit, Limiter, SlidingWindow};

const SECOND: Duration = Duration::from_secs(1);

/// When permits were given, in nanoseconds, to one who asks at these distances.
fn permits(limit: &dyn Limit, gaps: &[u64]) -> Vec<u64> {
    let start = Instant::now();
    let mut at = 0;
    let mut given = Vec::new();
    for gap in gaps {
        at += gap;
        if limit.try_acquire(start + Duration::from_nanos(at)).is_ok() {
            given.push(at);
        }
    }
    given
}

/// When permits are given to one who looks again exactly when it is told.
fn patient(limit: &dyn Limit, permits: usize) -> Vec<Duration> {
    let start = Instant::now();
    let mut now = start;
    (0..permits)
        .map(|_| {
            while let Err(after) = limit.try_acquire(now) {
                assert!(!after.is_zero(), "told to look again at once");
                now += after;
            }
            now - start
        })
        .collect()
}

fn asks() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(prop_oneof![Just(0), 0_u64..50, 0_u64..2_000], 1..300)
}

/// At which distances, and whether the permit is used.
fn used() -> impl Strategy<Value = Vec<(u64, bool)>> {
    proptest::collection::vec((prop_oneof![Just(0), 0_u64..50, 0_u64..2_000], any::<bool>()), 1..300)
}

proptest! {
    #[test]
    fn a_sliding_window_never_gives_more_in_any_span(count in 1_u32..20, per in 1_u64..1_000, gaps in asks()) {
        let limit = SlidingWindow::new(count, Duration::from_nanos(per)).unwrap();
        let given = permits(&limit, &gaps);
        // A span with the most permits begins at one.
        for (n, first) in given.iter().enumerate() {
            let within = given[n..].iter().take_while(|at| **at < first + per).count();
            prop_assert!(within <= count as usize, "{within} within {per} from {first}: {given:?}");
        }
    }

    /// Whatever is given back, what is used stays within the promise.
    #[test]
    fn permits_that_are_given_back_are_none(count in 1_u32..20, per in 1_u64..1_000, asks in used()) {
        let per_of = Duration::from_nanos(per);
        let limits: [Box<dyn Limit>; 3] = [
            Box::new(SlidingWindow::new(count, per_of).unwrap()),
            Box::new(FixedWindow::new(count, per_of).unwrap()),
            Box::new(Gcra::new(count, per_of).unwrap().burst(1).unwrap()),
        ];
        // A fixed window has up to twice that where two meet; a bucket the burst, and what grows in that time.
        for (limit, most) in limits.iter().zip([count, 2 * count, count + 1]) {
            let start = Instant::now();
            let (mut at, mut used) = (0, Vec::new());
            for (gap, keep) in &asks {
                at += gap;
                let now = start + Duration::from_nanos(at);
                if limit.try_acquire(now).is_ok() {
                    if *keep { used.push(at) } else { limit.give_back(now) }
                }
            }
            for (n, first) in used.iter().enumerate() {
                let within = used[n..].iter().take_while(|at| **at < first + per).count();
                prop_assert!(within <= most as usize, "{within} within {per} from {first}: {used:?}");
            }
        }
    }

    #[test]
    fn a_sliding_window_refuses_only_if_the_span_is_used_up(count in 1_u32..20, per in 1_u64..1_000, gaps in asks()) {
        let limit = SlidingWindow::new(count, Duration::from_nanos(per)).unwrap();
        let given = permits(&limit, &gaps);
        let mut at = 0;
        for gap in gaps {
            at += gap;
            let within = given.iter().filter(|other| **other <= at && **other + per > at).count();
            prop_assert!(given.contains(&at) || within == count as usize, "refused at {at} with {within}");
        }
    }

    #[test]
    fn a_bucket_never_gives_more_than_burst_and_rate(
        count in 1_u32..50, per in 1_u64..10_000, burst in 1_u32..20, gaps in asks()
    ) {
        let limit = Gcra::new(count, Duration::from_nanos(per)).unwrap().burst(burst).unwrap();
        let given = permits(&limit, &gaps);
        for (n, first) in given.iter().enumerate() {
            for (more, last) in given[n..].iter().enumerate() {
                let allowed = u128::from(burst) * u128::from(per) + u128::from(last - first) * u128::from(count);
                prop_assert!((more as u128 + 1) * u128::from(per) <= allowed, "{} from {first} to {last}", more + 1);
            }
        }
    }

    #[test]
    fn a_fixed_window_gives_at_most_its_count_from_its_first_permit(
        count in 1_u32..20, per in 1_u64..1_000, gaps in asks()
    ) {
        let limit = FixedWindow::new(count, Duration::from_nanos(per)).unwrap();
        let mut given = &permits(&limit, &gaps)[..];
        while let Some(first) = given.first() {
            let within = given.iter().take_while(|at| **at < first + per).count();
            prop_assert!(within <= count as usize);
            given = &given[within..];
        }
    }

    #[test]
    fn whoever_looks_again_when_told_gets_a_permit_then(count in 1_u32..50, per in 1_u64..1_000_000) {
        let per = Duration::from_nanos(per);
        let limits: [Box<dyn Limit>; 3] = [
            Box::new(FixedWindow::new(count, per).unwrap()),
            Box::new(SlidingWindow::new(count, per).unwrap()),
            Box::new(Gcra::new(count, per).unwrap()),
        ];
        for limit in limits {
            let now = Instant::now();
            let mut refused = None;
            for _ in 0..=count {
                refused = limit.try_acquire(now).err().or(refused);
            }
            let after = refused.expect("one more than the count at once is refused");
            prop_assert!(limit.try_acquire(now + after).is_ok());
            prop_assert!(!limit.is_idle(now + after));
            prop_assert!(limit.is_idle(now + after + per * 2));
            prop_assert!(limit.fresh().is_idle(now));
        }
    }
}

#[test]
fn twelve_jobs_in_windows_of_five_are_5_5_2() {
    let at = patient(&FixedWindow::new(5, SECOND).unwrap(), 12);
    let in_second = |n: u64| at.iter().filter(|at| at.as_secs() == n).count();
    assert_eq!([in_second(0), in_second(1), in_second(2)], [5, 5, 2]);
    assert_eq!(at.iter().filter(|at| !at.is_zero()).count(), 7, "throttled");
}

#[test]
fn the_first_second_at_rate_100_has_at_most_110_permits() {
    let at = patient(&Gcra::new(100, SECOND).unwrap(), 1_000);
    assert_eq!(at.iter().filter(|at| **at < SECOND).count(), 109);
    assert_eq!(at.iter().filter(|at| **at <= SECOND).count(), 110);
    // And from then on exactly the rate.
    assert_eq!(at[999], Duration::from_millis(9_900));
}

#[test]
fn a_rate_that_is_no_whole_number_of_nanoseconds_is_kept_exactly() {
    let at = patient(&Gcra::new(3, SECOND).unwrap().burst(2).unwrap(), 300_002);
    assert_eq!(at[300_001], Duration::from_secs(100_000));
}

#[test]
fn a_number_that_lets_nothing_pass_is_refused_with_what_is_accepted() {
    let year = Duration::from_secs(367 * 24 * 60 * 60);
    let rows: [(Result<(), InvalidLimit>, &str); 9] = [
        (FixedWindow::new(0, SECOND).map(drop), "count 0 is out of range; use 1 to"),
        (SlidingWindow::new(0, SECOND).map(drop), "count 0 is out of range; use 1 to 1000000"),
        (SlidingWindow::new(1_000_001, SECOND).map(drop), "count 1000001 is out of range; use 1 to 1000000"),
        (Gcra::new(0, SECOND).map(drop), "count 0 is out of range; use 1 to"),
        (Gcra::new(1, SECOND).and_then(|limit| limit.burst(0)).map(drop), "burst 0 is out of range; use 1 to"),
        (FixedWindow::new(1, Duration::ZERO).map(drop), "per 0ns is out of range; use more than zero"),
        (SlidingWindow::new(1, Duration::ZERO).map(drop), "per 0ns is out of range; use more than zero"),
        (Gcra::new(1, Duration::ZERO).map(drop), "per 0ns is out of range; use more than zero"),
        (Gcra::new(1, year).map(drop), "per 31708800s is out of range; use more than zero, at most 366 days"),
    ];
    for (result, text) in rows {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(text), "{error} lacks {text}");
    }
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let (day, end) = (Duration::from_secs(24 * 60 * 60), Duration::from_secs(100 * 365 * 24 * 60 * 60));
    let limit = Gcra::new(u32::MAX, day * 366).unwrap().burst(u32::MAX).unwrap();
    let now = Instant::now();
    for at in [now, now + day, now + end] {
        assert_eq!(limit.try_acquire(at), Ok(()));
    }
    assert!(limit.try_acquire(now).is_err_and(|after| after <= end), "an instant long before is no panic");
}

#[tokio::test(start_paused = true)]
async fn three_jobs_at_one_a_second_take_two_seconds() {
    let limit = Limiter::new(Gcra::new(1, SECOND).unwrap());
    let start = Instant::now();
    for _ in 0..3 {
        limit.acquire().await;
    }
    let took = start.elapsed();
    assert!((Duration::from_millis(2_000)..=Duration::from_millis(2_200)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn permits_come_in_the_order_of_asking() {
    let limit = Limiter::new(SlidingWindow::new(1, Duration::from_millis(10)).unwrap());
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for n in 0..20 {
        let (limit, order) = (limit.clone(), order.clone());
        tasks.push(tokio::spawn(async move {
            limit.acquire().await;
            order.lock().unwrap().push(n);
        }));
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_who_comes_when_the_permit_is_there_does_not_overtake_those_who_wait() {
    let limit = Limiter::new(FixedWindow::new(1, Duration::from_millis(10)).unwrap());
    limit.acquire().await;
    let waiting = tokio::spawn({
        let limit = limit.clone();
        async move {
            limit.acquire().await;
            Instant::now()
        }
    });
    tokio::task::yield_now().await;
    // The window ends, and the one who waits had no chance to look.
    std::thread::sleep(Duration::from_millis(50));
    limit.acquire().await;
    let mine = Instant::now();
    assert!(waiting.await.unwrap() < mine);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wait_takes_no_permit_and_gives_its_place_to_the_next() {
    let limit = Limiter::new(FixedWindow::new(1, SECOND).unwrap());
    limit.acquire().await;
    let start = Instant::now();
    // The first in the queue, which has the timer, and one behind it.
    let (first, second) = (limit.clone(), limit.clone());
    let first = tokio::spawn(async move { timeout(Duration::from_millis(300), first.acquire()).await });
    tokio::task::yield_now().await;
    let second = tokio::spawn(async move { timeout(Duration::from_millis(600), second.acquire()).await });
    sleep(Duration::from_millis(1)).await;
    assert!(!limit.is_idle());
    limit.acquire().await;
    assert!(first.await.unwrap().is_err() && second.await.unwrap().is_err());
    assert_eq!(start.elapsed(), SECOND, "the two that gave up took nothing");
    sleep(SECOND).await;
    assert!(limit.is_idle());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_tasks_get_exactly_the_count() {
    let limits: [Arc<dyn Limit>; 3] = [
        Arc::new(FixedWindow::new(1_000, SECOND * 3_600).unwrap()),
        Arc::new(SlidingWindow::new(1_000, SECOND * 3_600).unwrap()),
        Arc::new(Gcra::new(1, SECOND * 3_600).unwrap().burst(1_000).unwrap()),
    ];
    for limit in limits {
        let given = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let (limit, given) = (limit.clone(), given.clone());
                tokio::spawn(async move {
                    for _ in 0..100 {
                        given.fetch_add(usize::from(limit.try_acquire(Instant::now()).is_ok()), Ordering::SeqCst);
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(given.load(Ordering::SeqCst), 1_000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_tasks_that_wait_or_give_up_lose_no_permit() {
    let limit = Limiter::new(SlidingWindow::new(200, Duration::from_millis(20)).unwrap());
    let given = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..64)
        .map(|n| {
            let (limit, given) = (limit.clone(), given.clone());
            tokio::spawn(async move {
                for _ in 0..20 {
                    if n % 4 == 0 {
                        drop(timeout(Duration::from_millis(1), limit.acquire()).await);
                    } else {
                        limit.acquire().await;
                        given.fetch_add(1, Ordering::SeqCst);
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(given.load(Ordering::SeqCst), 48 * 20);
    sleep(Duration::from_millis(25)).await;
    assert!(limit.is_idle(), "no place in the queue is left behind");
}

#[test]
fn a_permit_that_was_given_back_can_be_taken_again() {
    let limits: [Box<dyn Limit>; 5] = [
        Box::new(SlidingWindow::new(1, SECOND).unwrap()),
        Box::new(FixedWindow::new(1, SECOND).unwrap()),
        Box::new(Gcra::new(1, SECOND).unwrap()),
        Box::new(Adaptive::new(1.0, 1.0, 2.0).unwrap()),
        Box::new(Aimd::new(1.0, 1.0, 2.0).unwrap()),
    ];
    for limit in limits {
        let now = Instant::now();
        assert_eq!(limit.try_acquire(now), Ok(()));
        assert!(limit.try_acquire(now).is_err());
        limit.give_back(now);
        assert_eq!(limit.try_acquire(now), Ok(()));
        assert!(limit.try_acquire(now).is_err());
    }
}
