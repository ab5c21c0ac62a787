//! Calls of any operation of the Orchestrator's API, for what this client has no methods of its own.

use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Uipath;
use super::call::Call;
use super::request::Answer;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};
use performer_wire::json;

impl Uipath {
    /// Reads from any address of the Orchestrator's API, with the token, the folder, the time limits and the errors of this client.
    /// Like its other reads it is repeated after every temporary failure.
    ///
    /// `path` begins at the Orchestrator's address: `/odata/…` or `/api/…`. It is encoded, and so are the values of `query`. An answer without a
    /// body is read as null: into `()`, an `Option` or a [`Value`](serde_json::Value).
    ///
    /// ```no_run
    /// # async fn example(orchestrator: performer_uipath::Uipath) -> Result<(), performer_core::orchestrator::OrchestratorError> {
    /// #[derive(serde::Deserialize)]
    /// struct Libraries {
    ///     value: Vec<Library>,
    /// }
    ///
    /// #[derive(serde::Deserialize)]
    /// #[serde(rename_all = "PascalCase")]
    /// struct Library {
    ///     id: String,
    ///     version: String,
    /// }
    ///
    /// let query = [("$filter", "startswith(Id, 'Acme')"), ("$top", "10")];
    /// let libraries: Libraries = orchestrator.get("/odata/Libraries", &query).await?;
    /// # for library in libraries.value { println!("{} {}", library.id, library.version) }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the Orchestrator, by their codes: Unauthorized, NotFound, Conflict, Invalid, Unavailable. Invalid also for a path with a
    /// query, a `..` or something else that is no part of one. Other for an answer of another type than `T`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T> {
        self.call_any(Method::GET, path, query, None, true).await
    }

    /// Sends a body to any address, as [`get`](Self::get) reads from one. It is repeated only if it was certainly not executed: no
    /// connection was made, or the answer was 429, or 401 and there is a new token.
    ///
    /// ```no_run
    /// # async fn example(orchestrator: performer_uipath::Uipath) -> Result<(), performer_core::orchestrator::OrchestratorError> {
    /// let path = "/odata/Alerts/UiPath.Server.Configuration.OData.RaiseProcessAlert";
    /// let alert = serde_json::json!({"processAlert": {"message": "the ERP is down", "severity": "Error"}});
    /// orchestrator.post::<()>(path, &alert).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get). Unknown if it may have been executed and no answer tells: look before you send it again.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.write_any(Method::POST, path, body).await
    }

    /// Replaces what is at any address; as [`post`](Self::post).
    ///
    /// # Errors
    ///
    /// As [`post`](Self::post).
    pub async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.write_any(Method::PUT, path, body).await
    }

    /// Changes a part of what is at any address; as [`post`](Self::post).
    ///
    /// # Errors
    ///
    /// As [`post`](Self::post).
    pub async fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.write_any(Method::PATCH, path, body).await
    }

    /// Deletes what is at any address; as [`post`](Self::post), without a body.
    ///
    /// # Errors
    ///
    /// As [`post`](Self::post).
    pub async fn delete<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T> {
        self.call_any(Method::DELETE, path, query, None, false).await
    }

    async fn write_any<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        let body = serde_json::to_vec(body).map_err(|error| {
            OrchestratorError::invalid(format!("the body for {method} {path} is no JSON")).with_source(error)
        })?;
        self.call_any(method, path, &[], Some(body), false).await
    }

    async fn call_any<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Vec<u8>>,
        may_repeat: bool,
    ) -> Result<T> {
        check_path(path)?;
        let operation = format!("{method} {}", without_keys(path));
        let mut call = Call { method, body, may_repeat, ..Call::get("", path) };
        for (name, value) in query {
            call = call.query(name, value);
        }
        call.operation = operation.clone().into();
        // What the answer says is looked at when the call is over: one of another type than T was executed nevertheless.
        let text = self.inner.http.call(call, text_of).await?;
        json::response(&text).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            let message = format!("{operation}: the answer is not of the expected type ({place})");
            OrchestratorError::new(ErrorKind::Other, message)
        })
    }
}

/// The JSON of an answer, null without any. `None` for what is no JSON: it comes from another server.
fn text_of(answer: &Answer) -> Option<Vec<u8>> {
    answer.nothing()?;
    let is_empty = answer.body.iter().all(u8::is_ascii_whitespace);
    Some(if is_empty { b"null".to_vec() } else { answer.body.clone() })
}

/// Refuses what would not lead to a path below the Orchestrator's address.
fn check_path(path: &str) -> Result<()> {
    let leads_elsewhere = !path.starts_with('/')
        || path.contains(['?', '#', '\\'])
        || path.chars().any(char::is_control)
        || path.split('/').any(|segment| matches!(segment, "." | ".."))
        || ["%2e", "%2f", "%5c"].iter().any(|encoded| path.to_ascii_lowercase().contains(encoded));
    if leads_elsewhere {
        let message =
            format!("{path:?} is no path of the API, such as /odata/Libraries; a query is given by itself");
        return Err(OrchestratorError::invalid(message));
    }
    Ok(())
}

/// A path without what is in brackets: messages do not quote keys, and limits are counted by operation.
fn without_keys(path: &str) -> String {
    let mut depth = 0_usize;
    let is_outside = |character: &char| {
        let was_outside = depth == 0;
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        was_outside
    };
    path.chars().filter(is_outside).filter(|character| *character != '(').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_the_address_are_called() {
        for path in [
            "/odata/Libraries",
            "/odata/Libraries('Größe & mehr')",
            "/api/Stats/GetCountStats",
            "/odata/X('a.b:c@d')",
        ] {
            check_path(path).unwrap();
        }
        for path in [
            "",
            "odata/Libraries",
            "https://other.example.com/odata",
            "@other.example.com/",
            "/../other/tenant",
            "/odata/./x",
            "/odata/%2E%2e/x",
            "/odata/X?$top=1",
            "/odata/X#y",
            "/odata\\X",
            "/odata/X\r\nhost: y",
        ] {
            assert_eq!(check_path(path).unwrap_err().kind(), ErrorKind::Invalid, "{path}");
        }
    }

    #[test]
    fn keys_are_no_part_of_the_name_of_an_operation() {
        assert_eq!(without_keys("/odata/Libraries"), "/odata/Libraries");
        assert_eq!(without_keys("/odata/Users(5)/Ns.Act(a='b(c)',d=1)"), "/odata/Users/Ns.Act");
        assert_eq!(without_keys("/odata/Users(5"), "/odata/Users");
    }
}
