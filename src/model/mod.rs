//! Floor 0: what an item is, and what may happen to it.
//!
//! Pure values and pure functions; no tokio, no SQL, no HTTP, and one reader of the time of day.
//!
//! | module | what it knows |
//! |---|---|
//! | [`queue`], [`schema`] | a queue and its policy; what its items have to look like |
//! | [`item`] | an item, what a new one is made of, and who holds it |
//! | [`content`] | SpecificContent and Output: flat JSON objects, bounded |
//! | `json` | JSON text: what half a character becomes, and numbers with all their digits |
//! | [`status`] | Status, ReviewStatus, and which moves exist |
//! | [`result`] | what a robot reports |
//! | [`exception`] | the stored record of a failure, bounded in size |
//! | [`lifecycle`] | (item, event, queue, now) -> Transition: the only place that knows the rules |
//! | [`selection`] | which item is next |
//! | [`query`] | conditions on items, and what lists are sorted by |
//! | [`limits`] | what of a queue may be handed out, over the whole fleet |
//! | [`list`] | which items a list shows, and which page of it |
//! | [`history`] | the events of an item |
//! | [`review`] | comments, reviewers and bulk answers: what people do |
//! | [`statistics`] | how many items are in which state |
//! | [`job`], [`robot`] | one run of a performer, and its lanes |
//! | [`key`] | identities |
//! | [`code`] | the Orchestrator's numeric error codes |
//! | [`clock`] | the only reader of the time of day |
//! | [`stored_time`] | the instants that a store can keep |
//! | [`clock_guard`] | whether the time may be believed before something is destroyed because of its age |
//! | [`kept_for`] | how long jobs and tokens are kept that have ended |
//! | [`directory`], [`permission`] | tenants, folders, users, roles: who may do what |
//! | [`asset`], [`log`], [`user`] | documented numbers of things around the queue |

pub(crate) mod enumeration;
pub(crate) mod json;

pub mod asset;
pub mod clock;
pub mod clock_guard;
pub mod code;
pub mod content;
pub mod directory;
pub mod exception;
pub mod history;
pub mod item;
pub mod job;
pub mod kept_for;
pub mod key;
pub mod lifecycle;
pub mod limits;
pub mod list;
pub mod log;
pub mod permission;
pub mod query;
pub mod queue;
mod refusal;
pub mod result;
pub mod review;
pub mod robot;
pub mod schema;
pub mod selection;
pub mod statistics;
pub mod status;
pub mod stored_time;
pub mod user;

pub use enumeration::UnknownValue;
pub use refusal::Refusal;
