//! What an item is, and what may happen to it.
//!
//! Pure values and pure functions; no tokio, no SQL, no HTTP, and one reader of the time of day.
//!
//! | module | what is in it |
//! |---|---|
//! | [`queue`], `queue_notes`, [`schema`] | queues, their policies and JSON schemas |
//! | `schema_fit` | whether what one schema allows is accepted by another one |
//! | `schema_of_type` | the schema of a Rust type |
//! | [`item`], `new_item` | items, new items, and claimed items |
//! | [`content`] | SpecificContent, Output and Analytics: flat JSON objects, limited in size |
//! | `json` | JSON text: invalid surrogates, and numbers with all their digits |
//! | [`status`] | Status, ReviewStatus, and their moves |
//! | [`result`] | what a robot reports |
//! | [`exception`] | the stored record of a failure |
//! | [`lifecycle`] | (item, event, queue, now) -> Transition: the only place that knows the rules |
//! | [`selection`] | which item is next |
//! | [`query`] | conditions on items, and sort orders of lists |
//! | [`limits`] | limits of a queue that hold for all performers together |
//! | [`groups`] | items that belong together: how many at once, and whose turn it is |
//! | [`claim_blockers`] | why a claim on a queue gets no item |
//! | [`retry_delay`] | how long an automatic retry waits |
//! | [`prefix`] | a prefix as a range of texts |
//! | [`list`], [`cursor`] | filters and pages of lists; where a page begins |
//! | [`item_query`] | filters of items as people write them, in URLs and options |
//! | [`history`] | the events of an item |
//! | [`operation`] | acts on many items at once: what may follow what, and when the next step is due |
//! | [`difference`] | what differs between two attempts |
//! | [`review`] | comments, reviewers, and answers to bulk calls |
//! | [`deadlines`] | whether what waits will be done by its DueDate |
//! | [`audit`] | who changed what, and from where |
//! | [`view`] | filters of items under a name |
//! | [`personal`] | which fields are personal, and masks in their places |
//! | [`figures`] | what ended and what waited, by minute and hour |
//! | [`reason`], [`fingerprint`] | failures grouped by their reason; which reasons are the same |
//! | [`statistics`] | how many items are in which state |
//! | [`job`], `job_end`, [`robot`] | one run of a performer, and its lanes |
//! | [`process`] | processes: command lines that machines run as jobs |
//! | [`machine`] | machines, and the agents that run jobs on them |
//! | [`sweep`] | which jobs have probably stopped |
//! | [`key`] | ids, keys and claims |
//! | [`code`] | the Orchestrator's numeric error codes |
//! | [`clock`] | the only reader of the time of day |
//! | [`stored_time`] | the instants that a store can keep |
//! | [`clock_guard`] | whether the time can be believed before something is removed because of its age |
//! | [`kept_for`] | how long ended jobs, operations and tokens are kept |
//! | [`FieldEdit`] | a change of a value that may be absent |
//! | `enumeration` | enumerations with documented names and numbers |
//! | `refusal` | the answer of a rule that refuses an event |
//! | [`asset`] | named values for transactions, of everybody or of some; what is secret in them |
//! | [`alert`] | what somebody should look at |
//! | [`bucket`] | storage buckets, and which paths their files may have |
//! | [`task`] | what people are asked, and what they answer |
//! | [`log`], [`user`] | documented numbers of things around the queue |

mod enumeration;
pub mod json;

pub mod alert;
pub mod asset;
pub mod audit;
pub mod bucket;
pub mod claim_blockers;
pub mod clock;
pub mod clock_guard;
pub mod code;
pub mod content;
pub mod cursor;
pub mod deadlines;
pub mod difference;
pub mod exception;
mod field_edit;
pub mod figures;
pub mod fingerprint;
pub mod groups;
pub mod history;
pub mod item;
pub mod item_query;
pub mod job;
mod job_end;
pub mod kept_for;
pub mod key;
pub mod lifecycle;
pub mod limits;
pub mod list;
pub mod log;
pub mod machine;
mod new_item;
pub mod operation;
pub mod personal;
pub mod prefix;
pub mod process;
pub mod query;
pub mod queue;
mod queue_notes;
pub mod reason;
mod refusal;
pub mod result;
pub mod retry_delay;
pub mod review;
pub mod robot;
pub mod schema;
#[cfg(feature = "json-schema")]
pub mod schema_fit;
#[cfg(feature = "schema")]
mod schema_of_type;
pub mod selection;
pub mod statistics;
pub mod status;
pub mod stored_time;
pub mod sweep;
pub mod task;
pub mod user;
pub mod view;
pub mod webhook;

pub use enumeration::UnknownValue;
pub use field_edit::FieldEdit;
pub use refusal::Refusal;
