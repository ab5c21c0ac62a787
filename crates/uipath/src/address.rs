//! The address of an Orchestrator, and the folder in it (orchestrator-api 1.1 and 2).

use std::fmt;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// The folder of the queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Folder {
    /// By its full name, with `/` between the levels.
    Path(String),
    /// By its id.
    Id(i64),
    /// By its GUID.
    Key(uuid::Uuid),
}

/// The addresses of one tenant.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// The base URL of the API, without a trailing slash.
    pub(super) base: String,
    /// The URL of the token endpoint.
    pub(super) identity: String,
    /// Whether it is a standalone installation, which has user names and passwords.
    pub(super) is_standalone: bool,
    /// The host, for messages.
    pub(super) host: String,
}

impl Address {
    /// A path and query on the same host.
    pub(super) fn on_host(&self, path: &str) -> String {
        let origin = Url::parse(&self.base).map(|base| base.origin().ascii_serialization());
        format!("{}{path}", origin.as_deref().unwrap_or(&self.base))
    }
}

/// Shows nothing that could be a secret.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

/// The options in the query of a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) folder: Option<Folder>,
    pub(super) tenant: Option<String>,
    pub(super) scope: Option<String>,
    pub(super) robot_key: Option<String>,
}

/// The user name and password in a URL.
pub(super) type Login = Option<(String, String)>;

/// Parses a URL.
///
/// | form | installation |
/// |---|---|
/// | `https://cloud.uipath.com/acme/Prod/orchestrator_` | Automation Cloud, Automation Suite |
/// | `https://cloud.uipath.com/acme/Prod` | Automation Cloud, in the form that jobs receive |
/// | `https://orchestrator.example.com` | a standalone installation |
pub(super) fn parse(text: &str, allow_plain_http: bool) -> Result<(Address, Options, Login)> {
    let mut url = Url::parse(text).map_err(|error| invalid(format!("the URL cannot be read: {error}")))?;
    if url.username().is_empty() && url.password().is_some() {
        return Err(invalid("the URL has a password and no user in front of it".to_owned()));
    }
    let login = (!url.username().is_empty()).then(|| {
        let decoded = |text: &str| percent_decoded(text);
        (decoded(url.username()), decoded(url.password().unwrap_or_default()))
    });
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let host = url.host_str().ok_or_else(|| invalid("the URL has no host".to_owned()))?.to_owned();
    match url.scheme() {
        "https" => {}
        "http" if allow_plain_http || is_loopback(&url) => {}
        "http" => {
            return Err(invalid(format!(
                "http://{host} would send tokens in the clear; use https, or allow_plain_http() of the builder"
            )));
        }
        scheme => return Err(invalid(format!("unknown scheme {scheme:?}; an Orchestrator is at https:"))),
    }
    let options = options(&url)?;
    let origin = url.origin().ascii_serialization();
    let mut segments: Vec<&str> = url.path().split('/').filter(|segment| !segment.is_empty()).collect();
    // Jobs receive the address of the tenant, without the name of the service.
    if segments.len() == 2 {
        segments.push("orchestrator_");
    }
    let is_standalone = segments.last() != Some(&"orchestrator_");
    let identity = if is_standalone { "identity" } else { "identity_" };
    let mut base = origin.clone();
    for segment in &segments {
        base.push('/');
        base.push_str(segment);
    }
    Ok((
        Address { base, identity: format!("{origin}/{identity}/connect/token"), is_standalone, host },
        options,
        login,
    ))
}

fn options(url: &Url) -> Result<Options> {
    let mut options = Options::default();
    for (name, value) in url.query_pairs() {
        let value = value.into_owned();
        match &*name {
            "folder" => options.folder = Some(Folder::Path(value)),
            "folder_id" => options.folder = Some(Folder::Id(number("folder_id", &value)?)),
            "folder_key" => options.folder = Some(Folder::Key(guid("folder_key", &value)?)),
            "tenant" => options.tenant = Some(value),
            "scope" => options.scope = Some(value),
            "robot_key" => options.robot_key = Some(value),
            // Neither name nor value is quoted: either may be a misplaced secret.
            _ => {
                let known = "folder, folder_id, folder_key, tenant, scope, robot_key";
                return Err(invalid(format!("the URL has an unknown option; known are {known}")));
            }
        }
    }
    Ok(options)
}

pub(super) fn number(what: &str, text: &str) -> Result<i64> {
    text.trim().parse().map_err(|_| invalid(format!("{what} must be a number, not {text:?}")))
}

pub(super) fn guid(what: &str, text: &str) -> Result<uuid::Uuid> {
    text.trim().parse().map_err(|_| invalid(format!("{what} must be a GUID, not {text:?}")))
}

impl Folder {
    /// Adds the one header that names the folder. A path that is not printable ASCII is encoded.
    pub(super) fn header(&self, headers: &mut HeaderMap) {
        let (name, value) = match self {
            Self::Id(id) => ("x-uipath-organizationunitid", id.to_string()),
            Self::Key(key) => ("x-uipath-folderkey", key.to_string()),
            Self::Path(path) if path.bytes().all(|byte| (0x20..0x7f).contains(&byte)) => {
                ("x-uipath-folderpath", path.clone())
            }
            Self::Path(path) => ("x-uipath-folderpath-encoded", performer_wire::folder_path::encode(path)),
        };
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Decodes percent-encoded bytes; an invalid sequence stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let code =
            behind.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, code) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) fn invalid(message: String) -> OrchestratorError {
    OrchestratorError::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (Address, Options, Login) {
        parse(url, false).unwrap()
    }

    #[test]
    fn cloud_suite_and_standalone_have_their_own_identity_servers() {
        for (url, base, identity) in [
            (
                "https://cloud.uipath.com/acme/Prod/orchestrator_",
                "https://cloud.uipath.com/acme/Prod/orchestrator_",
                "https://cloud.uipath.com/identity_/connect/token",
            ),
            (
                "https://cloud.uipath.com/acme/Prod/",
                "https://cloud.uipath.com/acme/Prod/orchestrator_",
                "https://cloud.uipath.com/identity_/connect/token",
            ),
            (
                "https://suite.example.com:8443/org/tenant/orchestrator_/",
                "https://suite.example.com:8443/org/tenant/orchestrator_",
                "https://suite.example.com:8443/identity_/connect/token",
            ),
            (
                "https://o.example.com",
                "https://o.example.com",
                "https://o.example.com/identity/connect/token",
            ),
            (
                "http://127.0.0.1:8095/",
                "http://127.0.0.1:8095",
                "http://127.0.0.1:8095/identity/connect/token",
            ),
        ] {
            let (address, ..) = parsed(url);
            assert_eq!((address.base.as_str(), address.identity.as_str()), (base, identity), "{url}");
            assert_eq!(address.is_standalone, identity.contains("/identity/"), "{url}");
        }
    }

    #[test]
    fn options_and_logins_are_taken_out_of_the_url() {
        let (address, options, login) = parsed(
            "https://ann%40x:p%C3%A4ss%3A@o.example.com?folder=Shared%2FFinanz%C3%A4mter&tenant=Default",
        );
        assert_eq!(options.folder, Some(Folder::Path("Shared/Finanzämter".to_owned())));
        assert_eq!(options.tenant.as_deref(), Some("Default"));
        assert_eq!(login, Some(("ann@x".to_owned(), "päss:".to_owned())));
        assert_eq!(format!("{address:?}"), "https://o.example.com");
        assert_eq!(parsed("https://o.example.com?folder_id=7").1.folder, Some(Folder::Id(7)));
    }

    #[test]
    fn a_wrong_url_is_refused_without_repeating_what_may_be_a_secret() {
        for (url, part) in [
            ("https://", "cannot be read"),
            ("ftp://x", "unknown scheme \"ftp\""),
            ("http://o.example.com", "in the clear"),
            ("http://10.0.0.1", "in the clear"),
            ("https://:hunter2@x", "a password and no user"),
            ("https://x?token=hunter2", "unknown option"),
            ("https://x?folder_id=abc", "must be a number"),
            ("https://x?folder_key=abc", "must be a GUID"),
        ] {
            let error = parse(url, false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(part), "{url}: {error}");
            assert!(!error.to_string().contains("hunter2"));
        }
        assert!(parse("http://o.example.com", true).is_ok());
        for loopback in ["http://localhost:1", "http://127.0.0.9", "http://[::1]:80"] {
            assert!(parse(loopback, false).is_ok(), "{loopback}");
        }
    }

    #[test]
    fn a_folder_is_named_by_exactly_one_header() {
        let header = |folder: &Folder| {
            let mut headers = HeaderMap::new();
            folder.header(&mut headers);
            let (name, value) = headers.iter().next().unwrap();
            (headers.len(), name.to_string(), value.to_str().unwrap().to_owned())
        };
        let named = |name: &str, value: &str| (1, name.to_owned(), value.to_owned());
        assert_eq!(header(&Folder::Id(3)), named("x-uipath-organizationunitid", "3"));
        assert_eq!(
            header(&Folder::Path("Shared/Finance".to_owned())),
            named("x-uipath-folderpath", "Shared/Finance")
        );
        // "Ä" is U+00C4: two bytes, the low one first.
        assert_eq!(header(&Folder::Path("Ä".to_owned())), named("x-uipath-folderpath-encoded", "xAA="));
        let key = uuid::Uuid::from_u128(7);
        assert_eq!(header(&Folder::Key(key)), named("x-uipath-folderkey", &key.to_string()));
    }
}
