//! Follow-up items of a success, for an Orchestrator that cannot add them in the call that records it.
//!
//! They are added first, then the result is reported. In between the process may die or the claim be lost, so the report may be
//! repeated, by this attempt or by a later one: each follow-up has a reference by which it is recognised then. Without one of the
//! user's it is made from the key of the item, which all attempts share, and from the content of the follow-up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Inner;
use super::add::as_definition;
use super::claim_registry::HeldClaim;
use super::queue::Queue;
use performer_core::model::code::ErrorCode;
use performer_core::model::item::NewQueueItem;
use performer_core::model::key::ItemKey;
use performer_core::model::queue::folded;
use performer_core::orchestrator::{
    CommitType, ErrorKind, FailedItem, FollowUp, FollowUps, OrchestratorError, Result,
};

/// The follow-ups for one queue, in their order.
struct ForQueue {
    queue: Arc<Queue>,
    items: Vec<Named>,
}

/// A follow-up with its reference.
struct Named {
    /// Its index in the report.
    at: usize,
    item: NewQueueItem,
    /// Whether the reference was made here.
    is_made: bool,
}

impl Inner {
    /// Adds the follow-ups of a success that is about to be reported, but for those that an earlier report of the item has added.
    pub(super) async fn add_follow_ups(&self, held: &HeldClaim, follow_ups: &FollowUps) -> Result<()> {
        let queues = self.by_queue(held.key, follow_ups);
        // What can be refused without a call is refused before anything is added.
        for ForQueue { queue, items } in &queues {
            let first = items.first().map_or(0, |first| first.at);
            let info =
                self.queue_info(queue).await.map_err(|error| refused_or_failed(follow_ups, first, error))?;
            let definition = as_definition(queue, info);
            for Named { at, item, .. } in items {
                item.validate(&definition).map_err(|refusal| follow_ups.refused(*at, refusal.into()))?;
            }
        }
        for ForQueue { queue, mut items } in queues {
            let info = self.queue_info(&queue).await?;
            if !info.enforce_unique_reference {
                // The Orchestrator would add an item twice.
                let made = items.iter().filter(|named| named.is_made);
                let made: Vec<&str> = made.filter_map(|named| named.item.reference.as_deref()).collect();
                let there = self.find_by_references(info, &made).await?;
                items.retain(|named| {
                    !(named.is_made && there.iter().any(|there| there.reference == named.item.reference))
                });
            }
            if items.is_empty() {
                continue;
            }
            let to_add: Vec<NewQueueItem> = items.iter().map(|named| named.item.clone()).collect();
            let added = self.add_many(&queue, CommitType::ProcessAllIndependently, &to_add).await;
            let added = added.map_err(|error| refused_or_failed(follow_ups, items[0].at, error))?;
            // A reference that is there already is one of an earlier report.
            let is_there = |failed: &FailedItem| failed.refusal.code() == ErrorCode::DUPLICATE_REFERENCE;
            if let Some(failed) = added.failed.into_iter().find(|failed| !is_there(failed)) {
                let named = failed.ordinal.checked_sub(1).and_then(|at| items.get(at));
                let at = named.map_or(items[0].at, |named| named.at);
                return Err(follow_ups.refused(at, failed.refusal.into()));
            }
        }
        Ok(())
    }

    fn by_queue(&self, key: ItemKey, follow_ups: &FollowUps) -> Vec<ForQueue> {
        let mut queues: Vec<ForQueue> = Vec::new();
        let mut places = HashMap::new();
        let mut occurrences = HashMap::new();
        for (at, FollowUp { queue, item, .. }) in follow_ups.iter().enumerate() {
            let place = *places.entry(folded(queue)).or_insert_with(|| {
                queues.push(ForQueue { queue: self.queue(queue), items: Vec::new() });
                queues.len() - 1
            });
            let mut item = item.clone();
            let is_made = item.reference.is_none();
            if is_made {
                let fingerprint = fingerprint(&item);
                let occurrence = occurrences.entry((place, fingerprint)).or_insert(0_usize);
                *occurrence += 1;
                item.reference = Some(reference(key, fingerprint, *occurrence));
            }
            queues[place].items.push(Named { at, item, is_made });
        }
        queues
    }
}

/// The reference of a follow-up without one: the same in every attempt that makes the same follow-up, wherever it stands among
/// the others. Of several that are equal, each has its own.
fn reference(key: ItemKey, fingerprint: u64, occurrence: usize) -> String {
    match occurrence {
        1 => format!("performer/{key}/{fingerprint:016x}"),
        _ => format!("performer/{key}/{fingerprint:016x}/{occurrence}"),
    }
}

/// FNV-1a over the members of the content, in the order of their names: a map may write them in any order.
fn fingerprint(item: &NewQueueItem) -> u64 {
    let content = item.content().map_or("{}", |content| content.as_json());
    let members: BTreeMap<String, &serde_json::value::RawValue> =
        serde_json::from_str(content).unwrap_or_default();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |text: &str| {
        // No text has this byte.
        for byte in text.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    for (name, value) in &members {
        add(name);
        add(value.get());
    }
    hash
}

/// The error of adding follow-ups: a refusal, or a failure after which the report is repeated.
fn refused_or_failed(follow_ups: &FollowUps, at: usize, error: OrchestratorError) -> OrchestratorError {
    match error.kind() {
        ErrorKind::Invalid | ErrorKind::Conflict | ErrorKind::Unsupported => follow_ups.refused(at, error),
        ErrorKind::NotFound if error.is_confirmed_not_found() => follow_ups.refused(at, error),
        // It may come from a proxy.
        ErrorKind::NotFound => error.reworded(ErrorKind::Unavailable, str::to_owned),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_follow_from_the_content_and_not_from_its_order() {
        let key = ItemKey::from_bytes([7; 16]);
        let of = |content: &str| fingerprint(&NewQueueItem::from_json(content));
        assert_eq!(of(r#"{"a":1,"b":"x"}"#), of(r#"{"b":"x","a":1}"#));
        let others = [r#"{"a":1,"b":"y"}"#, r#"{"a":2,"b":"x"}"#, r#"{"a":1}"#, "{}", r#"{"ab":"x"}"#];
        for other in others {
            assert_ne!(of(r#"{"a":1,"b":"x"}"#), of(other), "{other}");
        }
        let first = reference(key, of("{}"), 1);
        assert_eq!(first, "performer/07070707-0707-0707-0707-070707070707/cbf29ce484222325");
        assert_eq!(reference(key, of("{}"), 2), format!("{first}/2"));
        assert!(reference(key, u64::MAX, 1_000).len() <= 128);
    }
}
