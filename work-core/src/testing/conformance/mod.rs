//! What every store does, as tests: a new store is finished when they pass.
//!
//! [`conformance!`](crate::conformance) makes one `#[tokio::test]` of each. The store under test is made anew, and
//! empty, for every test, with the clock that the test controls.
//!
//! ```
//! use std::sync::Arc;
//! use work_core::{Clock, store::{Inspect, MemoryStore}};
//!
//! async fn make(clock: Clock) -> Arc<dyn Inspect> {
//!     Arc::new(MemoryStore::with_clock(clock))
//! }
//!
//! work_core::conformance!(make);
//! # fn main() {}
//! ```

pub mod after;
pub mod capacity;
pub mod compose;
pub mod group;
pub mod insert;
pub mod inspect;
pub mod keys;
pub mod lease;
pub mod operate;
pub mod overflow;
pub mod queues;
pub mod rates;
pub mod runner;
pub mod schedule;
pub mod settle;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::store::{BoxFuture, Inspect, Lease, NewJob, Settle, Settled, Settlement, StoredJob, Want};
use crate::{Clock, DEFAULT_MAX_ARGS, Job, JobId, Queue, Status};

/// Makes a new, empty store with this clock: any `async fn(Clock) -> Arc<dyn Inspect>`.
pub trait MakeStore {
    /// Makes it.
    fn make(&self, clock: Clock) -> BoxFuture<'static, Arc<dyn Inspect>>;
}

impl<F, Fut> MakeStore for F
where
    F: Fn(Clock) -> Fut,
    Fut: Future<Output = Arc<dyn Inspect>> + Send + 'static,
{
    fn make(&self, clock: Clock) -> BoxFuture<'static, Arc<dyn Inspect>> {
        Box::pin(self(clock))
    }
}

/// Makes one `#[tokio::test]` for each behaviour that every store has.
///
/// The argument is an `async fn(Clock) -> Arc<dyn Inspect>`. The crate that uses it needs tokio with `macros` and
/// `rt-multi-thread` among its dev-dependencies.
#[macro_export]
macro_rules! conformance {
    ($make:expr) => {
        $crate::conformance! { @tests $make,
            insert: [
                ids_and_unique_keys_are_held_once,
                a_unique_key_is_free_again_when_its_scope_ends,
                fifty_callers_with_one_key_make_one_job,
                a_unique_key_with_a_window_is_free_after_it,
                each_job_of_a_batch_has_a_window_of_its_own,
                a_later_job_of_a_key_can_replace_the_args_of_one_that_waits,
                a_key_that_was_let_go_is_held_only_while_its_job_is_active,
                args_come_back_byte_for_byte,
                empty_batches_do_nothing,
                ten_thousand_jobs_fit_in_one_batch,
            ]
            after: [
                one_job_waits_for_the_running_holder_of_its_key,
                a_job_waits_through_the_retries_and_crashes_of_the_holder,
                a_job_runs_after_a_holder_that_ends_in_any_way,
                a_job_that_waits_for_a_holder_can_be_dealt_with,
                a_key_that_is_kept_has_no_next_job,
                whatever_was_there_when_a_job_was_inserted_is_seen_by_a_run,
            ]
            lease: [
                each_job_is_leased_once_among_16_leasers,
                what_was_leased_in_an_answer_that_was_lost_is_taken_back,
                priority_then_time_then_arrival_is_the_order,
                a_job_is_not_leased_before_it_is_due,
                queues_are_taken_in_the_order_asked_for,
                an_expired_job_is_never_started,
                a_lease_that_is_extended_is_not_rescued,
                an_expired_lease_is_rescued_and_its_attempt_given_back,
                a_job_whose_attempts_are_used_up_is_not_started,
                the_third_crash_is_a_dead_letter_and_neighbours_go_on,
                an_insert_wakes_who_waits,
            ]
            settle: [
                a_stale_settler_is_refused_and_changes_nothing,
                a_second_settlement_of_one_lease_is_refused,
                a_lease_of_a_job_that_is_gone_is_no_lease_of_another,
                all_of_a_batch_ends_before_what_follows_is_inserted,
                follow_ups_exist_exactly_if_the_settlement_counts,
                leases_that_completed_their_job_are_named,
                retry_counts_the_attempt_and_snooze_gives_it_back,
                a_cancelled_job_never_runs_and_a_running_one_is_told,
                a_mixed_batch_is_answered_in_order,
            ]
            inspect: [
                counts_lists_and_pages_agree,
                the_parts_of_a_count_add_up,
                a_failed_attempt_leaves_a_record,
                a_dead_letter_can_be_retried,
                a_dead_letter_whose_unique_key_is_taken_is_not_retried,
                every_condition_of_a_filter_holds,
                tags_come_back_with_the_job,
                a_deleted_job_is_gone,
                a_job_that_is_due_later_can_be_run_now,
                the_args_of_a_job_can_be_edited,
                of_those_who_saw_the_same_only_one_acts,
                what_was_seen_is_acted_on_or_nothing_is_done,
                jobs_of_a_filter_are_changed_together,
            ]
            operate: [
                a_paused_queue_is_not_leased_from_until_it_is_resumed,
                queues_tell_their_depth_and_their_oldest_job,
                queues_are_counted_only_as_far_as_asked,
                workers_are_known_as_long_as_they_beat,
                a_running_job_that_is_to_stop_is_named,
                a_job_that_is_to_stop_is_asked_again_when_it_runs_again,
                a_job_that_is_retried_has_no_progress,
                the_progress_of_a_current_lease_is_kept,
                jobs_that_ended_long_ago_are_forgotten,
                jobs_of_queues_that_are_kept_are_not_forgotten,
            ]
            queues: [
                each_turn_takes_no_more_than_it_may,
                no_more_of_a_limited_queue_are_leased_than_that,
                a_limit_is_never_exceeded_by_16_leasers,
                the_slots_of_a_crashed_holder_come_back_when_its_leases_end,
                a_limit_is_declared_once,
                a_job_that_has_waited_long_overtakes_smaller_priorities,
                queues_with_backlog_run_by_their_weights,
                a_lower_queue_starts_only_if_the_ones_above_have_nothing,
                a_runner_runs_no_more_of_a_queue_than_it_may,
                a_limit_holds_over_three_runners,
                a_runner_with_another_limit_is_refused,
            ]
            rates: [
                no_more_jobs_are_leased_than_there_are_permits,
                windows_have_so_many_starts,
                a_rate_with_a_name_is_one_for_all_its_queues,
                a_rate_is_declared_once,
                runners_share_a_rate,
            ]
            capacity: [
                a_full_queue_refuses_until_jobs_have_ended,
                a_job_that_is_there_needs_no_room,
                what_follows_an_accepted_job_goes_into_a_full_queue,
                a_capacity_holds_among_32_callers,
                producers_that_are_too_fast_are_told_and_lose_nothing,
                a_handler_that_inserts_into_its_own_full_queue_is_told,
                a_capacity_is_part_of_what_a_queue_tells,
            ]
            overflow: [
                a_burst_that_fits_nowhere_alone_is_performed_by_all_once,
                surplus_goes_to_free_slots_only,
                surplus_outlives_the_instance_that_took_it,
                surplus_that_comes_too_late_for_a_free_slot_is_given_back,
                a_refusal_of_the_store_reaches_the_caller,
                sixty_four_callers_overflow_five_slots,
            ]
            keys: [
                of_each_key_no_more_are_leased_than_that,
                each_key_has_its_share,
                each_key_has_its_rate,
                runners_run_one_of_each_key,
            ]
            schedule: [
                a_schedule_is_kept_by_its_name,
                each_slot_makes_one_job_with_any_number_of_schedulers,
                runs_overlap_as_the_schedule_says,
                missed_runs_are_caught_up_with_as_the_schedule_says,
                a_paused_schedule_makes_no_jobs,
                runners_perform_each_slot_once,
            ]
            compose: [
                an_output_is_there_by_the_id_of_its_job,
                an_output_over_the_limit_makes_a_dead_letter,
                each_job_of_a_chain_gets_the_output_before,
                a_failure_in_the_middle_ends_a_chain,
                the_next_job_exists_exactly_if_the_one_before_is_completed,
                many_chains_run_on_two_slots,
                a_dead_letter_makes_its_on_error_job_once,
                a_job_that_the_store_gives_up_makes_its_on_error_job,
            ]
            group: [
                a_callback_runs_once_when_all_have_ended,
                a_callback_waits_for_the_retries_of_a_member,
                the_callback_of_an_empty_group_runs_at_once,
                a_group_is_accepted_whole_or_not_at_all,
                a_group_outlives_the_crashes_of_its_workers,
                each_of_many_groups_calls_back_once,
            ]
            runner: [
                every_job_is_performed_once,
                undecodable_args_are_kept_as_a_dead_letter,
                an_unknown_kind_is_kept_as_a_dead_letter,
                one_mebibyte_of_args_is_accepted_and_one_byte_more_is_refused,
                a_panic_is_retried_and_the_next_job_runs,
                a_shutdown_gives_an_interrupted_job_back_with_its_attempt,
                an_outcome_can_be_awaited,
                a_running_job_stops_within_a_second_of_its_cancellation,
                the_progress_of_a_handler_reaches_the_store,
                a_runner_is_known_until_it_stops,
                a_runner_goes_on_when_its_queue_is_resumed,
            ]
        }
    };
    (@tests $make:expr, $($group:ident: [$($name:ident,)*])*) => {
        $(mod $group {
            #[allow(unused_imports)]
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::testing::conformance::$group::$name(&$make).await;
            })*
        })*
    };
}

/// The instant at which every test starts.
fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default()
}

async fn store(make: &impl MakeStore) -> (Arc<dyn Inspect>, Clock) {
    let clock = Clock::manual(start());
    (make.make(clock.clone()).await, clock)
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn job(n: u32) -> Job {
    Job::new("test", n)
}

fn stored(job: Job) -> NewJob {
    job.into_stored(DEFAULT_MAX_ARGS).expect("the suite makes valid jobs")
}

async fn insert(store: &dyn Inspect, jobs: impl IntoIterator<Item = Job>) -> Vec<JobId> {
    let jobs = jobs.into_iter().map(stored).collect();
    let inserted = store.insert(jobs).await.expect("insert");
    inserted.into_iter().map(crate::store::Inserted::id).collect()
}

fn want(limit: usize) -> Want {
    Want { limit, worker: "suite".into(), ..Want::default() }
}

async fn lease(store: &dyn Inspect, limit: usize) -> Vec<Lease> {
    store.lease(want(limit)).await.expect("lease").jobs
}

async fn lease_one(store: &dyn Inspect) -> Lease {
    lease(store, 1).await.pop().expect("a job is due")
}

fn numbers(leases: &[Lease]) -> Vec<u32> {
    leases.iter().map(|lease| serde_json::from_slice(&lease.job.args).expect("a number")).collect()
}

fn end(lease: &Lease, status: Status, settlement: Settlement) -> Settle {
    Settle { key: lease.key, status, settlement, error: None, then: Vec::new() }
}

fn complete(lease: &Lease) -> Settle {
    end(lease, Status::SUCCESS, Settlement::Complete { output: None })
}

async fn settle(store: &dyn Inspect, done: Settle) -> Settled {
    store.settle(vec![done]).await.expect("settle").pop().expect("one answer")
}

async fn get(store: &dyn Inspect, id: JobId) -> StoredJob {
    store.get(id).await.expect("get").expect("the job is kept")
}
