//! The list of all checks, the tests that are made of it, and the value that a program can run them by.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::checks;
use crate::fixture::Fixture;

/// Hands the list of all checks, by topic, to a macro. It is the only list: [`CHECKS`] and [`suite!`](crate::suite!) are
/// made of it.
#[doc(hidden)]
#[macro_export]
macro_rules! every_check {
    ($list_in:ident) => {
        $list_in! {
            queues:
                queues_are_created_changed_and_deleted,
                a_queue_is_ensured_and_its_differences_are_named,
                a_performer_reads_the_schemas_of_its_queue,
                an_update_of_a_queue_removes_what_it_does_not_set,
                a_retry_delay_is_kept_changed_and_removed,
                items_of_a_deleted_queue_are_neither_claimed_nor_found,
                items_of_a_deleted_queue_cannot_be_changed,
                a_deleted_queue_is_hidden_at_once_and_emptied_by_sweeps;
            adding:
                t1_an_item_is_stored_as_it_was_added,
                t1_invalid_items_are_refused_and_change_nothing,
                t1_a_unique_reference_is_accepted_once,
                t1_of_concurrent_adds_of_one_reference_exactly_one_succeeds,
                t1_bulk_adds_follow_their_commit_type,
                t2_an_item_is_added_and_claimed_at_once;
            stored_values:
                any_accepted_time_can_be_read_and_its_item_claimed,
                numbers_keep_all_their_digits,
                large_content_survives_every_transition;
            claiming:
                t3_items_are_claimed_in_the_documented_order,
                t3_many_items_are_claimed_in_the_same_order_as_one_by_one,
                t3_a_deferred_item_keeps_its_place_in_the_order,
                t3_a_reference_filter_claims_only_matching_items,
                t3_two_robots_never_get_the_same_item,
                t3_a_job_that_has_ended_claims_nothing;
            reporting:
                t4_a_success_is_recorded_with_its_output_and_last_progress,
                t5_a_business_exception_is_never_retried,
                t6_an_application_exception_is_retried_behind_everything_that_waits,
                t6_a_retry_may_be_deferred,
                t6_the_copy_of_a_failed_item_waits_for_the_retry_delay_of_its_queue,
                t6_retries_that_grow_apart_wait_equally_long_for_the_same_item,
                t7_without_retries_or_without_an_exception_the_item_fails,
                t6_a_changed_policy_applies_from_then_on;
            follow_ups:
                t4_follow_ups_are_added_with_the_success_in_their_order,
                t4_the_job_that_reports_is_the_creator_of_its_follow_ups,
                t4_only_a_success_has_follow_ups,
                t11_a_repeated_report_adds_nothing_again,
                t12_a_lost_claim_adds_nothing,
                t12_a_job_whose_lease_has_expired_adds_nothing,
                t4_a_refused_follow_up_refuses_all,
                t4_a_reference_of_a_follow_up_that_is_there_refuses_the_success,
                t4_many_follow_ups_are_added_at_once,
                a_follow_up_wakes_those_who_wait_for_its_queue;
            claims:
                t8_a_postponed_item_comes_back_at_its_time_and_uses_no_retry,
                t8_a_defer_date_in_the_past_is_refused_and_the_claim_holds,
                t9_an_item_that_is_given_back_is_as_if_never_claimed,
                t10_progress_is_recorded_while_the_claim_holds,
                t11_a_repeated_report_is_accepted_and_changes_nothing,
                t12_any_other_report_is_a_lost_claim_and_changes_nothing,
                t12_one_refused_report_affects_neither_the_others_nor_the_claim;
            tasks:
                t25_an_item_that_asks_waits_for_the_answer,
                t25_a_deleted_task_lets_the_item_go_on,
                an_item_asks_by_one_task_and_a_deadline_ends_the_wait,
                a_question_that_is_refused_leaves_the_claim;
            leases:
                t13_a_job_that_beats_keeps_its_items,
                t14_t15_a_job_that_does_not_beat_loses_its_items_and_its_reports_change_nothing,
                t14_the_end_of_a_job_abandons_what_it_still_holds,
                t15_abandoned_items_are_retried_where_the_queue_says_so,
                t15_the_copy_of_an_abandoned_item_waits_for_the_retry_delay_too,
                t15_an_item_in_progress_for_too_long_is_abandoned_even_if_its_job_is_alive,
                stop_requests_are_delivered_with_the_beat,
                a_job_needs_a_queue_and_a_lease,
                robots_are_listed_with_their_items;
            clocks:
                leases_survive_a_change_of_the_time_of_day,
                no_job_is_lost_after_all_processes_were_suspended,
                t15_nothing_is_overdue_by_a_clock_that_is_ahead,
                t23_nothing_is_removed_by_a_clock_that_is_ahead,
                items_that_came_due_while_the_clock_was_ahead_are_deferred_again;
            limits:
                nothing_is_claimed_from_a_paused_queue_until_it_is_resumed,
                no_more_items_are_in_progress_than_the_limit_allows,
                concurrent_claims_do_not_exceed_the_limit,
                reports_and_claims_together_keep_the_limit_and_the_order,
                no_more_items_are_started_in_a_window_than_the_limit_allows,
                limits_are_kept_when_a_queue_is_updated;
            blockers:
                claims_are_held_back_by_what_is_named,
                a_limit_on_starts_holds_claims_back_until_the_time_that_is_named,
                full_groups_hold_claims_back;
            groups:
                the_group_of_an_item_is_stored_and_copied,
                items_of_a_group_are_in_progress_one_at_a_time_in_order,
                the_order_of_a_group_is_that_of_the_queue_whenever_items_come,
                a_retry_stands_where_its_original_stood_in_the_group,
                however_an_attempt_ends_its_group_goes_on,
                groups_take_turns_in_a_fair_queue,
                limited_groups_take_turns_too,
                rules_about_groups_change_on_a_queue_with_items,
                claims_of_chosen_references_keep_to_the_rules_of_groups,
                items_that_wait_behind_others_are_listed_as_new,
                i22_no_group_exceeds_its_limit_and_none_is_stuck;
            editing:
                t16_a_new_item_can_be_edited,
                t17_deleted_items_stay_readable_and_their_claims_are_void,
                many_items_are_deleted_in_chunks,
                t24_content_of_finished_items_can_be_blanked;
            reviews:
                t18_to_t20_reviews_move_as_documented,
                t21_a_manual_retry_makes_one_copy,
                t21_t16_a_retry_has_corrected_values,
                t22_a_reviewer_is_set_and_cleared;
            retention:
                t23_a_chain_is_removed_as_a_whole_when_all_of_it_is_old,
                t23_retention_scans_kept_items_in_chunks,
                t23_a_report_on_a_removed_item_is_a_lost_claim;
            lists:
                lists_are_filtered,
                lists_come_in_pages,
                pages_begin_behind_an_item,
                references_are_found_by_their_prefix,
                counts_stop_at_their_limit;
            filters:
                lists_answer_any_condition_as_the_model_does,
                lists_answer_any_filter_as_the_model_does;
            reasons:
                failures_are_grouped_by_their_reason,
                the_open_items_of_a_reason_follow_reviews_and_removals,
                people_write_on_a_reason,
                a_queue_has_a_limited_number_of_reasons;
            figures:
                figures_say_what_ended_and_what_waited,
                figures_are_removed_when_they_are_old;
            operations:
                operations_act_on_what_was_frozen,
                operations_are_stopped_resumed_and_taken_back,
                what_is_due_is_read_in_its_order;
            audit:
                the_audit_is_a_chain_of_what_people_did;
            history:
                every_transition_has_one_event,
                comments_belong_to_their_authors,
                many_comments_are_all_there_once;
            assets:
                an_asset_of_each_type_is_read_as_it_was_written,
                an_asset_is_changed_and_deleted,
                what_is_secret_is_written_and_not_listed;
            logs:
                lines_of_logs_are_listed_as_they_were_submitted;
            buckets:
                a_bucket_is_changed_and_deleted,
                files_of_a_bucket_come_back_as_they_were_written;
            processes:
                a_process_is_defined_changed_and_deleted,
                a_job_is_pending_until_an_agent_takes_it;
            waiting:
                a_wait_ends_when_an_item_is_added_or_given_back,
                an_add_wakes_only_those_who_wait_for_its_queue;
            parked:
                a_claim_that_waits_gets_what_a_commit_leaves_for_it,
                claims_that_wait_share_what_is_added_and_are_given_up,
                claims_that_wait_keep_limits_and_pauses,
                a_claim_that_waits_for_a_job_that_has_ended_gets_nothing,
                a_claim_that_is_dropped_while_it_waits_keeps_nothing;
        }
    };
}

/// One check of the suite.
#[derive(Clone, Copy)]
pub struct Check {
    name: &'static str,
    topic: &'static str,
    function: fn(Fixture) -> Pin<Box<dyn Future<Output = ()>>>,
}

impl Check {
    /// Its name, which is that of its test in [`suite!`](crate::suite!).
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The topic, such as `claiming`.
    pub const fn topic(&self) -> &'static str {
        self.topic
    }

    /// Runs the check on a back end of its own. Robots are spawned as tasks, so it needs a tokio runtime.
    ///
    /// # Panics
    ///
    /// If the back end does not do what it has to.
    pub async fn run(self, fixture: Fixture) {
        (self.function)(fixture).await;
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("name", &self.name).field("topic", &self.topic).finish_non_exhaustive()
    }
}

macro_rules! list_of_checks {
    ($($topic:ident: $($check:ident),+;)+) => {
        /// All checks, for programs that do not use [`suite!`](crate::suite!).
        ///
        /// ```
        /// # use performer_conformance::{CHECKS, Fixture};
        /// # async fn run(new_fixture: impl AsyncFn() -> Fixture) {
        /// for check in CHECKS {
        ///     println!("{}: {}", check.topic(), check.name());
        ///     check.run(new_fixture().await).await;
        /// }
        /// # }
        /// ```
        pub const CHECKS: &[Check] = &[$($(Check {
            name: stringify!($check),
            topic: stringify!($topic),
            function: |fixture| Box::pin(checks::$topic::$check(fixture)),
        }),+),+];
    };
}

every_check!(list_of_checks);

/// The check of this name. In a constant, an unknown name is an error of the compiler.
///
/// # Panics
///
/// If there is no check of this name.
pub const fn check(name: &str) -> Check {
    let mut rest = CHECKS;
    while let [check, further @ ..] = rest {
        if are_equal(check.name.as_bytes(), name.as_bytes()) {
            return *check;
        }
        rest = further;
    }
    panic!("there is no check of this name");
}

/// `==`, which constants cannot use yet.
const fn are_equal(mut a: &[u8], mut b: &[u8]) -> bool {
    while let ([first_a, rest_a @ ..], [first_b, rest_b @ ..]) = (a, b) {
        if *first_a != *first_b {
            return false;
        }
        (a, b) = (rest_a, rest_b);
    }
    a.is_empty() && b.is_empty()
}

/// Makes one test of each check, in a module of this name.
///
/// The second argument is a function or a closure that returns a future of a new [`Fixture`]. Checks that a back end cannot
/// pass are left out by their names, each with the reason; their tests are ignored and show it. The name of a check that
/// there is not does not compile.
///
/// ```
/// use std::sync::Arc;
///
/// use performer::model::ManualClock;
/// use performer_conformance::{Fixture, start_of_time};
///
/// # use performer::orchestrator::Administration;
/// # struct MyBackEnd;
/// # impl MyBackEnd {
/// #     fn with_clock(_clock: Arc<ManualClock>) -> Arc<dyn Administration> { unreachable!() }
/// # }
/// async fn my_back_end() -> Fixture {
///     let clock = Arc::new(ManualClock::new(start_of_time()));
///     Fixture::new(MyBackEnd::with_clock(clock.clone()), clock)
/// }
///
/// performer_conformance::suite!(my_tests, my_back_end, skip {
///     limits_are_kept_when_a_queue_is_updated: "it has no limits",
/// });
/// # fn main() {}
/// ```
///
/// ```compile_fail
/// # async fn my_back_end() -> performer_conformance::Fixture { unreachable!() }
/// performer_conformance::suite!(my_tests, my_back_end, skip {
///     there_is_no_such_check: "it has no limits",
/// });
/// # fn main() {}
/// ```
///
/// The tests are those of `#[tokio::test]`: the crate that uses this depends on `tokio` with the features `macros` and
/// `rt-multi-thread`.
#[macro_export]
macro_rules! suite {
    ($suite:ident, $new_fixture:expr $(, skip { $($skipped:ident: $reason:literal),* $(,)? })? $(,)?) => {
        $crate::tests_in_module! { ($) $suite, $new_fixture, { $($($skipped: $reason,)*)? } }
    };
}

/// The module of [`suite!`](crate::suite!). The first argument is a dollar sign, for the macros inside.
#[doc(hidden)]
#[macro_export]
macro_rules! tests_in_module {
    (($d:tt) $suite:ident, $new_fixture:expr, { $($skipped:ident: $reason:literal,)* }) => {
        mod $suite {
            #[allow(unused_imports, reason = "the fixture may be named by its whole path")]
            use super::*;

            $(const _: $crate::Check = $crate::check(stringify!($skipped));)*

            macro_rules! test_of {
                $(($skipped) => { $crate::test_of_check! { #[ignore = $reason] $skipped, $new_fixture } };)*
                ($d check:ident) => { $crate::test_of_check! { $d check, $new_fixture } };
            }

            macro_rules! tests_of {
                ($d($d topic:ident: $d($d check:ident),+;)+) => { $d($d(test_of! { $d check })+)+ };
            }

            $crate::every_check! { tests_of }
        }
    };
}

/// One test of [`suite!`](crate::suite!).
#[doc(hidden)]
#[macro_export]
macro_rules! test_of_check {
    ($(#[$ignored:meta])? $check:ident, $new_fixture:expr) => {
        #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $(#[$ignored])?
        async fn $check() {
            const CHECK: $crate::Check = $crate::check(stringify!($check));
            CHECK.run($new_fixture().await).await;
        }
    };
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_is_listed_once() {
        let names: HashSet<&str> = CHECKS.iter().map(Check::name).collect();
        assert_eq!(names.len(), CHECKS.len());
        assert!(CHECKS.iter().all(|listed| check(listed.name()).name() == listed.name()));
    }

    #[test]
    #[should_panic(expected = "there is no check of this name")]
    fn a_beginning_is_not_the_name() {
        check("lists");
    }
}
