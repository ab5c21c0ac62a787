//! Finds the route of a request. Every route declares the access it needs, and only declared routes exist.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;

use axum::http::Method;
use percent_encoding::percent_decode_str;

use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use crate::permission::Permission;

/// The handler of a route.
pub(super) type Handler =
    for<'a> fn(&'a Call) -> Pin<Box<dyn Future<Output = Result<ApiResponse, ApiError>> + Send + 'a>>;

/// The access that a route needs.
#[derive(Clone, Copy, Debug)]
pub(super) enum RouteAccess {
    /// No token.
    Public,
    /// A token with a scope for this area, and permissions in the folder or tenant.
    Token { area: &'static str, write: bool, folder_scope: FolderScope, permissions: &'static [Permission] },
}

/// The folders that a route works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FolderScope {
    /// The folder in the headers, which is required.
    Folder,
    /// The folder in the headers, or else all folders where the caller has the permissions.
    AnyFolder,
    /// The tenant.
    Tenant,
}

/// One route.
pub(super) struct Route {
    pub(super) method: Method,
    /// `QueueItems` under `/odata`; `api/Status` under `/`.
    pub(super) entity: &'static str,
    /// Whether the path has a key, as in `QueueItems(5)` or `api/Buckets/5/ListFiles`.
    pub(super) keyed: bool,
    /// The action, or an empty text.
    pub(super) action: &'static str,
    /// The operation's name, for logs, metrics and faults.
    pub(super) name: &'static str,
    pub(super) needs: RouteAccess,
    pub(super) handler: Handler,
}

/// All routes by path.
pub(super) struct Router {
    by_path: HashMap<(String, bool, String), Vec<&'static Route>>,
}

/// A parsed path.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RequestPath {
    pub(super) entity: String,
    /// The key in brackets after the entity, without quotes; outside of `/odata`, a segment of its own.
    pub(super) key: Option<String>,
    pub(super) action: String,
    /// The arguments in brackets after the action: names and values.
    pub(super) arguments: Vec<(String, String)>,
    /// Whether the path ends with `/$count`: only the number of entities is asked for.
    pub(super) counts: bool,
    /// The part before the root: empty, `/{org}/{tenant}` or `/{org}/{tenant}/orchestrator_`.
    pub(super) prefix: String,
}

/// The first segments of paths that belong to the API, in lower case.
const ROOTS: [&str; 4] = [ODATA, API, "tasks", "forms"];
const ODATA: &str = "odata";
/// Some clients leave out `orchestrator_` before this root.
const API: &str = "api";

/// The two spellings of the namespace of actions; the vendor mixes them.
const NAMESPACES: [&str; 2] = ["UiPathODataSvc.", "UiPath.Server.Configuration.OData."];

impl Router {
    pub(super) fn new(all: &'static [Route]) -> Self {
        let mut by_path: HashMap<_, Vec<&'static Route>> = HashMap::new();
        for route in all {
            let path = (route.entity.to_ascii_lowercase(), route.keyed, route.action.to_ascii_lowercase());
            by_path.entry(path).or_default().push(route);
        }
        Self { by_path }
    }

    /// The route for a method and a path.
    ///
    /// # Errors
    ///
    /// 404 for an unknown path, 405 for an unsupported method.
    pub(super) fn find(&self, method: &Method, target: &RequestPath) -> Result<&'static Route, ApiError> {
        let routes = self.at(target)?;
        // HEAD is supported wherever GET is (RFC 9110, section 9.3.2).
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        routes.clone().find(|route| route.method == *wanted).ok_or_else(|| {
            let mut failure = ApiError::new(
                axum::http::StatusCode::METHOD_NOT_ALLOWED,
                0,
                format!("The method {method} is not supported here."),
            );
            failure.allow = Some(allowed_methods(routes));
            failure
        })
    }

    /// The methods that a path supports, as a value of `Allow`.
    ///
    /// # Errors
    ///
    /// 404 for an unknown path.
    pub(super) fn allowed(&self, target: &RequestPath) -> Result<String, ApiError> {
        self.at(target).map(allowed_methods)
    }

    /// The routes of a path, one for each method.
    fn at(
        &self,
        target: &RequestPath,
    ) -> Result<impl Iterator<Item = &'static Route> + Clone + use<'_>, ApiError> {
        let path = (target.entity.clone(), target.key.is_some(), target.action.clone());
        let routes = self.by_path.get(&path).ok_or_else(ApiError::no_route)?;
        // A number of entities can only be read.
        let counts = target.counts;
        let routes = routes.iter().copied().filter(move |route| !counts || route.method == Method::GET);
        if routes.clone().next().is_some() { Ok(routes) } else { Err(ApiError::no_route()) }
    }
}

fn allowed_methods(routes: impl Iterator<Item = &'static Route>) -> String {
    let mut methods: Vec<&str> = routes.map(|route| route.method.as_str()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    methods.join(", ")
}

impl RequestPath {
    /// Parses a path; `None` if it does not belong to the API.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let is = |at: usize, name: &str| {
            segments.get(at).is_some_and(|segment| segment.eq_ignore_ascii_case(name))
        };
        let root_at = |at: usize| ROOTS.into_iter().find(|root| is(at, root));
        let (start, root) = if let Some(root) = root_at(0) {
            (0, root)
        } else if segments.len() > 2 && segments[..2].iter().all(|name| !name.is_empty()) {
            match root_at(3) {
                Some(root) if is(2, "orchestrator_") => (3, root),
                _ if is(2, API) => (2, API),
                _ => return None,
            }
        } else {
            return None;
        };
        let prefix = segments[..start].iter().map(|segment| format!("/{segment}")).collect();
        let rest: Option<Vec<String>> =
            segments[start + 1..].iter().map(|segment| decode_segment(segment)).collect();
        let target =
            if root == ODATA { Self::of_entity_set(&rest?) } else { Self::of_controller(root, &rest?) };
        Some(Self { prefix, ..target? })
    }

    /// A path under `/odata`: `QueueItems(5)`, `QueueItems/Namespace.Action(argument=1)`, `QueueItems/$count`.
    fn of_entity_set(segments: &[String]) -> Option<Self> {
        let (segments, counts) = match segments {
            [segments @ .., last] if last.eq_ignore_ascii_case("$count") => (segments, true),
            segments => (segments, false),
        };
        let (entity, last) = match segments {
            [entity] => (entity, None),
            [entity, last] => (entity, Some(last)),
            _ => return None,
        };
        let (entity, key) = split_brackets(entity)?;
        let mut target = Self { entity: entity.to_ascii_lowercase(), counts, ..Self::default() };
        if let Some(key) = key {
            target.key = Some(whole_value(key)?);
        }
        if let Some(last) = last {
            // Compared in any case; `get` refuses a cut within a character.
            let namespace = NAMESPACES.iter().find(|namespace| {
                last.get(..namespace.len()).is_some_and(|found| found.eq_ignore_ascii_case(namespace))
            })?;
            let (action, arguments) = split_brackets(&last[namespace.len()..])?;
            target.action = action.to_ascii_lowercase();
            target.arguments = arguments.map_or_else(|| Some(Vec::new()), parse_arguments)?;
        }
        Some(target)
    }

    /// A path under another root: `Logs`, `Logs/SubmitLogs`, `Buckets/5/ListFiles`, `JobTriggers/GetPayload/5`.
    fn of_controller(root: &str, segments: &[String]) -> Option<Self> {
        // An action has only letters, which no key does.
        let is_action = |segment: &str| segment.chars().all(|c| c.is_ascii_alphabetic());
        let (entity, key, action) = match segments {
            [entity] => (entity, None, ""),
            [entity, action] => (entity, None, action.as_str()),
            [entity, action, key] if is_action(action) => (entity, Some(key.clone()), action.as_str()),
            [entity, key, action] => (entity, Some(key.clone()), action.as_str()),
            _ => return None,
        };
        let entity = format!("{root}/{}", entity.to_ascii_lowercase());
        Some(Self { entity, key, action: action.to_ascii_lowercase(), ..Self::default() })
    }
}

/// Decodes a segment; `None` for invalid UTF-8, control characters and slashes.
fn decode_segment(segment: &str) -> Option<String> {
    let text = percent_decode_str(segment).decode_utf8().ok()?;
    (!text.is_empty() && !text.chars().any(|c| c.is_control() || c == '/')).then(|| text.into_owned())
}

/// Splits `QueueItems(5)` into `QueueItems` and `5`.
fn split_brackets(text: &str) -> Option<(&str, Option<&str>)> {
    let is_name = |name: &str| {
        let name = name.strip_prefix('$').unwrap_or(name);
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    match text.split_once('(') {
        None => is_name(text).then_some((text, None)),
        Some((name, rest)) => {
            let inner = rest.strip_suffix(')')?;
            is_name(name).then_some((name, Some(inner)))
        }
    }
}

/// Parses `daysNo=1,name='a,b'` into names and values without quotes.
fn parse_arguments(text: &str) -> Option<Vec<(String, String)>> {
    let mut arguments = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, behind) = rest.split_once('=')?;
        let (value, behind) = value_of(behind)?;
        rest = behind;
        arguments.push((name.trim().to_ascii_lowercase(), value));
        if !rest.is_empty() {
            rest = rest.strip_prefix(',')?.trim_start();
        }
        if arguments.len() > 10 {
            return None;
        }
    }
    Some(arguments)
}

/// The value at the beginning of a text, and the text behind it. Quotes are removed; in quotes a doubled quote is one quote.
fn value_of(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let Some(mut rest) = text.strip_prefix('\'') else {
        let end = text.find(',').unwrap_or(text.len());
        return Some((text[..end].trim_end().to_owned(), &text[end..]));
    };
    let mut value = String::new();
    loop {
        let (part, behind) = rest.split_once('\'')?;
        value.push_str(part);
        match behind.strip_prefix('\'') {
            Some(more) => {
                value.push('\'');
                rest = more;
            }
            None => return Some((value, behind.trim_start())),
        }
    }
}

/// A text that is one value. Without quotes it may be anything; what a key has to be is known later.
fn whole_value(text: &str) -> Option<String> {
    if !text.trim_start().starts_with('\'') {
        return Some(text.trim().to_owned());
    }
    let (value, rest) = value_of(text)?;
    rest.is_empty().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Option<(String, Option<String>, String, String)> {
        let target = RequestPath::parse(path)?;
        Some((target.entity, target.key, target.action, target.prefix))
    }

    fn found(
        entity: &str,
        key: Option<&str>,
        action: &str,
        prefix: &str,
    ) -> Option<(String, Option<String>, String, String)> {
        Some((entity.to_owned(), key.map(str::to_owned), action.to_owned(), prefix.to_owned()))
    }

    #[test]
    fn every_form_of_a_path_is_parsed() {
        for (path, expected) in [
            ("/odata/QueueItems", found("queueitems", None, "", "")),
            ("/ODATA/queueitems(5)", found("queueitems", Some("5"), "", "")),
            ("/odata/QueueItems%285%29", found("queueitems", Some("5"), "", "")),
            (
                "/acme/Prod/orchestrator_/odata/Queues/UiPathODataSvc.AddQueueItem",
                found("queues", None, "addqueueitem", "/acme/Prod/orchestrator_"),
            ),
            (
                "/odata/Queues(7)/uipath.server.configuration.odata.SetTransactionResult",
                found("queues", Some("7"), "settransactionresult", ""),
            ),
            ("/api/Status/Get", found("api/status", None, "get", "")),
            ("/api/Logs", found("api/logs", None, "", "")),
            ("/api/Buckets/5/ListFiles", found("api/buckets", Some("5"), "listfiles", "")),
            (
                "/api/JobTriggers/GetPayload/6f1c-2d",
                found("api/jobtriggers", Some("6f1c-2d"), "getpayload", ""),
            ),
            (
                "/acme/Prod/api/Buckets/5/ListFiles",
                found("api/buckets", Some("5"), "listfiles", "/acme/Prod"),
            ),
            ("/Tasks/GenericTasks/CreateTask", found("tasks/generictasks", None, "createtask", "")),
            (
                "/a/b/orchestrator_/forms/TaskForms/CompleteTask",
                found("forms/taskforms", None, "completetask", "/a/b/orchestrator_"),
            ),
            ("/odata/Settings('a.b')", found("settings", Some("a.b"), "", "")),
            ("/odata/Settings('O''Neil')", found("settings", Some("O'Neil"), "", "")),
            ("/odata/X(1,2)", found("x", Some("1,2"), "", "")),
            ("/odata/Settings(%27x%27)", found("settings", Some("x"), "", "")),
        ] {
            assert_eq!(parse(path), expected, "{path}");
        }
        let target =
            RequestPath::parse("/odata/X/UiPathODataSvc.Y(daysNo=0, name='a,b=''c',id=6f1c)").unwrap();
        let arguments: Vec<(&str, &str)> =
            target.arguments.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(arguments, [("daysno", "0"), ("name", "a,b='c"), ("id", "6f1c")]);
    }

    #[test]
    fn a_count_is_a_part_of_a_path_under_odata() {
        for (path, entity, action) in [
            ("/odata/QueueItems/$count", "queueitems", ""),
            ("/odata/QueueItems/%24COUNT", "queueitems", ""),
            ("/odata/X/UiPathODataSvc.Y(a=1)/$count", "x", "y"),
        ] {
            let target = RequestPath::parse(path).unwrap();
            assert_eq!((&*target.entity, &*target.action, target.counts), (entity, action, true), "{path}");
        }
        assert!(!RequestPath::parse("/odata/QueueItems").unwrap().counts);
        for path in ["/odata/$count", "/odata/X/$count/$count", "/odata/X/$count/Y", "/api/X/$count/Y/Z"] {
            assert_eq!(RequestPath::parse(path), None, "{path}");
        }
    }

    #[test]
    fn foreign_paths_are_refused() {
        for path in [
            "",
            "/",
            "odata/QueueItems",
            "/odata",
            "/odata/",
            "//odata/QueueItems",
            "/odata//QueueItems",
            "/odata/QueueItems/",
            "/odata/QueueItems/5",
            "/odata/QueueItems(5",
            "/odata/QueueItems)5(",
            "/odata/(5)",
            "/odata/QueueItems(5)x",
            "/odata/Queues/AddQueueItem",
            "/odata/Queues/Other.AddQueueItem",
            "/odata/Queues/UiPathODataSvc.",
            "/odata/Queues/UiPathODataSvc.A/b",
            "/odata/Queue%00Items",
            "/odata/Queue%2fItems",
            "/odata/%ff",
            "/a/b/odata/QueueItems",
            "/a/orchestrator_/odata/QueueItems",
            "//b/orchestrator_/odata/QueueItems",
            "/a/b/orchestrator_/x/QueueItems",
            "/api",
            "/api/",
            "/api/Status/",
            "/api/A/1/B/2",
            "/tasks",
            "//b/api/X/Y",
            "/a/api/X/Y",
            "/a/b/tasks/X/Y",
            "/odata/X('a)",
            "/odata/X('a'b)",
            "/odata/X('a','b')",
            "/odata/Queues/UiPathODataSvc.A(x)",
            "/odata/Queues/UiPathODataSvc.A(x='y)",
            "/odata/Ü",
            "/odata/Queues/UiPathODataSvÜ.A",
            "/odata/../api/Status/Get",
            "/odata/QueueItems;x=1",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }
}
