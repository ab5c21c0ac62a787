//! How writers share the work.

use std::sync::mpsc::{Receiver, channel};

use smallvec::smallvec;

use super::super::backend::Scope;
use super::*;
use performer_core::model::key::JobKey;

/// The threshold for another transaction, if no other process writes.
const THRESHOLD: usize = 32;

const ALONE: CommitConditions = CommitConditions { serialized: false, other_writers: false };

/// A queue with two writers, both idle.
fn two_writers() -> (Arc<CommitQueue>, [Receiver<Message>; 2]) {
    let ((first, first_messages), (second, second_messages)) = (channel(), channel());
    let commit_queue = CommitQueue::new(vec![first, second], 4 * THRESHOLD);
    assert!(commit_queue.go_idle(0) && commit_queue.go_idle(1), "nothing is there");
    (commit_queue, [first_messages, second_messages])
}

/// Adds calls with two requests each. Nobody waits for the answers.
fn push_calls(commit_queue: &CommitQueue, callers: usize) {
    for n in 0..callers {
        let beat =
            |n: usize| Request { scope: Scope::SHARED, actor: None, operation: Operation::Beat(job(n)) };
        commit_queue.state().push(smallvec![beat(n), beat(n)], oneshot::channel().0);
    }
}

fn job(n: usize) -> JobKey {
    JobKey::from_bytes((n as u128).to_be_bytes())
}

fn is_woken(messages: &Receiver<Message>) -> bool {
    messages.try_recv().is_ok()
}

#[test]
fn an_idle_writer_is_woken_when_enough_work_waits() {
    let (commit_queue, [first, second]) = two_writers();
    push_calls(&commit_queue, 1);
    assert!(is_woken(&first) && !is_woken(&second));
    assert_eq!(commit_queue.begin(0, usize::MAX).operations.len(), 2);
    push_calls(&commit_queue, 15);
    assert!(!is_woken(&first) && !is_woken(&second), "too little for a transaction of its own");
    assert!(commit_queue.begin(1, usize::MAX).operations.is_empty());
    assert!(commit_queue.go_idle(1), "although something waits");
    push_calls(&commit_queue, 1);
    assert!(!is_woken(&first) && is_woken(&second));
    assert_eq!(commit_queue.begin(1, usize::MAX).operations.len(), 32);
    assert!(!commit_queue.go_idle(0) || commit_queue.begin(0, usize::MAX).operations.is_empty());
}

#[test]
fn a_call_that_waits_long_gets_another_writer() {
    let (commit_queue, [first, second]) = two_writers();
    push_calls(&commit_queue, 1);
    assert!(is_woken(&first));
    assert_eq!(commit_queue.begin(0, usize::MAX).operations.len(), 2);
    commit_queue.state().request_help();
    assert!(!is_woken(&second), "nobody waits");
    push_calls(&commit_queue, 3);
    commit_queue.state().request_help();
    assert!(is_woken(&second));
    assert_eq!(commit_queue.begin(1, usize::MAX).operations.len(), 6);
    push_calls(&commit_queue, 1);
    assert!(commit_queue.go_idle(1), "who comes later is not helped at once");
}

#[test]
fn each_writer_takes_its_share() {
    let (commit_queue, [_first, _second]) = two_writers();
    push_calls(&commit_queue, 64);
    assert_eq!(commit_queue.begin(0, usize::MAX).operations.len(), 64);
    assert!(commit_queue.join(0, usize::MAX).operations.is_empty(), "the rest is another one's");
    assert_eq!(commit_queue.begin(1, usize::MAX).operations.len(), 64);
    // The faster writer does no more than half of the work.
    push_calls(&commit_queue, 48);
    assert_eq!(commit_queue.begin(0, usize::MAX).operations.len(), 80);
    assert_eq!(commit_queue.begin(1, usize::MAX).operations.len(), 0);
    assert!(commit_queue.go_idle(1), "sixteen operations are not worth it");
}

#[test]
fn with_other_processes_one_writer_does_more_before_another_begins() {
    let (commit_queue, [first, second]) = two_writers();
    commit_queue.committed(0, CommitConditions { other_writers: true, ..ALONE });
    assert!(commit_queue.go_idle(0));
    push_calls(&commit_queue, 63);
    assert!(is_woken(&first) && !is_woken(&second));
    assert_eq!(commit_queue.begin(0, usize::MAX).operations.len(), 126);
    push_calls(&commit_queue, 63);
    assert!(!is_woken(&second));
    push_calls(&commit_queue, 1);
    assert!(is_woken(&second));
}

#[test]
fn no_other_writer_is_woken_if_one_is_about_to_poll() {
    let (commit_queue, [first, second]) = two_writers();
    push_calls(&commit_queue, 1);
    let PendingBatch { callers, .. } = commit_queue.begin(0, usize::MAX);
    assert!(is_woken(&first));
    commit_queue.committed(0, ALONE);
    commit_queue.answer(callers, vec![Ok(Answer::Done), Ok(Answer::Done)]);
    push_calls(&commit_queue, 64);
    assert!(!is_woken(&first) && !is_woken(&second));
    assert_eq!(commit_queue.begin(0, usize::MAX).operations.len(), 64);
    assert!(is_woken(&second), "what is left is for another one");
}

#[test]
fn serialized_work_is_left_to_one_writer() {
    let (commit_queue, [first, second]) = two_writers();
    commit_queue.committed(0, CommitConditions { serialized: true, ..ALONE });
    assert!(commit_queue.go_idle(0));
    push_calls(&commit_queue, 64);
    assert!(is_woken(&first) && !is_woken(&second));
    assert_eq!(commit_queue.begin(0, usize::MAX).operations.len(), 128);
    push_calls(&commit_queue, 3);
    assert!(!is_woken(&second));
    assert!(commit_queue.begin(1, usize::MAX).operations.is_empty());
    assert!(commit_queue.go_idle(1), "although something waits");
    assert_eq!(commit_queue.begin(0, usize::MAX).operations.len(), 6);
    commit_queue.committed(0, ALONE);
    push_calls(&commit_queue, 64);
    commit_queue.begin(0, usize::MAX);
    assert!(is_woken(&second), "others can help again");
}

#[test]
fn an_unreachable_writer_leaves_its_share_to_the_others() {
    let (commit_queue, [first, second]) = two_writers();
    assert!(is_woken(&second) || commit_queue.go_idle(1));
    commit_queue.begin(1, usize::MAX);
    commit_queue.set_unreachable(1, true);
    push_calls(&commit_queue, 64);
    assert!(is_woken(&first) && !is_woken(&second));
    assert_eq!(commit_queue.begin(0, usize::MAX).operations.len(), 128);
}

#[test]
fn calls_fail_after_the_last_writer_has_ended() {
    let (commit_queue, [_first, _second]) = two_writers();
    let (reply, delivered) = oneshot::channel();
    commit_queue.state().push(smallvec![], reply);
    commit_queue.ended(0);
    assert!(commit_queue.state().is_open());
    commit_queue.ended(1);
    assert!(delivered.blocking_recv().is_err());
    assert!(!commit_queue.state().is_open());
}

#[test]
fn new_compensations_wake_a_writer() {
    let (commit_queue, [first, _second]) = two_writers();
    commit_queue.clone().undo(&mut std::iter::once(Answer::Job(job(1))));
    assert!(is_woken(&first));
    // The writer has just looked for work and is about to wait.
    assert_eq!(commit_queue.begin(0, usize::MAX).compensations.len(), 1);
    commit_queue.clone().undo(&mut std::iter::once(Answer::Job(job(2))));
    assert!(!commit_queue.go_idle(0));
    let compensations = commit_queue.begin(0, usize::MAX).compensations;
    assert_eq!(compensations.len(), 1);
    commit_queue.add_compensations(compensations);
    assert!(commit_queue.go_idle(0), "what could not be undone is tried again after a while");
}

#[test]
fn work_of_a_writer_that_reconnects_is_given_to_others() {
    let (commit_queue, [first, second]) = two_writers();
    push_calls(&commit_queue, 1);
    assert!(is_woken(&first));
    assert_eq!(commit_queue.begin(0, usize::MAX).operations.len(), 2);
    commit_queue.committed(0, ALONE);
    push_calls(&commit_queue, 1);
    assert!(!is_woken(&second), "the first is about to look");
    commit_queue.set_unreachable(0, true);
    assert!(is_woken(&second));
}

#[test]
fn a_call_without_operations_is_answered() {
    let (commit_queue, [first, _second]) = two_writers();
    commit_queue.state().push(smallvec![], oneshot::channel().0);
    assert!(is_woken(&first));
    let PendingBatch { operations, callers, .. } = commit_queue.begin(0, usize::MAX);
    assert_eq!((operations.len(), callers.0.len()), (0, 1));
    assert!(commit_queue.go_idle(0));
}
