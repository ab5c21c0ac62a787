//! Floor 1: the JSON of the Orchestrator's API, written once for whoever sends it and whoever receives it.
//!
//! The shapes follow orchestrator-api 4 to 12 and 16. Names are PascalCase in entities, and the wrappers around the
//! parameters of an action are camelCase. What is written has explicit nulls where the real service has them; what is read
//! may lack everything but an item's `Id`, `Key` and `Status`. Annotations (`@odata.context`, `DueDate@odata.type`) and fields
//! that are newer than this version are passed over.
//!
//! | module | what it knows |
//! |---|---|
//! | `json` | the one reader of bodies and answers: half characters, names in any case |
//! | `any_case` | names of members in any case |
//! | `api_time` | dates, as they are written and as they may come |
//! | `enum_value` | enumerations: a name in any case, a number, or something newer |
//! | `content_map` | SpecificContent and Output |
//! | `item`, `transaction` | items, and what is asked for them |
//! | `queue` | queue definitions, retention, processing status |
//! | `review` | comments, events, bulk operations |
//! | `job`, `log` | jobs of robots, and their logs |
//! | `lease_protocol` | what only performer's own server understands: leases, claims, batches |
//! | `identity` | tokens |
//! | `error_response` | every shape an error may have |
//! | `filter` | `$filter`, written |
//! | `odata` | query options, read |
//! | `folder_path` | folders in headers |
//! | `metadata` | `$metadata` |
//! | `requests`, `responses` | what only a server reads, and what it answers |

use serde::{Deserialize, Serialize};

#[cfg(feature = "server")]
mod any_case;
#[cfg(feature = "server")]
pub(crate) mod requests;
pub(crate) mod error_response;
pub(crate) mod filter;
pub(crate) mod folder_path;
pub(crate) mod identity;
pub(crate) mod api_time;
pub(crate) mod item;
pub(crate) mod job;
pub(crate) mod json;
pub(crate) mod lease_protocol;
#[cfg(feature = "robot-logs")]
pub(crate) mod log;
#[cfg(feature = "server")]
pub(crate) mod metadata;
pub(crate) mod enum_value;
#[cfg(feature = "server")]
pub(crate) mod odata;
pub(crate) mod queue;
pub(crate) mod review;
pub(crate) mod content_map;
#[cfg(feature = "server")]
pub(crate) mod responses;
pub(crate) mod transaction;

pub(crate) use api_time::ApiTime;
pub(crate) use enum_value::EnumValue;
pub(crate) use content_map::ContentMap;

/// A collection (orchestrator-api 4.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Collection<T> {
    /// How many there are in all, where it was asked for.
    #[serde(rename = "@odata.count", default, skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
    pub(crate) value: Vec<T>,
}

/// Something that came over the wire and that this version cannot make sense of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(pub(crate) String);

#[cfg(test)]
pub(crate) fn round_trip<T>(json: &str) -> T
where
    T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let value: T = json::response(json.as_bytes()).unwrap();
    let again: T = json::response(&serde_json::to_vec(&value).unwrap()).unwrap();
    assert_eq!(value, again, "what is written is read as what it was");
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_of_a_collection_are_ignored() {
        let page: Collection<i64> =
            round_trip(r#"{"@odata.context":"https://x/odata/$metadata#Q","@odata.count":2,"value":[1,2]}"#);
        assert_eq!((page.count, page.value.len()), (Some(2), 2));
        let bare: Collection<i64> = round_trip(r#"{"value":[]}"#);
        assert_eq!(bare.count, None);
    }
}
