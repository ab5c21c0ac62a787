//! A page of operations.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{ItemOperation, OperationId};

/// Operations, the newest first, and those that this program cannot read: a newer program has made them, with an act or with fields
/// that this one does not know.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct OperationList {
    /// The operations that can be read.
    pub operations: Vec<ItemOperation>,
    /// The numbers of the others.
    pub unreadable: Vec<OperationId>,
}

impl OperationList {
    /// A list of operations that can all be read.
    pub fn new(operations: Vec<ItemOperation>) -> Self {
        Self { operations, unreadable: Vec::new() }
    }

    /// How many operations it has.
    pub fn len(&self) -> usize {
        self.operations.len() + self.unreadable.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The smallest number: the next page has those before it.
    pub fn last(&self) -> Option<OperationId> {
        self.operations.iter().map(|operation| operation.id).chain(self.unreadable.iter().copied()).min()
    }

    /// Keeps the first `count` operations.
    pub fn truncate(&mut self, count: usize) {
        let mut ids: Vec<OperationId> = self.operations.iter().map(|operation| operation.id).collect();
        ids.extend(&self.unreadable);
        ids.sort_unstable_by(|one, other| other.cmp(one));
        if let Some(first_left_out) = ids.get(count) {
            self.operations.retain(|operation| operation.id > *first_left_out);
            self.unreadable.retain(|id| id > first_left_out);
        }
    }
}

/// The operations of a newer server too: one that cannot be read is named.
impl<'de> Deserialize<'de> for OperationList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Sent {
            operations: Vec<Value>,
            #[serde(default)]
            unreadable: Vec<OperationId>,
        }
        let Sent { operations, unreadable } = Sent::deserialize(deserializer)?;
        let mut list = Self { operations: Vec::with_capacity(operations.len()), unreadable };
        for sent in operations {
            match ItemOperation::deserialize(&sent) {
                Ok(operation) => list.operations.push(operation),
                Err(error) => {
                    let id = sent.get("Id").ok_or_else(|| D::Error::custom(error))?;
                    list.unreadable.push(OperationId::deserialize(id).map_err(D::Error::custom)?);
                }
            }
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::operation::{Act, Plan, Selected};
    use super::super::super::review::Person;
    use super::*;
    use jiff::Timestamp;

    fn operation(id: i64) -> ItemOperation {
        let by = Person { user_id: None, user_name: None };
        let made = Timestamp::UNIX_EPOCH;
        let mut operation = ItemOperation::new(Plan::new(Act::Retry), &by, None, &Selected::default(), made);
        operation.id = OperationId(id);
        operation
    }

    #[test]
    fn operations_of_a_newer_server_are_named() {
        let mut sent = serde_json::to_value(OperationList::new(vec![operation(9), operation(7)])).unwrap();
        sent["Operations"][0]["Plan"]["Act"]["Name"] = "Teleport".into();
        sent["Unreadable"] = vec![8].into();
        let read: OperationList = serde_json::from_value(sent.clone()).unwrap();
        assert_eq!(read.operations, [operation(7)]);
        assert_eq!(read.unreadable, [OperationId(8), OperationId(9)]);
        assert_eq!((read.len(), read.last()), (3, Some(OperationId(7))));
        sent["Operations"][0].as_object_mut().unwrap().remove("Id");
        assert!(serde_json::from_value::<OperationList>(sent).is_err());
    }

    #[test]
    fn a_page_has_the_newest_of_both_kinds() {
        let mut list = OperationList::new([9, 7, 4].map(operation).into());
        list.unreadable = vec![OperationId(8), OperationId(3)];
        list.truncate(9);
        assert_eq!(list.len(), 5);
        list.truncate(3);
        assert_eq!((list.len(), list.last()), (3, Some(OperationId(7))));
        assert_eq!(list.unreadable, [OperationId(8)]);
        list.truncate(0);
        assert!(list.is_empty() && list.last().is_none());
    }
}
