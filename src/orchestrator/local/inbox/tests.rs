//! How the writers of a store divide what is asked for.

use std::sync::mpsc::{Receiver, channel};

use smallvec::smallvec;

use super::super::store::Within;
use super::*;
use crate::model::key::JobKey;

/// So many operations are worth a transaction of their own, where nobody else writes.
const ENOUGH: usize = 32;

const ALONE: Surroundings = Surroundings { one_at_a_time: false, among_others: false };

/// An inbox with two writers, both of whom wait.
fn two_writers() -> (Arc<Inbox>, [Receiver<Message>; 2]) {
    let ((first, heard_first), (second, heard_second)) = (channel(), channel());
    let inbox = Inbox::new(vec![first, second], 4 * ENOUGH);
    assert!(inbox.rests(0, false) && inbox.rests(1, false), "nothing is there");
    (inbox, [heard_first, heard_second])
}

/// So many callers with two operations each. Nobody waits for the answers.
fn come(inbox: &Inbox, callers: usize) {
    for n in 0..callers {
        let beat = |n: usize| Asked { within: Within::SHARED, operation: Operation::Beat(job(n)) };
        inbox.state().push(smallvec![beat(n), beat(n)], oneshot::channel().0);
    }
}

fn job(n: usize) -> JobKey {
    JobKey::from_bytes((n as u128).to_be_bytes())
}

fn is_woken(heard: &Receiver<Message>) -> bool {
    heard.try_recv().is_ok()
}

#[test]
fn a_writer_that_is_idle_is_woken_when_enough_waits() {
    let (inbox, [first, second]) = two_writers();
    come(&inbox, 1);
    assert!(is_woken(&first) && !is_woken(&second));
    assert_eq!(inbox.begin(0, usize::MAX).operations.len(), 2);
    come(&inbox, 15);
    assert!(!is_woken(&first) && !is_woken(&second), "too little for a transaction of its own");
    assert!(inbox.begin(1, usize::MAX).operations.is_empty());
    assert!(inbox.rests(1, false), "although something waits");
    come(&inbox, 1);
    assert!(!is_woken(&first) && is_woken(&second));
    assert_eq!(inbox.begin(1, usize::MAX).operations.len(), 32);
    assert!(!inbox.rests(0, false) || inbox.begin(0, usize::MAX).operations.is_empty());
}

#[test]
fn who_has_waited_for_a_while_is_helped() {
    let (inbox, [first, second]) = two_writers();
    come(&inbox, 1);
    assert!(is_woken(&first));
    assert_eq!(inbox.begin(0, usize::MAX).operations.len(), 2);
    inbox.state().help();
    assert!(!is_woken(&second), "nobody waits");
    come(&inbox, 3);
    inbox.state().help();
    assert!(is_woken(&second));
    assert_eq!(inbox.begin(1, usize::MAX).operations.len(), 6);
    come(&inbox, 1);
    assert!(inbox.rests(1, false), "who comes later is not helped at once");
}

#[test]
fn each_writer_takes_its_share() {
    let (inbox, [_first, _second]) = two_writers();
    come(&inbox, 64);
    assert_eq!(inbox.begin(0, usize::MAX).operations.len(), 64);
    assert!(inbox.join(0, usize::MAX).operations.is_empty(), "the rest is another one's");
    assert_eq!(inbox.begin(1, usize::MAX).operations.len(), 64);
    // Whoever is quicker does no more than half of what there is.
    come(&inbox, 48);
    assert_eq!(inbox.begin(0, usize::MAX).operations.len(), 80);
    assert_eq!(inbox.begin(1, usize::MAX).operations.len(), 0);
    assert!(inbox.rests(1, false), "sixteen operations are not worth it");
}

#[test]
fn among_others_one_writer_does_more_before_another_one_begins() {
    let (inbox, [first, second]) = two_writers();
    inbox.committed(0, Surroundings { among_others: true, ..ALONE });
    assert!(inbox.rests(0, false));
    come(&inbox, 63);
    assert!(is_woken(&first) && !is_woken(&second));
    assert_eq!(inbox.begin(0, usize::MAX).operations.len(), 126);
    come(&inbox, 63);
    assert!(!is_woken(&second));
    come(&inbox, 1);
    assert!(is_woken(&second));
}

#[test]
fn a_writer_that_is_about_to_look_is_left_to_do_so() {
    let (inbox, [first, second]) = two_writers();
    come(&inbox, 1);
    let Batched { callers, .. } = inbox.begin(0, usize::MAX);
    assert!(is_woken(&first));
    inbox.committed(0, ALONE);
    inbox.answer(callers, vec![Ok(Answer::Done), Ok(Answer::Done)]);
    come(&inbox, 64);
    assert!(!is_woken(&first) && !is_woken(&second));
    assert_eq!(inbox.begin(0, usize::MAX).operations.len(), 64);
    assert!(is_woken(&second), "what is left is for another one");
}

#[test]
fn what_is_done_one_at_a_time_one_writer_does() {
    let (inbox, [first, second]) = two_writers();
    inbox.committed(0, Surroundings { one_at_a_time: true, ..ALONE });
    assert!(inbox.rests(0, false));
    come(&inbox, 64);
    assert!(is_woken(&first) && !is_woken(&second));
    assert_eq!(inbox.begin(0, usize::MAX).operations.len(), 128);
    come(&inbox, 3);
    assert!(!is_woken(&second));
    assert!(inbox.begin(1, usize::MAX).operations.is_empty());
    assert!(inbox.rests(1, false), "although something waits");
    assert_eq!(inbox.begin(0, usize::MAX).operations.len(), 6);
    inbox.committed(0, ALONE);
    come(&inbox, 64);
    inbox.begin(0, usize::MAX);
    assert!(is_woken(&second), "others can help again");
}

#[test]
fn a_writer_that_reaches_nothing_leaves_all_to_the_others() {
    let (inbox, [first, second]) = two_writers();
    assert!(is_woken(&second) || inbox.rests(1, false));
    inbox.begin(1, usize::MAX);
    inbox.set_away(1, true);
    come(&inbox, 64);
    assert!(is_woken(&first) && !is_woken(&second));
    assert_eq!(inbox.begin(0, usize::MAX).operations.len(), 128);
}

#[test]
fn when_the_last_writer_has_ended_nobody_waits() {
    let (inbox, [_first, _second]) = two_writers();
    let (reply, told) = oneshot::channel();
    inbox.state().push(smallvec![], reply);
    inbox.ended(0);
    assert!(inbox.state().is_open());
    inbox.ended(1);
    assert!(told.blocking_recv().is_err());
    assert!(!inbox.state().is_open());
}

#[test]
fn what_is_to_be_undone_is_not_left_for_later() {
    let (inbox, [first, _second]) = two_writers();
    inbox.undo(std::iter::once(Ok(Answer::Job(job(1)))));
    assert!(is_woken(&first));
    // It has just looked, and is about to wait.
    assert_eq!(inbox.begin(0, usize::MAX).owed.len(), 1);
    inbox.undo(std::iter::once(Ok(Answer::Job(job(2)))));
    assert!(!inbox.rests(0, false));
    let owed = inbox.begin(0, usize::MAX).owed;
    assert_eq!(owed.len(), 1);
    inbox.owe(owed);
    assert!(inbox.rests(0, false), "what could not be undone is tried again after a while");
}

#[test]
fn a_writer_that_may_take_long_keeps_no_work_from_the_others() {
    let (inbox, [first, second]) = two_writers();
    come(&inbox, 1);
    assert!(is_woken(&first));
    assert_eq!(inbox.begin(0, usize::MAX).operations.len(), 2);
    inbox.committed(0, ALONE);
    come(&inbox, 1);
    assert!(!is_woken(&second), "the first is about to look");
    inbox.set_away(0, true);
    assert!(is_woken(&second));
}

#[test]
fn a_call_without_operations_is_answered() {
    let (inbox, [first, _second]) = two_writers();
    inbox.state().push(smallvec![], oneshot::channel().0);
    assert!(is_woken(&first));
    let Batched { operations, callers, .. } = inbox.begin(0, usize::MAX);
    assert_eq!((operations.len(), callers.0.len()), (0, 1));
    assert!(inbox.rests(0, false));
}

#[test]
fn a_writer_that_keeps_something_is_woken_first() {
    let (inbox, [first, second]) = two_writers();
    assert!(inbox.rests(1, true));
    come(&inbox, 1);
    assert!(is_woken(&second) && !is_woken(&first));
}
