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
use super::api_error::ApiError;
use super::memory_budget::{BudgetOwner, Reservation};
use super::strict::BodyShape;
use crate::model::directory::Directory;
use crate::model::key::{FolderId, JobKey, QueueId};
use crate::model::permission::Permission;
use crate::orchestrator::local::Local;
use crate::wire::json;
use crate::wire::odata::{ReferencedNames, QueryOptions, EntitySet};
use crate::wire::responses::{self, JsonObject, CollectionResponse};

/// A call that has passed the door.
pub(super) struct Call {
    pub(super) server: Arc<Inner>,
    /// `None` for what is public.
    pub(super) caller: Option<Caller>,
    pub(super) folders: FolderSelection,
    pub(super) key: Option<String>,
    pub(super) arguments: Vec<(String, String)>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) from: IpAddr,
    /// On whose account the call takes memory.
    pub(super) owner: BudgetOwner,
    /// The address of the API as the caller wrote it, for links.
    pub(super) base: String,
}

/// Where a call takes place.
#[derive(Clone, Debug)]
pub(super) enum FolderSelection {
    /// In the tenant.
    None,
    One(FolderId),
    /// In all of these: the caller named none.
    Several(Arc<[FolderId]>),
}

/// What is answered.
#[derive(Debug)]
pub(super) struct ApiResponse {
    pub(super) status: StatusCode,
    pub(super) body: Option<ResponseBody>,
    pub(super) content_type: &'static str,
    pub(super) location: Option<String>,
}

/// The body of an answer.
#[derive(Debug)]
pub(super) enum ResponseBody {
    /// Made for this answer.
    New(Vec<u8>),
    /// Counted already, because others have it too.
    Tracked(Bytes),
}

impl ResponseBody {
    /// How many bytes of it are not counted yet.
    pub(super) fn untracked_bytes(&self) -> usize {
        match self {
            Self::New(bytes) => bytes.len(),
            Self::Tracked(_) => 0,
        }
    }

    /// Bytes that are counted until they are sent.
    pub(super) fn tracked(self, reservation: Reservation) -> Bytes {
        match self {
            Self::New(bytes) => reservation.attach_to(bytes),
            Self::Tracked(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for ResponseBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self::New(bytes)
    }
}

pub(super) const JSON_CONTENT_TYPE: &str = "application/json; odata.metadata=minimal; odata.streaming=true; charset=utf-8";

impl ApiResponse {
    /// A status without a body.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, body: None, content_type: JSON_CONTENT_TYPE, location: None }
    }

    /// A body.
    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, ApiError> {
        // Room for an item: growing step by step would copy it again and again.
        let mut json = Vec::with_capacity(2_048);
        serde_json::to_writer(&mut json, body).map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(Self { status, body: Some(json.into()), content_type: JSON_CONTENT_TYPE, location: None })
    }

    pub(super) fn ok(body: &impl Serialize) -> Result<Self, ApiError> {
        Self::json(StatusCode::OK, body)
    }
}

impl Call {
    /// The caller; every route that is not public has one.
    pub(super) fn caller(&self) -> Result<&Caller, ApiError> {
        self.caller.as_ref().ok_or_else(ApiError::not_authenticated)
    }

    pub(super) fn directory(&self) -> Result<&Directory, ApiError> {
        Ok(&self.caller()?.directory)
    }

    /// The folder of the call.
    pub(super) fn folder(&self) -> Result<FolderId, ApiError> {
        match &self.folders {
            FolderSelection::One(folder) => Ok(*folder),
            FolderSelection::None | FolderSelection::Several(_) => Err(ApiError::no_folder_given()),
        }
    }

    /// All folders of the call.
    pub(super) fn all_folders(&self) -> Arc<[FolderId]> {
        match &self.folders {
            FolderSelection::None => Arc::default(),
            FolderSelection::One(folder) => Arc::new([*folder]),
            FolderSelection::Several(folders) => folders.clone(),
        }
    }

    /// The store as the caller sees it in the folder.
    pub(super) fn store(&self) -> Result<Local, ApiError> {
        Ok(self.store_in(self.folder()?))
    }

    /// The store as the caller sees it in some folder.
    pub(super) fn store_in(&self, folder: FolderId) -> Local {
        let store = self.server.store.within(folder, self.caller.as_ref().map(|caller| caller.user.id));
        store.with_list_limit(self.server.config.list_limit)
    }

    /// The store, for questions that name their folders themselves: asked in the caller's name, so that callers take turns.
    pub(super) fn store_for_caller(&self) -> Local {
        self.store_in(FolderId::SHARED)
    }

    /// Refuses a caller who lacks a permission in a folder.
    pub(super) fn require(&self, folder: Option<FolderId>, permission: Permission) -> Result<(), ApiError> {
        if self.caller()?.may(folder, permission) { Ok(()) } else { Err(ApiError::forbidden()) }
    }

    /// The number in brackets behind the entity.
    pub(super) fn id(&self) -> Result<i64, ApiError> {
        let key = self.key.as_deref().unwrap_or_default();
        let key = key.strip_prefix('\'').and_then(|key| key.strip_suffix('\'')).unwrap_or(key);
        key.trim().parse().map_err(|_| ApiError::invalid("The key in brackets must be a whole number."))
    }

    /// An argument of the action, or one of the query by the same name.
    pub(super) fn argument(&self, name: &str) -> Result<&str, ApiError> {
        self.optional_argument(name).ok_or_else(|| {
            let code = crate::model::code::ErrorCode::PARAMETER_MISSING.number();
            ApiError::new(StatusCode::BAD_REQUEST, code, format!("Parameter {name} is null_body."))
        })
    }

    pub(super) fn optional_argument(&self, name: &str) -> Option<&str> {
        let all = self.arguments.iter().chain(&self.query);
        let found = all.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The same as a number, a GUID or another type.
    pub(super) fn argument_as<T: std::str::FromStr>(&self, name: &str) -> Result<T, ApiError> {
        self.argument(name)?.parse().map_err(|_| ApiError::invalid_argument(format!("Invalid argument '{name}'.")))
    }

    /// The query options.
    pub(super) fn options(&self) -> Result<QueryOptions, ApiError> {
        let pairs = self.query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Ok(QueryOptions::read(pairs)?)
    }

    /// The body.
    ///
    /// # Errors
    ///
    /// 415 for what says that it is no JSON, 400 for what cannot be read.
    pub(super) fn body<T: DeserializeOwned>(&self, shape: &BodyShape) -> Result<T, ApiError> {
        let text = self.json(shape.name)?;
        let body = json::request(text).map_err(|error| unreadable_body(&json::error_text(&error, text)))?;
        if self.server.config.is_strict() && !shape.accepts(text) {
            return Err(null_body(shape.name));
        }
        Ok(body)
    }

    /// The body of a route of our own: a field that there is not is a mistake of the client, or one of a newer client whose
    /// wish would be passed over.
    ///
    /// # Errors
    ///
    /// Those of [`Call::body`], and 400 with the path of an unknown field.
    pub(super) fn own_body<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let text = self.json("body")?;
        let mut unknown = None;
        let body = json::request_reporting_unknown(text, |path| {
            unknown.get_or_insert(path);
        });
        let body = body.map_err(|error| unreadable_body(&json::error_text(&error, text)))?;
        match unknown {
            None => Ok(body),
            Some(path) => {
                let path: String = path.chars().filter(|c| !c.is_control()).take(100).collect();
                Err(ApiError::invalid(format!("The field {path} is not known.")))
            }
        }
    }

    /// The same where the body may be left out.
    pub(super) fn own_body_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, ApiError> {
        if self.body.is_empty() { Ok(T::default()) } else { self.own_body() }
    }

    /// The bytes of the body, which is said to be JSON.
    fn json(&self, name: &str) -> Result<&[u8], ApiError> {
        if let Some(kind) = self.headers.get("content-type") {
            let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
            let kind = kind.split(';').next().unwrap_or_default().trim();
            let is_json = kind == "application/json"
                || kind == "text/json"
                || kind.starts_with("application/") && kind.ends_with("+json");
            if !is_json {
                let message = "The body must be JSON_CONTENT_TYPE: send the header ResponseBody-Type: application/json.";
                return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, 0, message));
            }
        }
        if json::without_bom(&self.body).is_empty() { Err(null_body(name)) } else { Ok(&self.body) }
    }

    /// Refuses a list in a body that is longer than any that is needed.
    pub(super) fn check_length(name: &str, length: usize, most: usize) -> Result<(), ApiError> {
        if length <= most {
            return Ok(());
        }
        let message = format!("Invalid argument '{name}': it has {length} entries, the limit is {most}.");
        Err(ApiError::invalid_argument(message))
    }

    /// Memory for so many bytes.
    ///
    /// # Errors
    ///
    /// 503 when that is more than the caller's share.
    pub(super) fn reserve_memory(&self, bytes: usize) -> Result<Reservation, ApiError> {
        self.server.memory.reserve(self.owner, bytes).ok_or_else(ApiError::unavailable)
    }

    /// The job that the caller says it is.
    pub(super) fn job_key(&self) -> Option<JobKey> {
        self.headers.get("x-uipath-jobkey")?.to_str().ok()?.parse().ok()
    }

    /// The description of the data of an answer.
    pub(super) fn context(&self, entity: &str) -> String {
        responses::context(&self.base, entity)
    }

    /// An entity with its context.
    pub(super) fn entity(&self, entity: &str, object: impl Serialize) -> Result<ApiResponse, ApiError> {
        let object = JsonObject::of(&object).map_err(|error| ApiError::internal(error.to_string()))?;
        let object = self.options()?.selected_of(object)?;
        ApiResponse::ok(&responses::with_context(&self.context(&format!("{entity}/$entity")), &object))
    }

    /// An entity that was made, and where it is.
    pub(super) fn created(&self, entity: &str, id: i64, object: impl Serialize) -> Result<ApiResponse, ApiError> {
        let body = responses::with_context(&self.context(&format!("{entity}/$entity")), &object);
        let location = Some(format!("{}/odata/{entity}({id})", self.base));
        Ok(ApiResponse { location, ..ApiResponse::json(StatusCode::CREATED, &body)? })
    }

    /// The page of a list of objects that the call asks for.
    pub(super) fn page(&self, set: &EntitySet, list: Vec<Value>) -> Result<ApiResponse, ApiError> {
        let (value, count) = self.options()?.page(set, list, MAX_ROWS)?;
        self.collection(set.name, value, count)
    }

    pub(super) fn collection<T: Serialize>(
        &self,
        entity: &str,
        value: Vec<T>,
        count: Option<u64>,
    ) -> Result<ApiResponse, ApiError> {
        ApiResponse::ok(&CollectionResponse { context: self.context(entity), count, value })
    }

    /// The names of what items refer to, in the folders of the call.
    pub(super) fn referenced_names(&self, queues: Vec<(QueueId, String)>) -> Result<ReferencedNames, ApiError> {
        let directory = self.directory()?;
        Ok(ReferencedNames {
            queues: queues.into_iter().map(|(id, name)| (id.0, name)).collect(),
            robots: directory.robots().map(|robot| (robot.id, robot.name.clone())).collect(),
            users: directory.users().map(|user| (user.id, user.user_name.clone())).collect(),
        })
    }
}

/// The most rows of a page (orchestrator-api 4.1); of items it is fewer.
pub(super) const MAX_ROWS: usize = 1_000;

fn null_body(body: &str) -> ApiError {
    ApiError::invalid(format!("{body} must not be null"))
}

/// Where a body cannot be read. What it says is the caller's own.
fn unreadable_body(error: &str) -> ApiError {
    let mut message: String = error.chars().filter(|c| !c.is_control()).take(300).collect();
    if !message.ends_with('.') {
        message.push('.');
    }
    ApiError::invalid(format!("The request is invalid: {message}"))
}
