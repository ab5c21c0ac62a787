//! One API call: its caller, folders, arguments and body; and its response.

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
use crate::directory::Directory;
use crate::permission::Permission;
use performer_core::model::audit::{ActSource, Actor};
use performer_core::model::item::NewQueueItem;
use performer_core::model::key::{FolderId, JobKey, QueueId};
use performer_core::trace_context::{self, TraceParent};
use performer_store::Store;
use performer_wire::json;
use performer_wire::odata::{EntitySet, QueryOptions, ReferencedNames};
use performer_wire::responses::{self, CollectionResponse, JsonObject};
use performer_wire::transaction::QueueItemDataDto;

/// A call that is authorized and whose body has been read.
pub(super) struct Call {
    pub(super) server: Arc<Inner>,
    /// `None` for public routes.
    pub(super) caller: Option<Caller>,
    pub(super) folders: FolderSelection,
    /// The key of the entity, without quotes.
    pub(super) key: Option<String>,
    /// Whether only the number of entities is asked for, by `/$count`.
    pub(super) counts: bool,
    pub(super) arguments: Vec<(String, String)>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) from: IpAddr,
    /// The owner of the memory that the call uses.
    pub(super) owner: BudgetOwner,
    /// The base URL of the API as the caller sees it, for links.
    pub(super) base: String,
}

/// The folders of a call.
#[derive(Clone, Debug)]
pub(super) enum FolderSelection {
    /// The route belongs to the tenant.
    None,
    One(FolderId),
    /// The caller named no folder: all folders where it has the permissions.
    Several(Arc<[FolderId]>),
}

/// The response to a call.
#[derive(Debug)]
pub(super) struct ApiResponse {
    pub(super) status: StatusCode,
    pub(super) body: Option<ResponseBody>,
    pub(super) content_type: &'static str,
    pub(super) location: Option<String>,
}

/// The body of a response.
#[derive(Debug)]
pub(super) enum ResponseBody {
    /// Created for this response; its memory is not tracked yet.
    New(Vec<u8>),
    /// Its memory is tracked already, because other calls share it.
    Tracked(Bytes),
}

impl ResponseBody {
    /// The number of bytes that are not tracked yet.
    pub(super) fn untracked_bytes(&self) -> usize {
        match self {
            Self::New(bytes) => bytes.len(),
            Self::Tracked(_) => 0,
        }
    }

    /// The bytes, tracked until they are sent.
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

pub(super) const JSON_CONTENT_TYPE: &str =
    "application/json; odata.metadata=minimal; odata.streaming=true; charset=utf-8";

/// The type of a response to `/$count`, which has only the number.
pub(super) const COUNT_CONTENT_TYPE: &str = "text/plain; charset=utf-8";

impl ApiResponse {
    /// A response without a body.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, body: None, content_type: JSON_CONTENT_TYPE, location: None }
    }

    /// A response with a JSON body.
    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, ApiError> {
        // Large enough for an item, so that the buffer does not grow repeatedly.
        let mut json = Vec::with_capacity(2_048);
        serde_json::to_writer(&mut json, body).map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(Self { status, body: Some(json.into()), content_type: JSON_CONTENT_TYPE, location: None })
    }

    pub(super) fn ok(body: &impl Serialize) -> Result<Self, ApiError> {
        Self::json(StatusCode::OK, body)
    }

    /// The response to `/$count`.
    fn of_count(count: u64) -> Self {
        let body = Some(count.to_string().into_bytes().into());
        Self { status: StatusCode::OK, body, content_type: COUNT_CONTENT_TYPE, location: None }
    }
}

impl Call {
    /// The caller; only public routes have none.
    pub(super) fn caller(&self) -> Result<&Caller, ApiError> {
        self.caller.as_ref().ok_or_else(ApiError::not_authenticated)
    }

    pub(super) fn directory(&self) -> Result<&Directory, ApiError> {
        Ok(&self.caller()?.directory)
    }

    /// The folder of a call to a single folder.
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

    /// The store, scoped to the caller and the folder of the call.
    pub(super) fn store(&self) -> Result<Store, ApiError> {
        Ok(self.store_in(self.folder()?))
    }

    /// The store, scoped to the caller and a folder.
    pub(super) fn store_in(&self, folder: FolderId) -> Store {
        let store = self.server.store.in_scope(folder, self.caller.as_ref().map(|caller| caller.user.id));
        let store = store.with_list_limit(self.server.config.list_limit);
        match self.actor() {
            Some(actor) => store.acting_as(actor),
            None => store,
        }
    }

    /// Whom the audit names; `None` for a public route.
    pub(super) fn actor(&self) -> Option<Actor> {
        self.caller.as_ref().map(|caller| caller.actor(ActSource::Api, self.from))
    }

    /// The store for queries that name their folders themselves. Scoped to the caller, so that callers get their turns.
    pub(super) fn store_for_caller(&self) -> Store {
        self.store_in(FolderId::SHARED)
    }

    /// Refuses a caller without a permission in a folder, or, for `None`, in the tenant.
    pub(super) fn require(&self, folder: Option<FolderId>, permission: Permission) -> Result<(), ApiError> {
        if self.caller()?.may(folder, permission) { Ok(()) } else { Err(ApiError::forbidden()) }
    }

    /// The numeric key of the entity, as in `QueueItems(5)`.
    pub(super) fn id(&self) -> Result<i64, ApiError> {
        let key = self.key.as_deref().unwrap_or_default();
        key.trim().parse().map_err(|_| ApiError::invalid("The key in brackets must be a whole number."))
    }

    /// An argument of the action, or the query parameter of that name.
    pub(super) fn argument(&self, name: &str) -> Result<&str, ApiError> {
        self.optional_argument(name).ok_or_else(|| {
            let code = performer_core::model::code::ErrorCode::PARAMETER_MISSING.number();
            ApiError::new(StatusCode::BAD_REQUEST, code, format!("Parameter {name} is missing."))
        })
    }

    pub(super) fn optional_argument(&self, name: &str) -> Option<&str> {
        let all = self.arguments.iter().chain(&self.query);
        let found = all.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// A required argument, parsed.
    pub(super) fn argument_as<T: std::str::FromStr>(&self, name: &str) -> Result<T, ApiError> {
        self.argument(name)?
            .parse()
            .map_err(|_| ApiError::invalid_argument(format!("Invalid argument '{name}'.")))
    }

    /// The OData query options.
    pub(super) fn options(&self) -> Result<QueryOptions, ApiError> {
        let pairs = self.query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let options = QueryOptions::read(pairs)?;
        Ok(if self.counts { options.of_count() } else { options })
    }

    /// The body, parsed. In strict mode it may have only the members of `shape`.
    ///
    /// # Errors
    ///
    /// 415 for a content type other than JSON, 400 for a body that cannot be parsed.
    pub(super) fn body<T: DeserializeOwned>(&self, shape: &BodyShape) -> Result<T, ApiError> {
        let text = self.json(shape.name)?;
        let body = json::request(text).map_err(|error| unreadable_body(&json::error_text(&error, text)))?;
        if self.server.config.is_strict() && !shape.accepts(text) {
            return Err(null_body(shape.name));
        }
        Ok(body)
    }

    /// The body of a route that is not the vendor's, parsed. Unknown fields are refused: they are a mistake, or a newer
    /// client relies on them.
    ///
    /// # Errors
    ///
    /// The errors of [`Call::body`], and 400 with the path of an unknown field.
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

    /// Like [`Call::own_body`], with the default value for an empty body.
    pub(super) fn own_body_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, ApiError> {
        if self.body.is_empty() { Ok(T::default()) } else { self.own_body() }
    }

    /// The bytes of the body, after a check of its content type.
    fn json(&self, name: &str) -> Result<&[u8], ApiError> {
        if let Some(kind) = self.headers.get("content-type") {
            let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
            let kind = kind.split(';').next().unwrap_or_default().trim();
            let is_json = kind == "application/json"
                || kind == "text/json"
                || kind.starts_with("application/") && kind.ends_with("+json");
            if !is_json {
                let message = "The body must be JSON: send the header Content-Type: application/json.";
                return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, 0, message));
            }
        }
        if json::without_bom(&self.body).is_empty() { Err(null_body(name)) } else { Ok(&self.body) }
    }

    /// Refuses a list in a body that is too long.
    pub(super) fn check_length(name: &str, length: usize, most: usize) -> Result<(), ApiError> {
        if length <= most {
            return Ok(());
        }
        let message = format!("Invalid argument '{name}': it has {length} entries, the limit is {most}.");
        Err(ApiError::invalid_argument(message))
    }

    /// Reserves memory.
    ///
    /// # Errors
    ///
    /// 503 if the caller's share does not suffice.
    pub(super) fn reserve_memory(&self, bytes: usize) -> Result<Reservation, ApiError> {
        self.server.memory.reserve(self.owner, bytes).ok_or_else(ApiError::unavailable)
    }

    /// The key of the caller's job, from the headers.
    pub(super) fn job_key(&self) -> Option<JobKey> {
        self.headers.get("x-uipath-jobkey")?.to_str().ok()?.parse().ok()
    }

    /// The new item of a body. The header `traceparent` of the request becomes its ParentOperationId, unless the body has one: so
    /// whatever traces its requests is followed. A malformed header, or more than one, is ignored. Strict mode does not read it,
    /// because nothing is known of the vendor's.
    pub(super) fn new_item(&self, data: QueueItemDataDto) -> Result<NewQueueItem, ApiError> {
        let mut item = data.into_item(self.job_key())?;
        if !self.server.config.is_strict() {
            let mut headers = self.headers.get_all(trace_context::HEADER).iter();
            let parent = headers.next().filter(|_| headers.next().is_none());
            let parent = parent.and_then(|header| TraceParent::parse(header.to_str().ok()?));
            trace_context::keep_given(&mut item, parent);
        }
        Ok(item)
    }

    /// The `@odata.context` of a response.
    pub(super) fn context(&self, entity: &str) -> String {
        responses::context(&self.base, entity)
    }

    /// A response with one entity.
    pub(super) fn entity(&self, entity: &str, object: impl Serialize) -> Result<ApiResponse, ApiError> {
        let object = JsonObject::of(&object).map_err(|error| ApiError::internal(error.to_string()))?;
        let object = self.options()?.selected_of(object)?;
        ApiResponse::ok(&responses::with_context(&self.context(&format!("{entity}/$entity")), &object))
    }

    /// A 201 response with a new entity and its location.
    pub(super) fn created(
        &self,
        entity: &str,
        id: i64,
        object: impl Serialize,
    ) -> Result<ApiResponse, ApiError> {
        let body = responses::with_context(&self.context(&format!("{entity}/$entity")), &object);
        let location = Some(format!("{}/odata/{entity}({id})", self.base));
        Ok(ApiResponse { location, ..ApiResponse::json(StatusCode::CREATED, &body)? })
    }

    /// A response with the page of a list that the query options select.
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
        if self.counts {
            return Ok(ApiResponse::of_count(count.unwrap_or(value.len() as u64)));
        }
        ApiResponse::ok(&CollectionResponse { context: self.context(entity), count, value })
    }

    /// The names of the queues, robots and users that items refer to by id.
    pub(super) fn referenced_names(
        &self,
        queues: Vec<(QueueId, String)>,
    ) -> Result<ReferencedNames, ApiError> {
        let directory = self.directory()?;
        Ok(ReferencedNames {
            queues: queues.into_iter().map(|(id, name)| (id.0, name)).collect(),
            robots: directory.robots().map(|robot| (robot.id, robot.name.clone())).collect(),
            users: directory.users().map(|user| (user.id, user.user_name.clone())).collect(),
        })
    }
}

/// The maximum number of rows in a page (orchestrator-api 4.1); pages of items have fewer.
pub(super) const MAX_ROWS: usize = 1_000;

fn null_body(body: &str) -> ApiError {
    ApiError::invalid(format!("{body} must not be null"))
}

/// The error for a body that cannot be parsed. The message may quote the body, which came from the caller.
fn unreadable_body(error: &str) -> ApiError {
    let mut message: String = error.chars().filter(|c| !c.is_control()).take(300).collect();
    if !message.ends_with('.') {
        message.push('.');
    }
    ApiError::invalid(format!("The request is invalid: {message}"))
}
