//! A claim that waits for an item, as its caller sees it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::backend::{Answer, ClaimedBatch, Request};
use super::commit_queue::HELP_DELAY;
use super::delivery::{Caller, Callers, Undo};
use super::group_commit::{Execution, GroupCommit, Threads, thread_ended};
use super::parked_claims::{Expired, Look, WaitingClaim};
use performer_core::model::key::JobKey;
use performer_core::orchestrator::Result;

/// Longer than any claim waits.
const FOREVER: Duration = Duration::from_secs(30 * 24 * 3_600);

/// The shortest time between two looks.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(1);

impl GroupCommit {
    /// Applies a claim of a job that waits for an item: for at most `at_most`, and looking again every so often. `None`:
    /// too many claims wait.
    pub(crate) async fn claim_waiting(
        &self,
        request: Request,
        job: JobKey,
        at_most: Duration,
        look_every: Duration,
    ) -> Option<Result<Answer>> {
        let (reply, mut delivered) = oneshot::channel();
        let held = self.notifier.ticket(job)?; // dropped before the channel is
        let ticket = held.ticket;
        self.ask(vec![Caller::waiting(WaitingClaim { ticket, request }, reply)]);
        let (asked, look_every) = (Instant::now(), look_every.clamp(LOOK_AT_MOST_EVERY, FOREVER));
        let mut end = asked + at_most.min(FOREVER);
        let (mut look, mut help) = (asked + look_every, asked + HELP_DELAY);
        loop {
            tokio::select! {
                biased;
                delivered = &mut delivered => {
                    let answers = delivered.ok().map(|delivered| delivered.accept());
                    let answer = answers.and_then(|mut answers| answers.pop());
                    return Some(answer.unwrap_or_else(|| Err(thread_ended())));
                }
                () = held.look_earlier.notified() => {
                    let withheld = self.notifier.with_parked(|parked| parked.withheld(ticket));
                    look = look.min(Instant::now() + withheld.unwrap_or(look_every).max(LOOK_AT_MOST_EVERY));
                    continue;
                }
                () = tokio::time::sleep_until(look.min(end).min(help)) => {}
            }
            let now = Instant::now();
            if now >= end {
                match self.notifier.with_parked(|parked| parked.expire(ticket)) {
                    Expired::Nothing(withheld) => {
                        let nothing = ClaimedBatch { withheld, ..ClaimedBatch::default() };
                        return Some(Ok(Answer::ClaimedBatch(nothing)));
                    }
                    Expired::Asking => end = now + FOREVER, // the answer is on its way
                }
            } else if now >= look {
                look = match self.notifier.with_parked(|parked| parked.look(ticket, look_every, now)) {
                    Look::Ask(caller) => {
                        self.ask(vec![caller]);
                        now + look_every
                    }
                    Look::Later(at) => at,
                };
            } else if now >= help {
                if let Execution::Threads(Threads { commit_queue, .. }) = &self.execution {
                    commit_queue.request_help();
                }
                help = now + FOREVER;
            }
        }
    }

    /// The claims of a job do not wait any longer.
    pub(crate) fn give_up_claims(&self, job: JobKey) {
        let given_up = self.notifier.give_up(job);
        if given_up.is_empty() {
            return;
        }
        let (mut callers, mut answers) = (Callers::default(), Vec::new());
        callers.join_empty(given_up, &mut answers);
        let undo: Arc<dyn Undo> = match &self.execution {
            Execution::InPlace(in_place) => in_place.clone(),
            Execution::Threads(Threads { commit_queue, .. }) => commit_queue.clone(),
        };
        if let Some(rest) = callers.deliver(answers, &undo) {
            rest.deliver();
        }
    }

    /// How many claims are parked.
    pub(crate) fn parked_claims(&self) -> usize {
        self.notifier.with_parked(|parked| parked.count())
    }

    fn ask(&self, callers: Vec<Caller>) {
        match &self.execution {
            Execution::InPlace(in_place) => in_place.ask(callers),
            Execution::Threads(Threads { commit_queue, .. }) => commit_queue.ask(callers),
        }
    }
}
