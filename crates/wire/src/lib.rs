//! The JSON of the Orchestrator's API, defined once for client and server.
//!
//! The shapes follow orchestrator-api 4 to 12 and 16. Names are PascalCase in entities, and the wrappers around the
//! parameters of an action are camelCase. Written objects have explicit nulls where the real service has them; an item that
//! is read needs only `Id`, `Key` and `Status`. Annotations (`@odata.context`, `DueDate@odata.type`) and unknown fields are
//! ignored.
//!
//! This crate is for the client and the server of performer. It changes with them.
//!
//! | module | what it contains |
//! |---|---|
//! | `json` | parses request and response bodies; repairs invalid Unicode |
//! | `any_case` | case-insensitive member names |
//! | `api_time` | dates in the formats of the API |
//! | `enum_value` | enumerations by name or number, and unknown values |
//! | `content_map` | SpecificContent, Output and Analytics |
//! | `item`, `transaction` | items, and the requests to add, start and end them |
//! | `queue` | queue definitions, retention, processing status |
//! | `review` | comments, events, bulk operations |
//! | `asset` | assets, and what a robot reads of them |
//! | `bucket` | storage buckets, their files and the addresses of files |
//! | `task` | tasks: what people are asked |
//! | `webhook` | webhooks, and the bodies that are sent to them |
//! | `job`, `log` | jobs of robots, and their logs |
//! | `review_protocol` | what performer's own server has for people: groups of failures, corrected retries |
//! | `insight_protocol` | what performer's own server keeps besides: operations, the audit, what is due, figures |
//! | `lease_protocol` | the protocol between performers and performer's own server: leases, claims, batches |
//! | `identity`, `caller` | tokens; who the caller is and what it may do |
//! | `error_response` | parses error responses of every format |
//! | `filter` | writes `$filter` and `$orderby`, for the client |
//! | `odata` | parses the query options of a request, for the server |
//! | `folder_path` | folder paths in headers |
//! | `metadata` | `$metadata` |
//! | `requests`, `responses` | request bodies that only the server parses, and responses that only the server writes |

#![expect(
    missing_docs,
    reason = "a field is the property of the API with its name, which the reference describes"
)]
#![expect(missing_debug_implementations, reason = "requests have passwords and tokens in them")]
#![warn(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used)]

use serde::{Deserialize, Serialize};

pub mod alert;
#[cfg(feature = "server")]
mod any_case;
pub mod api_time;
pub mod asset;
pub mod bucket;
pub mod caller;
pub mod content_map;
pub mod enum_value;
pub mod error_response;
pub mod filter;
pub mod folder_path;
pub mod identity;
pub mod insight_protocol;
pub mod item;
pub mod job;
pub mod json;
pub mod lease_protocol;
pub mod log;
pub mod machine;
#[cfg(feature = "server")]
pub mod metadata;
#[cfg(feature = "server")]
pub mod odata;
pub mod process;
pub mod queue;
#[cfg(feature = "server")]
pub mod requests;
#[cfg(feature = "server")]
pub mod responses;
pub mod review;
pub mod review_protocol;
pub mod task;
pub mod transaction;
pub mod webhook;

pub use api_time::ApiTime;
pub use content_map::ContentMap;
pub use enum_value::EnumValue;

/// A collection (orchestrator-api 4.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Collection<T> {
    /// The total number of rows, if `$count` was requested.
    #[serde(rename = "@odata.count", default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The rows.
    pub value: Vec<T>,
}

/// The error for a value from the server that this version does not understand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

#[cfg(test)]
pub(crate) fn round_trip<T>(json: &str) -> T
where
    T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let value: T = json::response(json.as_bytes()).unwrap();
    let again: T = json::response(&serde_json::to_vec(&value).unwrap()).unwrap();
    assert_eq!(value, again, "a written value is read back unchanged");
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
