//! The conformance suite (`crates/conformance`) on every back end: a back end is complete if it passes.

use performer_conformance::suite;

suite!(memory, performer_proofs::memory);
suite!(sqlite, performer_proofs::sqlite);
suite!(postgres, performer_proofs::postgres);
#[cfg(feature = "http")]
suite! {
    http,
    performer_proofs::http,
    skip {
        t4_the_job_that_reports_is_the_creator_of_its_follow_ups:
            "the client does not read who added an item; the server's tests do",
    }
}
#[cfg(feature = "http")]
suite! {
    http_without_leases,
    performer_proofs::http_without_leases,
    skip {
        // Leases and jobs
        no_job_is_lost_after_all_processes_were_suspended:
            "the Orchestrator has no leases: a job that is gone is not found",
        t14_t15_a_job_that_does_not_beat_loses_its_items_and_its_reports_change_nothing:
            "the Orchestrator has no leases: a job that does not beat keeps its items",
        t15_abandoned_items_are_retried_where_the_queue_says_so:
            "the Orchestrator has no leases: a job that does not beat keeps its items",
        t14_the_end_of_a_job_abandons_what_it_still_holds:
            "the Orchestrator has no list of the jobs of performers",
        stop_requests_are_delivered_with_the_beat:
            "the Orchestrator stops jobs of its own, not those of performers",
        robots_are_listed_with_their_items: "the Orchestrator has no list of the robots of performers",
        any_accepted_time_can_be_read_and_its_item_claimed:
            "the check reads the list of robots, which the Orchestrator does not have",
        t2_an_item_is_added_and_claimed_at_once:
            "items name jobs of the Orchestrator, not those of performers",
        t4_a_success_is_recorded_with_its_output_and_last_progress:
            "items name jobs of the Orchestrator, not those of performers",
        // Follow-ups
        t4_the_job_that_reports_is_the_creator_of_its_follow_ups:
            "items name jobs of the Orchestrator, not those of performers",
        t12_a_lost_claim_adds_nothing: "the client adds follow-ups before it reports",
        t12_a_job_whose_lease_has_expired_adds_nothing:
            "the Orchestrator has no leases: a job that does not beat keeps its items",
        t4_a_refused_follow_up_refuses_all: "the client adds follow-ups before it reports",
        t4_a_reference_of_a_follow_up_that_is_there_refuses_the_success:
            "the client takes a follow-up whose reference is there for one that it has added before",
        // What the Orchestrator does by itself
        t15_an_item_in_progress_for_too_long_is_abandoned_even_if_its_job_is_alive:
            "a queue of the Orchestrator cannot set the time after which items are abandoned",
        t15_nothing_is_overdue_by_a_clock_that_is_ahead:
            "a queue of the Orchestrator cannot set the time after which items are abandoned",
        t23_a_chain_is_removed_as_a_whole_when_all_of_it_is_old:
            "the Orchestrator removes items past their retention by itself",
        t23_retention_scans_kept_items_in_chunks:
            "the Orchestrator removes items past their retention by itself",
        t23_a_report_on_a_removed_item_is_a_lost_claim:
            "the Orchestrator removes items past their retention by itself",
        t23_nothing_is_removed_by_a_clock_that_is_ahead:
            "the Orchestrator removes items past their retention by itself",
        // Retry delays
        a_retry_delay_is_kept_changed_and_removed: "a queue of the Orchestrator has no retry delay",
        t6_the_copy_of_a_failed_item_waits_for_the_retry_delay_of_its_queue:
            "a queue of the Orchestrator has no retry delay",
        t6_retries_that_grow_apart_wait_equally_long_for_the_same_item:
            "a queue of the Orchestrator has no retry delay",
        t15_the_copy_of_an_abandoned_item_waits_for_the_retry_delay_too:
            "a queue of the Orchestrator has no retry delay",
        // Limits
        nothing_is_claimed_from_a_paused_queue_until_it_is_resumed:
            "the Orchestrator cannot pause or limit a queue",
        no_more_items_are_in_progress_than_the_limit_allows: "the Orchestrator cannot pause or limit a queue",
        concurrent_claims_do_not_exceed_the_limit: "the Orchestrator cannot pause or limit a queue",
        reports_and_claims_together_keep_the_limit_and_the_order:
            "the Orchestrator cannot pause or limit a queue",
        no_more_items_are_started_in_a_window_than_the_limit_allows:
            "the Orchestrator cannot pause or limit a queue",
        limits_are_kept_when_a_queue_is_updated: "the Orchestrator cannot pause or limit a queue",
        claims_are_held_back_by_what_is_named: "the Orchestrator cannot pause or limit a queue",
        a_limit_on_starts_holds_claims_back_until_the_time_that_is_named:
            "the Orchestrator cannot pause or limit a queue",
        full_groups_hold_claims_back: "the Orchestrator has no groups of items",
        the_group_of_an_item_is_stored_and_copied: "the Orchestrator has no groups of items",
        items_of_a_group_are_in_progress_one_at_a_time_in_order: "the Orchestrator has no groups of items",
        the_order_of_a_group_is_that_of_the_queue_whenever_items_come: "the Orchestrator has no groups of items",
        a_retry_stands_where_its_original_stood_in_the_group: "the Orchestrator has no groups of items",
        however_an_attempt_ends_its_group_goes_on: "the Orchestrator has no groups of items",
        groups_take_turns_in_a_fair_queue: "the Orchestrator has no groups of items",
        limited_groups_take_turns_too: "the Orchestrator has no groups of items",
        rules_about_groups_change_on_a_queue_with_items: "the Orchestrator has no groups of items",
        claims_of_chosen_references_keep_to_the_rules_of_groups: "the Orchestrator has no groups of items",
        items_that_wait_behind_others_are_listed_as_new: "the Orchestrator has no groups of items",
        i22_no_group_exceeds_its_limit_and_none_is_stuck: "the Orchestrator has no groups of items",
        // Items that go back into the queue
        t3_many_items_are_claimed_in_the_same_order_as_one_by_one:
            "an item that is given back waits for ten seconds",
        t9_an_item_that_is_given_back_is_as_if_never_claimed:
            "an item that is given back waits for ten seconds",
        a_wait_ends_when_an_item_is_added_or_given_back: "an item that is given back waits for ten seconds",
        t3_a_job_that_has_ended_claims_nothing:
            "a job takes an item at its start to prove its robot; given back at its end, the item waits for ten seconds",
        every_transition_has_one_event: "an item is postponed for at least ten seconds",
        // Others
        failures_are_grouped_by_their_reason: "failures are not grouped over HTTP",
        the_open_items_of_a_reason_follow_reviews_and_removals: "failures are not grouped over HTTP",
        people_write_on_a_reason: "failures are not grouped over HTTP",
        t21_t16_a_retry_has_corrected_values: "the Orchestrator does one after the other",
        figures_say_what_ended_and_what_waited: "figures are not read over HTTP",
        figures_are_removed_when_they_are_old: "figures are not read over HTTP",
        operations_act_on_what_was_frozen: "the Orchestrator keeps no operations",
        operations_are_stopped_resumed_and_taken_back: "the Orchestrator keeps no operations",
        what_is_due_is_read_in_its_order: "the Orchestrator does not say what is due",
        the_audit_is_a_chain_of_what_people_did: "the Orchestrator has no audit of queues and items",
        a_queue_has_a_limited_number_of_reasons: "failures are not grouped over HTTP",
        a_deleted_queue_is_hidden_at_once_and_emptied_by_sweeps:
            "the client answers repeated reports by itself, and does not ask whether the queue still exists",
        comments_belong_to_their_authors: "the Orchestrator takes the caller for the author of a comment",
    }
}
