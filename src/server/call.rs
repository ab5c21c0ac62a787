//! One call: who makes it, where, and with what; and its answer.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Inner;
use super::access::Caller;
use super::failure::Failure;
use super::room::{Held, Owner};
use super::strict::Shape;
use crate::model::directory::Directory;
use crate::model::key::{FolderId, JobKey, QueueId};
use crate::model::permission::Permission;
use crate::orchestrator::store::Store;
use crate::wire::json;
use crate::wire::odata::{Links, Options, Set};
use crate::wire::served::{self, Object, ServedCollection};

/// A call that has passed the door.
pub(super) struct Call {
    pub(super) server: Arc<Inner>,
    /// `None` for what is public.
    pub(super) caller: Option<Caller>,
    pub(super) folders: Folders,
    pub(super) key: Option<String>,
    pub(super) arguments: Vec<(String, String)>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) from: IpAddr,
    /// On whose account the call takes memory.
    pub(super) owner: Owner,
    /// The address of the API as the caller wrote it, for links.
    pub(super) base: String,
}

/// Where a call takes place.
#[derive(Clone, Debug)]
pub(super) enum Folders {
    /// In the tenant.
    None,
    One(FolderId),
    /// In all of these: the caller named none.
    Several(Arc<[FolderId]>),
}

/// What is answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Option<Content>,
    pub(super) content_type: &'static str,
    pub(super) location: Option<String>,
}

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Content {
    /// Made for this answer.
    Made(Vec<u8>),
    /// Counted already, because others have it too.
    Counted(Bytes),
}

impl Content {
    /// How many bytes of it are not counted yet.
    pub(super) fn uncounted(&self) -> usize {
        match self {
            Self::Made(bytes) => bytes.len(),
            Self::Counted(_) => 0,
        }
    }

    /// Bytes that are counted until they are sent.
    pub(super) fn counted(self, held: Held) -> Bytes {
        match self {
            Self::Made(bytes) => held.around(bytes),
            Self::Counted(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Made(bytes)
    }
}

pub(super) const JSON: &str = "application/json; odata.metadata=minimal; odata.streaming=true; charset=utf-8";

impl Answer {
    /// A status without a body.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, body: None, content_type: JSON, location: None }
    }

    /// A body.
    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, Failure> {
        // Room for an item: growing step by step would copy it again and again.
        let mut written = Vec::with_capacity(2_048);
        serde_json::to_writer(&mut written, body).map_err(|error| Failure::internal(error.to_string()))?;
        Ok(Self { status, body: Some(written.into()), content_type: JSON, location: None })
    }

    pub(super) fn ok(body: &impl Serialize) -> Result<Self, Failure> {
        Self::json(StatusCode::OK, body)
    }
}

impl Call {
    /// The caller; every route that is not public has one.
    pub(super) fn caller(&self) -> Result<&Caller, Failure> {
        self.caller.as_ref().ok_or_else(Failure::not_authenticated)
    }

    pub(super) fn directory(&self) -> Result<&Directory, Failure> {
        Ok(&self.caller()?.directory)
    }

    /// The folder of the call.
    pub(super) fn folder(&self) -> Result<FolderId, Failure> {
        match &self.folders {
            Folders::One(folder) => Ok(*folder),
            Folders::None | Folders::Several(_) => Err(Failure::no_folder_given()),
        }
    }

    /// All folders of the call.
    pub(super) fn all_folders(&self) -> Arc<[FolderId]> {
        match &self.folders {
            Folders::None => Arc::default(),
            Folders::One(folder) => Arc::new([*folder]),
            Folders::Several(folders) => folders.clone(),
        }
    }

    /// The store as the caller sees it in the folder.
    pub(super) fn store(&self) -> Result<Store, Failure> {
        Ok(self.store_in(self.folder()?))
    }

    /// The store as the caller sees it in some folder.
    pub(super) fn store_in(&self, folder: FolderId) -> Store {
        let store = self.server.store.in_scope(folder, self.caller.as_ref().map(|caller| caller.user.id));
        store.with_list_limit(self.server.config.list_limit)
    }

    /// The store, for questions that name their folders themselves: asked in the caller's name, so that callers take turns.
    pub(super) fn store_of_all(&self) -> Store {
        self.store_in(FolderId::SHARED)
    }

    /// Refuses a caller who lacks a permission in a folder.
    pub(super) fn needs(&self, folder: Option<FolderId>, permission: Permission) -> Result<(), Failure> {
        if self.caller()?.may(folder, permission) { Ok(()) } else { Err(Failure::forbidden()) }
    }

    /// The number in brackets behind the entity.
    pub(super) fn id(&self) -> Result<i64, Failure> {
        let key = self.key.as_deref().unwrap_or_default();
        let key = key.strip_prefix('\'').and_then(|key| key.strip_suffix('\'')).unwrap_or(key);
        key.trim().parse().map_err(|_| Failure::invalid("The key in brackets must be a whole number."))
    }

    /// An argument of the action, or one of the query by the same name.
    pub(super) fn argument(&self, name: &str) -> Result<&str, Failure> {
        self.optional(name).ok_or_else(|| {
            let code = crate::model::code::ErrorCode::PARAMETER_MISSING.number();
            Failure::new(StatusCode::BAD_REQUEST, code, format!("Parameter {name} is missing."))
        })
    }

    pub(super) fn optional(&self, name: &str) -> Option<&str> {
        let all = self.arguments.iter().chain(&self.query);
        let found = all.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The same as a number, a GUID or another type.
    pub(super) fn argument_as<T: std::str::FromStr>(&self, name: &str) -> Result<T, Failure> {
        self.argument(name)?.parse().map_err(|_| Failure::argument(format!("Invalid argument '{name}'.")))
    }

    /// The query options.
    pub(super) fn options(&self) -> Result<Options, Failure> {
        let pairs = self.query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Ok(Options::read(pairs)?)
    }

    /// The body.
    ///
    /// # Errors
    ///
    /// 415 for what says that it is no JSON, 400 for what cannot be read.
    pub(super) fn body<T: DeserializeOwned>(&self, shape: &Shape) -> Result<T, Failure> {
        let text = self.json(shape.name)?;
        let body = json::request(text).map_err(|error| unreadable(&json::said(&error, text)))?;
        if self.server.config.is_strict() && !shape.fits(text) {
            return Err(missing(shape.name));
        }
        Ok(body)
    }

    /// The body of a route of our own: a field that there is not is a mistake of the client, or one of a newer client whose
    /// wish would be passed over.
    ///
    /// # Errors
    ///
    /// Those of [`Call::body`], and 400 with the path of an unknown field.
    pub(super) fn own_body<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let text = self.json("body")?;
        let mut unknown = None;
        let body = json::request_with(text, |path| {
            unknown.get_or_insert(path);
        });
        let body = body.map_err(|error| unreadable(&json::said(&error, text)))?;
        match unknown {
            None => Ok(body),
            Some(path) => {
                let path: String = path.chars().filter(|c| !c.is_control()).take(100).collect();
                Err(Failure::invalid(format!("The field {path} is not known.")))
            }
        }
    }

    /// The same where the body may be left out.
    pub(super) fn own_body_if_any<T: DeserializeOwned + Default>(&self) -> Result<T, Failure> {
        if self.body.is_empty() { Ok(T::default()) } else { self.own_body() }
    }

    /// The bytes of the body, which is said to be JSON.
    fn json(&self, name: &str) -> Result<&[u8], Failure> {
        if let Some(kind) = self.headers.get("content-type") {
            let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
            let kind = kind.split(';').next().unwrap_or_default().trim();
            let is_json = kind == "application/json"
                || kind == "text/json"
                || kind.starts_with("application/") && kind.ends_with("+json");
            if !is_json {
                let message = "The body must be JSON: send the header Content-Type: application/json.";
                return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, 0, message));
            }
        }
        if json::without_mark(&self.body).is_empty() { Err(missing(name)) } else { Ok(&self.body) }
    }

    /// Refuses a list in a body that is longer than any that is needed.
    pub(super) fn at_most(name: &str, length: usize, most: usize) -> Result<(), Failure> {
        if length <= most {
            return Ok(());
        }
        let message = format!("Invalid argument '{name}': it has {length} entries, the limit is {most}.");
        Err(Failure::argument(message))
    }

    /// Memory for so many bytes.
    ///
    /// # Errors
    ///
    /// 503 when that is more than the caller's share.
    pub(super) fn room(&self, bytes: usize) -> Result<Held, Failure> {
        self.server.room.take(self.owner, bytes).ok_or_else(Failure::unavailable)
    }

    /// The job that the caller says it is.
    pub(super) fn job_key(&self) -> Option<JobKey> {
        self.headers.get("x-uipath-jobkey")?.to_str().ok()?.parse().ok()
    }

    /// The description of the data of an answer.
    pub(super) fn context(&self, of: &str) -> String {
        served::context(&self.base, of)
    }

    /// An entity with its context.
    pub(super) fn entity(&self, of: &str, object: impl Serialize) -> Result<Answer, Failure> {
        let object = Object::of(&object).map_err(|error| Failure::internal(error.to_string()))?;
        let object = self.options()?.selected_of(object)?;
        Answer::ok(&served::with_context(&self.context(&format!("{of}/$entity")), &object))
    }

    /// An entity that was made, and where it is.
    pub(super) fn made(&self, of: &str, id: i64, object: impl Serialize) -> Result<Answer, Failure> {
        let body = served::with_context(&self.context(&format!("{of}/$entity")), &object);
        let location = Some(format!("{}/odata/{of}({id})", self.base));
        Ok(Answer { location, ..Answer::json(StatusCode::CREATED, &body)? })
    }

    /// The page of a list of objects that the call asks for.
    pub(super) fn page(&self, set: &Set, list: Vec<Value>) -> Result<Answer, Failure> {
        let (value, count) = self.options()?.page(set, list, MOST_ROWS)?;
        self.collection(set.name, value, count)
    }

    pub(super) fn collection<T: Serialize>(
        &self,
        of: &str,
        value: Vec<T>,
        count: Option<u64>,
    ) -> Result<Answer, Failure> {
        Answer::ok(&ServedCollection { context: self.context(of), count, value })
    }

    /// The names of what items refer to, in the folders of the call.
    pub(super) fn links(&self, queues: Vec<(QueueId, String)>) -> Result<Links, Failure> {
        let directory = self.directory()?;
        Ok(Links {
            queues: queues.into_iter().map(|(id, name)| (id.0, name)).collect(),
            robots: directory.robots().map(|robot| (robot.id, robot.name.clone())).collect(),
            users: directory.users().map(|user| (user.id, user.user_name.clone())).collect(),
        })
    }
}

/// The most rows of a page (orchestrator-api 4.1); of items it is fewer.
pub(super) const MOST_ROWS: usize = 1_000;

fn missing(body: &str) -> Failure {
    Failure::invalid(format!("{body} must not be null"))
}

/// Where a body cannot be read. What it says is the caller's own.
fn unreadable(error: &str) -> Failure {
    let mut message: String = error.chars().filter(|c| !c.is_control()).take(300).collect();
    if !message.ends_with('.') {
        message.push('.');
    }
    Failure::invalid(format!("The request is invalid: {message}"))
}
