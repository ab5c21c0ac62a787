//! A call of an operation, and whether it may be made twice.

use reqwest::Method;
use reqwest::header::HeaderValue;
use tokio::time::Instant;

use crate::model::review::Person;
use crate::wire::lease_protocol::encode_author;

/// A call of an operation.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// The operation, as the vendor names it.
    pub(super) what: &'static str,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Vec<u8>>,
    pub(super) may_repeat: bool,
    pub(super) by_the_heart: bool,
    pub(super) of_the_job: bool,
    /// In whose name a comment is written, on performer's own server.
    pub(super) author: Option<HeaderValue>,
    /// Not sent after this, and its answer not waited for: what it says would no longer be true.
    pub(super) until: Option<Instant>,
}

impl Call {
    /// A read: repeated after anything that may pass.
    pub(super) fn get(what: &'static str, path: impl Into<String>) -> Self {
        Self {
            what,
            method: Method::GET,
            path: path.into(),
            body: None,
            may_repeat: true,
            by_the_heart: false,
            of_the_job: false,
            author: None,
            until: None,
        }
    }

    /// A write that is not repeated once it may have been executed.
    pub(super) fn post(what: &'static str, path: impl Into<String>, body: &impl serde::Serialize) -> Self {
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self { method: Method::POST, body: Some(body), may_repeat: false, ..Self::get(what, path) }
    }

    /// A write that does the same when it is done twice.
    pub(super) fn put(what: &'static str, path: impl Into<String>, body: &impl serde::Serialize) -> Self {
        Self { method: Method::PUT, may_repeat: true, ..Self::post(what, path, body) }
    }

    /// A deletion: the second time there is nothing left.
    pub(super) fn delete(what: &'static str, path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, ..Self::get(what, path) }
    }

    /// Doing it twice does no harm.
    pub(super) fn repeatable(mut self) -> Self {
        self.may_repeat = true;
        self
    }

    /// The call says something that is true only until then.
    pub(super) fn until(mut self, until: Option<Instant>) -> Self {
        self.until = until;
        self
    }

    /// A query option; the value is encoded.
    pub(super) fn query(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(name);
        self.path.push('=');
        self.path.push_str(&encoded(value.as_ref()));
        self
    }

    /// In somebody's name, where somebody is named.
    pub(super) fn by(mut self, person: &Person) -> Self {
        let is_somebody = *person != Person::default();
        self.author = if is_somebody { HeaderValue::from_str(&encode_author(person)).ok() } else { None };
        self
    }

    /// About the job we run in, which may be in another folder than the queue.
    pub(super) fn of_the_job(mut self) -> Self {
        self.of_the_job = true;
        self
    }

    /// Made on the thread of a performer's heart.
    pub(super) fn by_the_heart(mut self) -> Self {
        self.by_the_heart = true;
        self
    }
}

/// A value of a query: spaces and quotes as strict proxies want them (orchestrator-api 4.1).
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
