//! One request of the desk: who asks, in which folders, and what the form says.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;

use super::frame::Frame;
use super::html;
use super::reply::Reply;
use super::routes::{self, DeskRoute, Needs, READ};
use super::source::Source;
use super::{DeskMode, ROOT, owns};
use crate::Inner;
use crate::access::Caller;
use crate::api_error::ApiError;
use crate::directory::Directory;
use crate::permission::Permission;
use performer_core::model::audit::ActSource;
use performer_core::model::item::QueueItem;
use performer_core::model::job::Job;
use performer_core::model::key::{FolderId, ItemId, QueueId};
use performer_core::model::queue::QueueDefinition;
use performer_core::model::review::Person;
use performer_core::orchestrator::ItemAdministration as _;
use performer_store::Store;

/// A request whose caller is known and whose form has been read.
#[derive(Clone)]
pub(super) struct DeskCall {
    pub(super) server: Arc<Inner>,
    pub(super) route: &'static DeskRoute,
    /// The parameters of the path.
    pub(super) parameters: Vec<String>,
    /// `None` without a session; only public routes are called then.
    pub(super) caller: Option<Caller>,
    /// The folder that the address names.
    pub(super) folder: Option<FolderId>,
    /// The folders in which the caller may do what the route does; only the named one, if one is named.
    pub(super) folders: Arc<[FolderId]>,
    /// After how many seconds a browser without JavaScript loads the page again.
    pub(super) refresh: Option<u32>,
    pub(super) query: Vec<(String, String)>,
    pub(super) form: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    /// The path and query of the request.
    pub(super) address: String,
    pub(super) from: IpAddr,
    /// Whether the caller's browser uses TLS.
    pub(super) is_secure: bool,
}

/// A queue, and the folder in which the caller looks at it.
#[derive(Clone, Debug)]
pub(super) struct FolderQueue {
    pub(super) queue: QueueDefinition,
    pub(super) folder: FolderId,
}

/// An item, and the folder in which the caller looks at it.
#[derive(Debug)]
pub(super) struct FolderItem {
    pub(super) item: QueueItem,
    pub(super) folder: FolderId,
}

impl DeskCall {
    /// Finds the folders of the caller. Returns the way to the login page for a page without a session.
    ///
    /// # Errors
    ///
    /// 401 for a form without a session; 403 with the name of what is missing.
    pub(super) fn authorize(&mut self) -> Result<Option<Reply>, ApiError> {
        if matches!(self.route.needs, Needs::Public) {
            return Ok(None);
        }
        if self.caller.is_none() {
            if self.route.method == Method::POST {
                let message = "Your session has ended, or you have not signed in; nothing was changed.";
                return Err(ApiError::new(StatusCode::UNAUTHORIZED, 0, message));
            }
            let login = html::address("/desk/login", &[("next", &self.address)]);
            return Ok(Some(Reply::see_other(&login)));
        }
        match self.route.needs {
            Needs::Public | Needs::Session => {}
            Needs::InTenant(permission) => {
                if !self.caller()?.may(None, permission) {
                    return Err(forbidden(&format!("{permission} for the whole tenant")));
                }
            }
            needs @ (Needs::InFolder(_) | Needs::ByAct) => {
                self.folders = self.folders_with(needs.in_folder().unwrap_or_default())?;
                if self.folders.is_empty() {
                    return Err(self.forbidden_in(self.folder));
                }
            }
        }
        Ok(None)
    }

    /// Whether the caller may open the page at a path without parameters, in any folder.
    pub(super) fn may_open(&self, path: &str) -> bool {
        let leads_on = self.is_remote() && path == ROOT;
        let caller = self.caller.as_ref().filter(|_| owns(&self.server, path) && !leads_on);
        let Some(caller) = caller else { return false };
        match routes::needs_of_page(path) {
            None => false,
            Some(Needs::Public | Needs::Session) => true,
            Some(Needs::InTenant(permission)) => caller.may(None, permission),
            Some(needs @ (Needs::InFolder(_) | Needs::ByAct)) => caller.directory.folders().any(|folder| {
                caller.is_assigned(folder.id)
                    && needs
                        .in_folder()
                        .unwrap_or_default()
                        .iter()
                        .all(|permission| caller.may(Some(folder.id), *permission))
            }),
        }
    }

    /// The folders in which the caller has permissions; only the named one, if one is named.
    pub(super) fn folders_with(&self, permissions: &[Permission]) -> Result<Arc<[FolderId]>, ApiError> {
        let caller = self.caller()?;
        let may = |folder: &FolderId| {
            caller.is_assigned(*folder)
                && permissions.iter().all(|permission| caller.may(Some(*folder), *permission))
        };
        let all = caller.directory.folders().map(|folder| folder.id);
        Ok(all.filter(|folder| self.folder.is_none_or(|named| named == *folder)).filter(may).collect())
    }

    /// 403 with the permissions that this route needs.
    pub(super) fn forbidden_in(&self, folder: Option<FolderId>) -> ApiError {
        let needs = self.route.needs.to_string().replace(',', " and ");
        let place = folder.and_then(|folder| Some(self.caller.as_ref()?.directory.full_name(folder)));
        let place = place.filter(|name| !name.is_empty());
        forbidden(
            &place.map_or_else(
                || format!("{needs} in a folder"),
                |name| format!("{needs} in the folder {name}"),
            ),
        )
    }

    pub(super) fn caller(&self) -> Result<&Caller, ApiError> {
        self.caller.as_ref().ok_or_else(ApiError::not_authenticated)
    }

    pub(super) fn directory(&self) -> Result<&Directory, ApiError> {
        Ok(&self.caller()?.directory)
    }

    /// The number of the caller as a user of the store. `None` without a session, and for somebody who runs a desk of their own.
    pub(super) fn user_of_store(&self) -> Option<i64> {
        let caller = self.caller.as_ref().filter(|_| self.server.operator.is_none());
        caller.map(|caller| caller.user.id)
    }

    /// The caller as the author of comments.
    pub(super) fn person(&self) -> Result<Person, ApiError> {
        let user = &self.caller()?.user;
        if let Some(operator) = &self.server.operator {
            return Ok(Person { user_id: None, user_name: operator.actor.user_name.clone() });
        }
        Ok(Person { user_id: Some(user.id), user_name: Some(user.user_name.clone()) })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.server.now()
    }

    /// The store in the scope of the caller and a folder. Whatever a page reads through it has masks in the place of personal fields.
    pub(super) fn store(&self, folder: FolderId) -> Store {
        self.whole_store(folder).masked()
    }

    /// The store with the personal fields, for forms that change content: no page shows what it reads.
    pub(super) fn whole_store(&self, folder: FolderId) -> Store {
        let store = self.server.store.in_scope(folder, self.user_of_store());
        let store = store.with_list_limit(self.server.config.list_limit);
        match (&self.server.operator, &self.caller) {
            (Some(operator), _) => store.acting_as(operator.actor.clone()),
            (None, Some(caller)) => store.acting_as(caller.actor(ActSource::Desk, self.from)),
            (None, None) => store,
        }
    }

    /// Where the pages of queues, items and jobs read and act, in the scope of the caller and a folder.
    pub(super) fn source(&self, folder: FolderId) -> Source {
        match &self.server.remote {
            Some(remote) => Source::Remote(remote.clone()),
            None => Source::Store(Box::new(self.store(folder))),
        }
    }

    /// The jobs of all folders.
    pub(super) fn source_of_all(&self) -> Source {
        self.server
            .remote
            .clone()
            .map_or_else(|| Source::Store(Box::new(self.server.store.clone())), Source::Remote)
    }

    /// An item as it is now, with its personal fields.
    pub(super) async fn whole_item(&self, found: &FolderItem) -> Result<QueueItem, ApiError> {
        if self.is_remote() {
            return Ok(self.item_with_id(found.item.id).await?.item);
        }
        Ok(self.whole_store(found.folder).get_queue_item(found.item.id).await?)
    }

    /// Whether the pages are of an Orchestrator elsewhere, and not of this server's store.
    pub(super) fn is_remote(&self) -> bool {
        self.server.remote.is_some()
    }

    /// The newest jobs of a folder.
    pub(super) async fn jobs_in(&self, folder: FolderId, limit: usize) -> Result<Vec<Job>, ApiError> {
        let mut jobs = self.source(folder).list_jobs(limit).await?;
        // To somebody who is no user of it, a store shows those of all folders.
        jobs.retain(|job| job.folder == folder);
        Ok(jobs)
    }

    /// The store for what belongs to no folder.
    pub(super) fn store_of_tenant(&self) -> Store {
        self.store(FolderId::SHARED)
    }

    /// Whether the caller may do something in a folder, and this desk does not only show.
    pub(super) fn may(&self, folder: FolderId, permissions: &[Permission]) -> bool {
        self.is_writable()
            && self.caller.as_ref().is_some_and(|caller| {
                permissions.iter().all(|permission| caller.may(Some(folder), *permission))
            })
    }

    /// Whether this desk does not only show.
    pub(super) fn is_writable(&self) -> bool {
        self.server.config.desk == DeskMode::On
    }

    /// Whether the caller may do something in the tenant, and this desk does not only show.
    pub(super) fn may_in_tenant(&self, permission: Permission) -> bool {
        self.is_writable() && self.caller.as_ref().is_some_and(|caller| caller.may(None, permission))
    }

    /// A number in the path.
    pub(super) fn number(&self, at: usize) -> Result<i64, ApiError> {
        let text = self.parameters.get(at).map(String::as_str).unwrap_or_default();
        text.parse().map_err(|_| ApiError::no_route())
    }

    /// A field of the form; empty if there is none.
    pub(super) fn field(&self, name: &str) -> &str {
        self.form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// All fields of the form with a name.
    pub(super) fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.form.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A part of the query; empty if there is none.
    pub(super) fn query_value(&self, name: &str) -> &str {
        self.query
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .unwrap_or_default()
    }

    /// What all pages have around them.
    pub(super) fn frame(&self, section: &str) -> Frame {
        Frame::of(self, section)
    }

    /// The address with another folder, or with the folder that is named now.
    pub(super) fn in_folder(&self, path: &str) -> String {
        match self.folder {
            None => path.to_owned(),
            Some(folder) => html::address(path, &[("folder", &folder.to_string())]),
        }
    }

    /// Where a form leads to when it has done its work.
    pub(super) fn back(&self) -> String {
        checked_address(self.field("back")).unwrap_or_else(|| ROOT.to_owned())
    }

    /// The queues of the call's folders, each once, by name.
    pub(super) async fn queues(&self) -> Result<Vec<FolderQueue>, ApiError> {
        let Some(first) = self.folders.first() else { return Ok(Vec::new()) };
        let all = self.source(*first).queues_in_folders(self.folders.clone()).await?;
        let folder_of = |queue: &QueueDefinition| {
            queue.folders.iter().find(|folder| self.folders.contains(folder)).copied()
        };
        Ok(all
            .into_iter()
            .filter_map(|queue| Some(FolderQueue { folder: folder_of(&queue)?, queue }))
            .collect())
    }

    /// The queue that the path names.
    ///
    /// # Errors
    ///
    /// 404, or 403 if the caller may see it but not do what the route does.
    pub(super) async fn queue(&self) -> Result<FolderQueue, ApiError> {
        let id = QueueId(self.number(0)?);
        self.queue_with_id(id).await
    }

    /// A queue by its number.
    ///
    /// # Errors
    ///
    /// As [`DeskCall::queue`].
    pub(super) async fn queue_with_id(&self, id: QueueId) -> Result<FolderQueue, ApiError> {
        let readable = self.folders_with(READ)?;
        let all: Arc<[FolderId]> = self.folders.iter().chain(readable.iter()).copied().collect();
        let missing = || ApiError::not_found(format!("There is no queue with the number {id}."));
        let Some(first) = all.first() else { return Err(missing()) };
        let queues = self.source(*first).queues_in_folders(all.clone()).await?;
        let queue = queues.into_iter().find(|queue| queue.id == id).ok_or_else(missing)?;
        match self.folders.iter().find(|folder| queue.folders.contains(folder)) {
            Some(folder) => Ok(FolderQueue { folder: *folder, queue }),
            None => Err(self.forbidden_in(all.iter().copied().find(|folder| queue.folders.contains(folder)))),
        }
    }

    /// The item that the path names.
    ///
    /// # Errors
    ///
    /// 404, or 403 if the caller may see it but not do what the route does.
    pub(super) async fn item(&self) -> Result<FolderItem, ApiError> {
        self.item_with_id(ItemId(self.number(0)?)).await
    }

    /// An item by its number.
    ///
    /// # Errors
    ///
    /// As [`DeskCall::item`].
    pub(super) async fn item_with_id(&self, id: ItemId) -> Result<FolderItem, ApiError> {
        let found = self.items_with_ids(vec![id]).await?.pop();
        found.unwrap_or_else(|| Err(no_item(id)))
    }

    /// Items by their numbers, in this order.
    ///
    /// # Errors
    ///
    /// 503 if the store is unavailable; for an item as [`DeskCall::item`].
    pub(super) async fn items_with_ids(
        &self,
        ids: Vec<ItemId>,
    ) -> Result<Vec<Result<FolderItem, ApiError>>, ApiError> {
        let readable = self.folders_with(READ)?;
        // Folders in which the route may be called stand before those in which the item may only be seen.
        let all: Arc<[FolderId]> = self.folders.iter().chain(readable.iter()).copied().collect();
        let mut found = match all.first() {
            Some(first) => self.source(*first).items_with_ids(all.clone(), ids.clone()).await?,
            None => Vec::new(),
        };
        let mut one = |id: ItemId| {
            let at = found.iter().position(|(_, item)| item.id == id).ok_or_else(|| no_item(id))?;
            let (folder, item) = found.swap_remove(at);
            if self.folders.contains(&folder) {
                Ok(FolderItem { item, folder })
            } else {
                Err(self.forbidden_in(Some(folder)))
            }
        };
        Ok(ids.into_iter().map(&mut one).collect())
    }
}

fn no_item(id: ItemId) -> ApiError {
    ApiError::not_found(format!("There is no item with the number {id}."))
}

/// 403 with what is missing.
pub(super) fn forbidden(needs: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, 0, format!("This needs the permission {needs}."))
}

/// An address of the desk; `None` for any other one, to which a form must not lead.
pub(super) fn checked_address(address: &str) -> Option<String> {
    let is_ours = address == ROOT
        || address.strip_prefix(ROOT).is_some_and(|rest| rest.starts_with('/') || rest.starts_with('?'));
    let is_plain = address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    (is_ours && is_plain && !address.contains("//")).then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::checked_address;

    #[test]
    fn a_form_leads_to_a_page_of_the_desk() {
        for address in ["/desk", "/desk?folder=1", "/desk/items?status=Failed&after=42#row"] {
            assert_eq!(checked_address(address).as_deref(), Some(address));
        }
        for address in [
            "",
            "/",
            "/desktop",
            "//evil.test",
            "https://evil.test/desk",
            "/desk//evil",
            "/desk/\r\nx: y",
            "/desk/\\x",
            "/desk/ü",
        ] {
            assert_eq!(checked_address(address), None, "{address}");
        }
    }
}
