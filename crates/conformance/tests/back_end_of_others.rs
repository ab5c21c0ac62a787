//! A back end that is made with the public API alone (`examples/back_end`) passes the conformance suite.

use std::sync::Arc;
use std::time::Duration;

use performer::model::{Clock as _, LimitsEdit, ManualClock, SystemClock};
use performer::orchestrator::{ErrorKind, FollowUp, Report, Seen};
use performer::prelude::*;
use performer_conformance::{Fixture, QUEUE, named, new_job, ok, start_of_time, suite, take};

use back_end::SimpleBackEnd;

#[path = "../../../examples/back_end/back_end.rs"]
mod back_end;

async fn new_fixture() -> Fixture {
    let clock = Arc::new(ManualClock::new(start_of_time()));
    Fixture::new(Arc::new(SimpleBackEnd::new(clock.clone())), clock)
}

suite!(
    simple_back_end,
    new_fixture,
    skip {
        nothing_is_claimed_from_a_paused_queue_until_it_is_resumed: "the back end has no limits of queues",
        no_more_items_are_in_progress_than_the_limit_allows: "the back end has no limits of queues",
        concurrent_claims_do_not_exceed_the_limit: "the back end has no limits of queues",
        reports_and_claims_together_keep_the_limit_and_the_order: "the back end has no limits of queues",
        no_more_items_are_started_in_a_window_than_the_limit_allows: "the back end has no limits of queues",
        limits_are_kept_when_a_queue_is_updated: "the back end has no limits of queues",
        claims_are_held_back_by_what_is_named: "the back end has no limits of queues",
        a_limit_on_starts_holds_claims_back_until_the_time_that_is_named: "the back end has no limits of queues",
        full_groups_hold_claims_back: "the back end has no groups of items",
        t4_follow_ups_are_added_with_the_success_in_their_order: "the back end adds no follow-ups",
        t4_the_job_that_reports_is_the_creator_of_its_follow_ups: "the back end adds no follow-ups",
        t4_only_a_success_has_follow_ups: "the back end adds no follow-ups",
        t11_a_repeated_report_adds_nothing_again: "the back end adds no follow-ups",
        t12_a_lost_claim_adds_nothing: "the back end adds no follow-ups",
        t12_a_job_whose_lease_has_expired_adds_nothing: "the back end adds no follow-ups",
        t4_a_refused_follow_up_refuses_all: "the back end adds no follow-ups",
        t4_a_reference_of_a_follow_up_that_is_there_refuses_the_success: "the back end adds no follow-ups",
        t4_many_follow_ups_are_added_at_once: "the back end adds no follow-ups",
        a_follow_up_wakes_those_who_wait_for_its_queue: "the back end adds no follow-ups",
        failures_are_grouped_by_their_reason: "the back end does not group failures",
        the_open_items_of_a_reason_follow_reviews_and_removals: "the back end does not group failures",
        people_write_on_a_reason: "the back end does not group failures",
        t21_t16_a_retry_has_corrected_values: "the back end does one after the other",
        figures_say_what_ended_and_what_waited: "the back end has no figures by minute",
        figures_are_removed_when_they_are_old: "the back end has no figures by minute",
        operations_act_on_what_was_frozen: "the back end keeps no operations",
        operations_are_stopped_resumed_and_taken_back: "the back end keeps no operations",
        what_is_due_is_read_in_its_order: "the back end does not say what is due",
        the_audit_is_a_chain_of_what_people_did: "the back end has no audit",
        a_queue_has_a_limited_number_of_reasons: "the back end does not group failures",
        the_group_of_an_item_is_stored_and_copied: "the back end has no groups of items",
        items_of_a_group_are_in_progress_one_at_a_time_in_order: "the back end has no groups of items",
        the_order_of_a_group_is_that_of_the_queue_whenever_items_come: "the back end has no groups of items",
        a_retry_stands_where_its_original_stood_in_the_group: "the back end has no groups of items",
        however_an_attempt_ends_its_group_goes_on: "the back end has no groups of items",
        groups_take_turns_in_a_fair_queue: "the back end has no groups of items",
        limited_groups_take_turns_too: "the back end has no groups of items",
        rules_about_groups_change_on_a_queue_with_items: "the back end has no groups of items",
        claims_of_chosen_references_keep_to_the_rules_of_groups: "the back end has no groups of items",
        items_that_wait_behind_others_are_listed_as_new: "the back end has no groups of items",
        i22_no_group_exceeds_its_limit_and_none_is_stuck: "the back end has no groups of items",
    }
);

/// A caller is told what the back end cannot do: nothing is accepted and then ignored.
#[tokio::test]
async fn what_is_not_supported_is_refused() {
    let back_end = SimpleBackEnd::new(Arc::new(ManualClock::new(start_of_time())));
    back_end.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let pause = LimitsEdit::default().paused(true);
    let error = back_end.edit_queue_limits(QUEUE, pause).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(back_end.get_queue(QUEUE).await.unwrap().limits.is_none());
    let error = back_end.add_queue_item(QUEUE, named("a").group("customer")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");

    assert!(!back_end.supports_follow_ups());
    let job = back_end.start_job(new_job()).await.unwrap();
    back_end.add_queue_item(QUEUE, named("a")).await.unwrap();
    let claimed = back_end.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap().items;
    let follow_ups = vec![FollowUp::new(QUEUE, named("b"))];
    let report = Report::new(claimed[0].claim, ok()).follow_ups(follow_ups);
    let answer = back_end.report_and_claim(vec![report], None).await;
    assert_eq!(answer.reports[0].as_ref().unwrap_err().kind(), ErrorKind::Unsupported);
}

/// A caller that waits is there when an item is not deferred any more, without any change.
#[tokio::test(start_paused = true)]
async fn a_wait_ends_when_an_item_is_not_deferred_any_more() {
    let clock = Arc::new(ManualClock::new(start_of_time()));
    let back_end = SimpleBackEnd::new(clock.clone());
    back_end.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let later = clock.now() + Duration::from_secs(5);
    back_end.add_queue_item(QUEUE, named("deferred").defer_date(later)).await.unwrap();
    let began = tokio::time::Instant::now();
    back_end.wait_for_items(QUEUE, Seen(u64::MAX), Duration::from_secs(600)).await;
    assert_eq!(began.elapsed().as_secs(), 5);
}

/// Fails each item once.
struct SecondAttempt;

#[async_trait]
impl Transaction for SecondAttempt {
    type Content = serde_json::Value;
    type Output = ();

    async fn process(&mut self, _: serde_json::Value, item: &TransactionItem) -> Result<(), Exception> {
        if item.retry_number() == 0 {
            return Err(ApplicationException::new("the first attempt").into());
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_performer_processes_its_items() {
    for claim_ahead in [0, 16] {
        let back_end = Arc::new(SimpleBackEnd::new(Arc::new(SystemClock::new())));
        back_end.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
        for number in 0..100 {
            back_end.add_queue_item(QUEUE, named(&number.to_string())).await.unwrap();
        }
        let performer = Performer::new(QUEUE, || SecondAttempt).robots(4).claim_ahead(claim_ahead);
        let summary = performer.handle_signals(false).run_until_empty(back_end.clone()).await.unwrap();
        assert_eq!((summary.retried, summary.successful), (100, 100));
        let statistics = back_end.queue_statistics(QUEUE).await.unwrap();
        assert_eq!((statistics.retried, statistics.successful, statistics.total()), (100, 100, 200));
    }
}
