//! A call of an API operation, and whether it may be retried.

use std::borrow::Cow;

use reqwest::Method;
use reqwest::header::HeaderValue;
use tokio::time::Instant;

use performer_core::model::review::Person;
use performer_core::orchestrator::OrchestratorError;
use performer_wire::lease_protocol::encode_author;

/// A call of an API operation.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// The vendor's name of the operation, or its method and path.
    pub(super) operation: Cow<'static, str>,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Vec<u8>>,
    pub(super) may_repeat: bool,
    pub(super) on_heartbeat_thread: bool,
    pub(super) about_own_job: bool,
    /// The author of a comment, for performer's own server.
    pub(super) author: Option<HeaderValue>,
    /// When the body expires: the call is neither sent nor waited for after this.
    pub(super) until: Option<Instant>,
}

impl Call {
    /// A read, which is retried after every temporary failure.
    pub(super) fn get(operation: &'static str, path: impl Into<String>) -> Self {
        Self {
            operation: Cow::Borrowed(operation),
            method: Method::GET,
            path: path.into(),
            body: None,
            may_repeat: true,
            on_heartbeat_thread: false,
            about_own_job: false,
            author: None,
            until: None,
        }
    }

    /// A write that is not retried once it may have been executed.
    pub(super) fn post(
        operation: &'static str,
        path: impl Into<String>,
        body: &impl serde::Serialize,
    ) -> Self {
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self { method: Method::POST, body: Some(body), may_repeat: false, ..Self::get(operation, path) }
    }

    /// An idempotent write.
    pub(super) fn put(
        operation: &'static str,
        path: impl Into<String>,
        body: &impl serde::Serialize,
    ) -> Self {
        Self { method: Method::PUT, may_repeat: true, ..Self::post(operation, path, body) }
    }

    /// A deletion, which is idempotent.
    pub(super) fn delete(operation: &'static str, path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, ..Self::get(operation, path) }
    }

    /// Marks the call as idempotent.
    pub(super) fn repeatable(mut self) -> Self {
        self.may_repeat = true;
        self
    }

    /// Sets when the body expires.
    pub(super) fn until(mut self, until: Option<Instant>) -> Self {
        self.until = until;
        self
    }

    /// Adds a query option and encodes its value.
    pub(super) fn query(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(name);
        self.path.push('=');
        self.path.push_str(&encoded(value.as_ref()));
        self
    }

    /// Sets the author of a comment, unless the person is empty.
    pub(super) fn on_behalf_of(mut self, person: &Person) -> Self {
        let is_named = *person != Person::default();
        self.author = if is_named { HeaderValue::from_str(&encode_author(person)).ok() } else { None };
        self
    }

    /// Marks a call about the own job, which may be in another folder than the queue.
    pub(super) fn about_own_job(mut self) -> Self {
        self.about_own_job = true;
        self
    }

    /// Marks a call from the heartbeat thread of a performer.
    pub(super) fn on_heartbeat_thread(mut self) -> Self {
        self.on_heartbeat_thread = true;
        self
    }
}

/// The error of a call.
#[derive(Debug)]
pub(super) struct CallError {
    pub(super) error: OrchestratorError,
    /// Whether the call may have been executed nevertheless.
    pub(super) maybe_executed: bool,
}

impl From<CallError> for OrchestratorError {
    fn from(failed: CallError) -> Self {
        failed.error
    }
}

/// The error of a call that was certainly not executed.
pub(super) fn not_executed(error: OrchestratorError) -> CallError {
    CallError { error, maybe_executed: false }
}

/// Encodes the value of a query option; spaces and quotes are escaped for strict proxies (orchestrator-api 4.1).
pub(super) fn encoded(value: &str) -> String {
    let mut url = reqwest::Url::parse("http://query").expect("a constant URL");
    url.query_pairs_mut().append_pair("", value);
    url.query().unwrap_or_default().trim_start_matches('=').replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded_for_strict_proxies() {
        let call = Call::get("GetQueueItems", "/odata/QueueItems")
            .query("$filter", "Name eq 'O''Neil & Ü+'")
            .query("$top", "1");
        assert_eq!(
            call.path,
            "/odata/QueueItems?$filter=Name%20eq%20%27O%27%27Neil%20%26%20%C3%9C%2B%27&$top=1"
        );
    }
}
