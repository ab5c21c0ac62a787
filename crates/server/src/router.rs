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
    /// Whether the path has a key, as in `QueueItems(5)`.
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
    /// The key in brackets after the entity.
    pub(super) key: Option<String>,
    pub(super) action: String,
    /// The arguments in brackets after the action: names and values.
    pub(super) arguments: Vec<(String, String)>,
    /// The part before `odata` or `api`: empty, or `/{org}/{tenant}/orchestrator_`.
    pub(super) prefix: String,
}

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
        let path = (target.entity.clone(), target.key.is_some(), target.action.clone());
        let routes = self.by_path.get(&path).ok_or_else(ApiError::no_route)?;
        // HEAD is supported wherever GET is (RFC 9110, section 9.3.2).
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        routes.iter().find(|route| route.method == *wanted).copied().ok_or_else(|| {
            let mut methods: Vec<&str> = routes.iter().map(|route| route.method.as_str()).collect();
            if methods.contains(&"GET") {
                methods.push("HEAD");
            }
            let mut failure = ApiError::new(
                axum::http::StatusCode::METHOD_NOT_ALLOWED,
                0,
                format!("The method {method} is not supported here."),
            );
            failure.allow = Some(methods.join(", "));
            failure
        })
    }
}

impl RequestPath {
    /// Parses a path; `None` if it does not belong to the API.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let is = |at: usize, name: &str| {
            segments.get(at).is_some_and(|segment| segment.eq_ignore_ascii_case(name))
        };
        let begins = |at: usize| is(at, "odata") || is(at, "api");
        let start = if begins(0) {
            0
        } else if is(2, "orchestrator_") && begins(3) && segments[..2].iter().all(|name| !name.is_empty()) {
            3
        } else {
            return None;
        };
        let prefix = segments[..start].iter().map(|segment| format!("/{segment}")).collect();
        let rest: Option<Vec<String>> =
            segments[start + 1..].iter().map(|segment| decode_segment(segment)).collect();
        let mut rest = rest?.into_iter();
        let (entity, last) = (rest.next()?, rest.next());
        if rest.next().is_some() {
            return None;
        }
        if is(start, "api") {
            let action = last?.to_ascii_lowercase();
            let entity = format!("api/{}", entity.to_ascii_lowercase());
            return Some(Self { entity, action, prefix, ..Self::default() });
        }
        let (entity, key) = split_brackets(&entity)?;
        let mut target = Self {
            entity: entity.to_ascii_lowercase(),
            key: key.map(str::to_owned),
            prefix,
            ..Self::default()
        };
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
        let behind = behind.trim_start();
        let value;
        if let Some(quoted) = behind.strip_prefix('\'') {
            let end = quoted.find('\'')?;
            value = &quoted[..end];
            rest = quoted[end + 1..].trim_start();
        } else {
            let end = behind.find(',').unwrap_or(behind.len());
            value = behind[..end].trim_end();
            rest = &behind[end..];
        }
        arguments.push((name.trim().to_ascii_lowercase(), value.to_owned()));
        if !rest.is_empty() {
            rest = rest.strip_prefix(',')?.trim_start();
        }
        if arguments.len() > 10 {
            return None;
        }
    }
    Some(arguments)
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
        ] {
            assert_eq!(parse(path), expected, "{path}");
        }
        let target = RequestPath::parse("/odata/X/UiPathODataSvc.Y(daysNo=0, name='a,b=c',id=6f1c)").unwrap();
        let arguments: Vec<(&str, &str)> =
            target.arguments.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(arguments, [("daysno", "0"), ("name", "a,b=c"), ("id", "6f1c")]);
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
            "/api/Status",
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
