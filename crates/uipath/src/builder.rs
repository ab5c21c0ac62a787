//! The settings of a client: from code, from a URL, and from the environment.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::address::{self, Folder, invalid};
use super::auth::{Credentials, DEFAULT_SCOPE, Identity};
use super::call::Call;
use super::request::Http;
use super::timing::Timing;
use super::{Inner, Shared, Uipath};
use performer_core::orchestrator::{BoxFuture, ErrorKind, OrchestratorError, Result};
use performer_core::private_file;
use performer_wire::json;

/// The maximum of all time limits; a longer one could overflow an instant.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// The settings of a client for an Orchestrator. Made by [`Uipath::builder`].
///
/// Settings made here take precedence over the URL, and the URL over the [`environment`](Self::environment).
#[must_use = "nothing happens before connect()"]
pub struct UipathBuilder {
    url: SecretString,
    /// From code; takes precedence over the URL.
    set: Settings,
    /// From the environment; the URL takes precedence.
    environment: Settings,
    robot_is_shared: bool,
    process: u32,
    allow_plain_http: bool,
    timing: Timing,
}

/// The caller and the folder.
#[derive(Default)]
struct Settings {
    credentials: Option<Credentials>,
    scope: Option<String>,
    tenant: Option<String>,
    folder: Option<Folder>,
    robot_key: Option<String>,
    job_key: Option<String>,
}

/// Does not show the URL, which may contain a password.
impl fmt::Debug for UipathBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credentials = self.set.credentials.as_ref().or(self.environment.credentials.as_ref());
        f.debug_struct("UipathBuilder").field("credentials", &credentials).finish_non_exhaustive()
    }
}

impl UipathBuilder {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned().into(),
            set: Settings::default(),
            environment: Settings::default(),
            robot_is_shared: false,
            process: 0,
            allow_plain_http: false,
            timing: Timing::default(),
        }
    }

    /// Connects as a confidential external application (OAuth client credentials).
    pub fn client_credentials(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        let secret = SecretString::from(secret.into());
        self.set.credentials = Some(Credentials::Client { id: id.into(), secret, scope: String::new() });
        self
    }

    /// The scopes that an external application requests, separated by spaces. Default: `OR.Queues OR.Jobs.Read`.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.set.scope = Some(scope.into());
        self
    }

    /// Connects with a personal access token, or with the access token of a running job. It cannot be renewed.
    pub fn access_token(mut self, token: impl Into<String>) -> Self {
        self.set.credentials = Some(Credentials::Token(token.into().into()));
        self
    }

    /// Connects as a user of a standalone installation.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        let password = SecretString::from(password.into());
        self.set.credentials = Some(Credentials::User { tenant: String::new(), name: name.into(), password });
        self
    }

    /// The tenant, if the URL does not name it. Default for users of a standalone installation: `Default`.
    pub fn tenant(mut self, name: impl Into<String>) -> Self {
        self.set.tenant = Some(name.into());
        self
    }

    /// The folder of the queues, by its full name, as in `Shared/Finance`.
    pub fn folder_path(mut self, path: impl Into<String>) -> Self {
        self.set.folder = Some(Folder::Path(path.into()));
        self
    }

    /// The folder of the queues, by its id.
    pub fn folder_id(mut self, id: i64) -> Self {
        self.set.folder = Some(Folder::Id(id));
        self
    }

    /// The folder of the queues, by its GUID.
    ///
    /// # Errors
    ///
    /// Invalid if it is not a GUID.
    pub fn folder_key(mut self, key: &str) -> Result<Self> {
        self.set.folder = Some(Folder::Key(address::guid("the folder's key", key)?));
        Ok(self)
    }

    /// The key of the robot that claims the items. Every process needs its own robot: items whose answers were lost are
    /// recovered by it.
    pub fn robot_key(mut self, key: impl Into<String>) -> Self {
        self.set.robot_key = Some(key.into());
        self
    }

    /// Declares that other processes use the same robot key. Then an item whose answer was lost cannot be distinguished from
    /// theirs and will be abandoned, unless the program runs in a job of the Orchestrator.
    pub fn robot_is_shared(mut self) -> Self {
        self.robot_is_shared = true;
        self
    }

    /// The key of the Orchestrator's job that this program runs in. When that job is stopped there, the performer stops.
    pub fn job_key(mut self, key: impl Into<String>) -> Self {
        self.set.job_key = Some(key.into());
        self
    }

    /// Allows http: for hosts other than this machine. Tokens and data are then sent unencrypted.
    pub fn allow_plain_http(mut self) -> Self {
        self.allow_plain_http = true;
        self
    }

    /// The time limit for a connection to the server. At most a day. Default: 10 seconds.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.timing.connect = limit.min(MAX_TIMEOUT);
        self
    }

    /// The time limit for one request and its whole answer. At most a day. Default: 30 seconds.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.timing.request = limit.min(MAX_TIMEOUT);
        self
    }

    /// The time limit for a call with all its retries and waits. At most a day. Default: 90 seconds.
    pub fn total_timeout(mut self, limit: Duration) -> Self {
        self.timing.total = limit.min(MAX_TIMEOUT);
        self
    }

    /// The longest interval between two polls of an empty queue. At most a day. Default: 30 seconds.
    pub fn longest_poll(mut self, limit: Duration) -> Self {
        self.timing.longest_poll = limit.min(MAX_TIMEOUT);
        self
    }

    /// Divides all delays by a factor, not the time limits. For tests.
    #[doc(hidden)]
    pub fn sped_up(mut self, times: u32) -> Self {
        self.timing = self.timing.sped_up(times);
        self
    }

    /// Shares no claims with clients of other process numbers, as if it were in another process. For tests.
    #[doc(hidden)]
    pub fn in_process(mut self, process: u32) -> Self {
        self.process = process;
        self
    }

    /// Reads from the environment the settings that neither the code nor the URL contains.
    ///
    /// | variable | setting |
    /// |---|---|
    /// | `UIPATH_CLIENT_ID`, `UIPATH_CLIENT_SECRET`, `UIPATH_SCOPE` | an external application |
    /// | `UIPATH_PAT` | a personal access token |
    /// | `UIPATH_ACCESS_TOKEN` | the token of a running job; takes precedence over the others if `UIPATH_JOB_KEY` is set, and is used only for the host of `UIPATH_URL` |
    /// | `UIPATH_USERNAME`, `UIPATH_PASSWORD` | a user of a standalone installation |
    /// | `UIPATH_TENANT_NAME` | the tenant, for standalone installations |
    /// | `UIPATH_FOLDER_KEY`, `UIPATH_FOLDER_PATH`, `UIPATH_FOLDER_ID` | the folder; the first one that is set |
    /// | `UIPATH_ROBOT_KEY`, `UIPATH_JOB_KEY` | the robot and the job that the program runs as |
    /// | `UIPATH_CLIENT_SECRET_FILE`, `UIPATH_PAT_FILE`, `UIPATH_ACCESS_TOKEN_FILE`, `UIPATH_PASSWORD_FILE` | files with the secrets, instead of the variables without `_FILE` |
    ///
    /// # Errors
    ///
    /// Invalid if a variable has the wrong format, or a file with a secret cannot be read.
    pub fn environment(self) -> Result<Self> {
        self.variables(|name| std::env::var(name).ok())
    }

    /// Reads the variables of [`environment`](Self::environment) with a function. For tests.
    ///
    /// # Errors
    ///
    /// As [`environment`](Self::environment).
    #[doc(hidden)]
    pub fn variables(mut self, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let get = |name: &str| {
            variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        // The token of a job must be sent only to the Orchestrator of that job.
        let is_elsewhere = get("UIPATH_URL").is_some_and(|url| host(&url) != host(self.url.expose_secret()));
        let mut from_files = Vec::new();
        for name in SECRETS.into_iter().filter(|name| get(name).is_none()) {
            let variable = format!("{name}_FILE");
            if let Some(path) = get(&variable) {
                from_files.push((name, private_file::read_secret(&variable, &path)?));
            }
        }
        let in_a_file =
            |name: &str| from_files.iter().find(|(of, _)| *of == name).map(|(_, secret)| secret.clone());
        let for_this_host = |name: &str| {
            let secret = get(name).or_else(|| in_a_file(name));
            secret.filter(|_| name != "UIPATH_ACCESS_TOKEN" || !is_elsewhere)
        };
        let folder = match (get("UIPATH_FOLDER_KEY"), get("UIPATH_FOLDER_PATH"), get("UIPATH_FOLDER_ID")) {
            (Some(key), ..) => Some(Folder::Key(address::guid("UIPATH_FOLDER_KEY", &key)?)),
            (None, Some(path), _) => Some(Folder::Path(path)),
            (None, None, Some(id)) => Some(Folder::Id(address::number("UIPATH_FOLDER_ID", &id)?)),
            (None, None, None) => None,
        };
        self.environment = Settings {
            credentials: credentials(&for_this_host),
            scope: get("UIPATH_SCOPE"),
            tenant: get("UIPATH_TENANT_NAME"),
            folder,
            robot_key: get("UIPATH_ROBOT_KEY"),
            job_key: get("UIPATH_JOB_KEY"),
        };
        Ok(self)
    }

    /// Connects: obtains a token if one is needed, and makes one call to verify the address, the credentials and the folder.
    ///
    /// # Errors
    ///
    /// Invalid for an invalid URL or setting; Unauthorized if there are no credentials, they are refused, or the caller has no
    /// access to the folder; Unavailable if the Orchestrator cannot be reached.
    pub async fn connect(self) -> Result<Uipath> {
        self.connect_boxed().await
    }

    #[inline(never)]
    fn connect_boxed(self) -> BoxFuture<'static, Result<Uipath>> {
        Box::pin(self.connect_and_verify())
    }

    async fn connect_and_verify(self) -> Result<Uipath> {
        let url = self.url.expose_secret();
        let (address, options, login) = address::parse(url, self.allow_plain_http)?;
        let (set, environment) = (self.set, self.environment);
        let tenant = set.tenant.or(options.tenant).or(environment.tenant);
        let scope = set.scope.or(options.scope).or(environment.scope);
        let scope = scope.unwrap_or_else(|| DEFAULT_SCOPE.to_owned());
        let login = login.map(|(name, password)| Credentials::User {
            tenant: String::new(),
            name,
            password: password.into(),
        });
        let credentials = set.credentials.or(login).or(environment.credentials);
        let mut credentials = credentials.ok_or_else(no_credentials)?;
        match &mut credentials {
            Credentials::Client { scope: of_client, .. } => *of_client = scope,
            Credentials::User { tenant: of_user, .. } => {
                *of_user = tenant.clone().unwrap_or_else(|| "Default".to_owned());
            }
            Credentials::Token(_) => {}
        }
        let robot_key = set.robot_key.or(options.robot_key).or(environment.robot_key);
        let robot_key = robot_key.map(|key| address::guid("the robot's key", &key)).transpose()?;
        let job_key = set.job_key.or(environment.job_key);
        let job_key = job_key.map(|key| address::guid("the job's key", &key)).transpose()?;
        // The own job is in the folder of the environment, which may differ from the folder of the queues.
        let of_job = environment.folder.clone();
        let folder = set.folder.or(options.folder).or(environment.folder);
        let of_job =
            headers(of_job.as_ref().or(folder.as_ref()), tenant.as_deref(), job_key, address.is_standalone)?;
        let headers = headers(folder.as_ref(), tenant.as_deref(), job_key, address.is_standalone)?;
        let identity = Identity::new(credentials)?;
        let (base, caller, process) = (&address.base, identity.name(), self.process);
        let name = format!("{base} {caller} {folder:?} {tenant:?} {robot_key:?} {job_key:?} {process}");
        let http = Http::new(address, identity, self.timing, headers, of_job)?;
        let call = Call::get("GetQueueDefinitions", "/odata/QueueDefinitions").query("$top", "1");
        http.call(call, |answer| json::rows(&answer.body)).await?;
        let robot_key = robot_key.map(|key| key.to_string());
        Ok(Uipath {
            inner: Arc::new(Inner::new(http, robot_key, job_key, self.robot_is_shared, Shared::of(name))),
        })
    }
}

/// Secrets that may be read from a file, which is named by the variable with the suffix `_FILE`.
const SECRETS: [&str; 4] = ["UIPATH_CLIENT_SECRET", "UIPATH_PAT", "UIPATH_ACCESS_TOKEN", "UIPATH_PASSWORD"];

fn credentials(get: &impl Fn(&str) -> Option<String>) -> Option<Credentials> {
    let client = || {
        let (id, secret) = (get("UIPATH_CLIENT_ID")?, get("UIPATH_CLIENT_SECRET")?);
        Some(Credentials::Client { id, secret: secret.into(), scope: String::new() })
    };
    let token = |name: &str| get(name).map(|token| Credentials::Token(token.into()));
    let user = || {
        let (name, password) = (get("UIPATH_USERNAME")?, get("UIPATH_PASSWORD")?);
        Some(Credentials::User { tenant: String::new(), name, password: password.into() })
    };
    // In a job, items are handed out only to the token of the robot.
    let of_job = if get("UIPATH_JOB_KEY").is_some() { token("UIPATH_ACCESS_TOKEN") } else { None };
    of_job
        .or_else(client)
        .or_else(|| token("UIPATH_PAT"))
        .or_else(|| token("UIPATH_ACCESS_TOKEN"))
        .or_else(user)
}

fn host(url: &str) -> Option<String> {
    reqwest::Url::parse(url).ok()?.host_str().map(str::to_owned)
}

fn no_credentials() -> OrchestratorError {
    let message = "no credentials: set UIPATH_CLIENT_ID and UIPATH_CLIENT_SECRET (an external application), UIPATH_PAT (a \
                   personal access token), or UIPATH_USERNAME and UIPATH_PASSWORD (a standalone installation); a job has \
                   UIPATH_ACCESS_TOKEN";
    OrchestratorError::new(ErrorKind::Unauthorized, message)
}

fn headers(
    folder: Option<&Folder>,
    tenant: Option<&str>,
    job: Option<uuid::Uuid>,
    is_standalone: bool,
) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if let Some(folder) = folder {
        folder.header(&mut headers);
    }
    let mut insert = |name: &'static str, value: &str| {
        let value =
            HeaderValue::from_str(value).map_err(|_| invalid(format!("{name} cannot be {value:?}")))?;
        headers.insert(HeaderName::from_static(name), value);
        Ok::<(), OrchestratorError>(())
    };
    // In the cloud the address contains the tenant.
    if let Some(tenant) = tenant.filter(|_| is_standalone) {
        insert("x-uipath-tenantname", tenant)?;
    }
    if let Some(job) = job {
        insert("x-uipath-jobkey", &job.to_string())?;
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> UipathBuilder {
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let get = move |name: &str| {
            variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        UipathBuilder::new("https://ann:canary@x").variables(get).unwrap()
    }

    #[test]
    fn a_job_token_takes_precedence_only_in_a_job() {
        let application = [
            ("UIPATH_CLIENT_ID", "app"),
            ("UIPATH_CLIENT_SECRET", "canary"),
            ("UIPATH_ACCESS_TOKEN", "canary"),
        ];
        assert!(matches!(from(&application).environment.credentials, Some(Credentials::Client { .. })));
        let mut in_job = application.to_vec();
        in_job.push(("UIPATH_JOB_KEY", "1d9a1d3a-5b55-4c55-9d52-0a6d0c0f5a11"));
        assert!(matches!(from(&in_job).environment.credentials, Some(Credentials::Token(_))));
        assert!(matches!(
            from(&[("UIPATH_PAT", "canary")]).environment.credentials,
            Some(Credentials::Token(_))
        ));
        let user =
            [("UIPATH_USERNAME", "ann"), ("UIPATH_PASSWORD", "canary"), ("UIPATH_FOLDER_PATH", "Shared")];
        let builder = from(&user);
        assert!(matches!(builder.environment.credentials, Some(Credentials::User { .. })));
        assert_eq!(builder.environment.folder, Some(Folder::Path("Shared".to_owned())));
        assert!(
            from(&[("UIPATH_CLIENT_ID", "app"), ("UIPATH_CLIENT_SECRET", " ")])
                .environment
                .credentials
                .is_none()
        );
        let of_x = [("UIPATH_URL", "https://x/acme/Prod"), ("UIPATH_ACCESS_TOKEN", "canary")];
        assert!(matches!(from(&of_x).environment.credentials, Some(Credentials::Token(_))));
        let of_another = [("UIPATH_URL", "https://y/acme/Prod"), ("UIPATH_ACCESS_TOKEN", "canary")];
        assert!(from(&of_another).environment.credentials.is_none(), "the token stays with its host");
        assert!(!format!("{builder:?}").contains("canary"), "{builder:?}");
    }

    #[test]
    fn secrets_are_read_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let secret = file("secret", "canary\n");
        let application = [("UIPATH_CLIENT_ID", "app"), ("UIPATH_CLIENT_SECRET_FILE", &*secret)];
        let Some(Credentials::Client { secret, .. }) = from(&application).environment.credentials else {
            panic!()
        };
        assert_eq!(secret.expose_secret(), "canary", "without the line break");
        // The token of a job, which is not sent to another host either.
        let token = file("token", "canary-of-a-job\n");
        let of_host = |url| [("UIPATH_URL", url), ("UIPATH_ACCESS_TOKEN_FILE", &*token)];
        let read = from(&of_host("https://x/acme/Prod")).environment.credentials;
        assert!(
            matches!(read, Some(Credentials::Token(token)) if token.expose_secret() == "canary-of-a-job")
        );
        assert!(from(&of_host("https://y/acme/Prod")).environment.credentials.is_none());
        let given = [("UIPATH_ACCESS_TOKEN", "given"), ("UIPATH_ACCESS_TOKEN_FILE", &*token)];
        let read = from(&given).environment.credentials;
        assert!(matches!(read, Some(Credentials::Token(token)) if token.expose_secret() == "given"));
        for (name, text) in [("missing", None), ("empty", Some("\n"))] {
            let path =
                text.map_or_else(|| folder.path().join(name).display().to_string(), |text| file(name, text));
            let get = |variable: &str| (variable == "UIPATH_PAT_FILE").then(|| path.clone());
            let error = UipathBuilder::new("https://x").variables(get).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().starts_with("UIPATH_PAT_FILE: the file"), "{error}");
        }
    }

    #[tokio::test]
    async fn without_credentials_nothing_is_sent() {
        let error = UipathBuilder::new("https://o.example.com").connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(error.to_string().contains("UIPATH_CLIENT_ID"), "{error}");
        let error =
            UipathBuilder::new("https://x").access_token("t").robot_key("R1").connect().await.unwrap_err();
        assert_eq!(error.to_string(), "the robot's key must be a GUID, not \"R1\"");
    }
}
