//! The table of all routes of the desk, with the permissions that each needs: those of the API's routes that do the same.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use axum::http::{Method, StatusCode};

use super::call::DeskCall;
use super::reply::Reply;
use super::{
    access, access_acts, acts, alerts, asset_pages, audit, deadlines, events, export, health, item,
    item_acts, items, jobs, login, operation_acts, operations, personal, queue, queues, reasons, review,
    start, task_pages, views, webhooks,
};
use crate::api_error::ApiError;
pub(super) use crate::operation_rights::{CHANGE, REMOVE, REVIEW};
use crate::permission::{Action, Area, Permission};
use crate::tasks;

/// The handler of a route.
type Handler = for<'a> fn(&'a DeskCall) -> Pin<Box<dyn Future<Output = Result<Reply, ApiError>> + Send + 'a>>;

/// What a route needs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Needs {
    /// Nothing: also without a session.
    Public,
    /// A session.
    Session,
    /// Permissions in a folder.
    InFolder(&'static [Permission]),
    /// To see items in a folder, and what the act of an operation needs there, which the handler checks.
    ByAct,
    /// A permission in the tenant.
    InTenant(Permission),
}

impl Needs {
    /// The permissions in a folder.
    pub(super) const fn in_folder(self) -> Option<&'static [Permission]> {
        match self {
            Self::InFolder(permissions) => Some(permissions),
            Self::ByAct => Some(READ),
            Self::Public | Self::Session | Self::InTenant(_) => None,
        }
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("public"),
            Self::Session => f.write_str("session"),
            Self::ByAct => write!(f, "{},those of the act", Self::InFolder(READ)),
            Self::InTenant(permission) => write!(f, "{permission}"),
            Self::InFolder(permissions) => {
                let names: Vec<String> = permissions.iter().map(ToString::to_string).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

/// A route.
pub(super) struct DeskRoute {
    pub(super) method: Method,
    /// Parts in braces are parameters.
    pub(super) path: &'static str,
    /// The operation's name, for logs and metrics.
    pub(super) name: &'static str,
    pub(super) needs: Needs,
    pub(super) handler: Handler,
}

impl DeskRoute {
    /// Whether it answers with a file of items, which is larger than a page.
    pub(super) fn makes_file(&self) -> bool {
        self.path.starts_with("/desk/items.") || self.path.ends_with(".csv")
    }

    /// Whether it changes more than the sessions of its caller.
    pub(super) fn changes_work(&self) -> bool {
        let is_of_session = matches!(self.needs, Public | Session) && !self.path.contains("/tokens");
        self.method == Method::POST && !is_of_session
    }
}

macro_rules! routes {
    ($($method:ident $path:literal $name:literal: $needs:expr => $handler:path;)+) => {
        &[$(DeskRoute {
            method: Method::$method,
            path: $path,
            name: $name,
            needs: $needs,
            handler: |call| Box::pin($handler(call)),
        }),+]
    };
}

use Needs::{ByAct, InFolder, InTenant, Public, Session};

const QUEUES_VIEW: Permission = Permission(Area::Queues, Action::View);
const QUEUES_EDIT: Permission = Permission(Area::Queues, Action::Edit);
const VIEW: Permission = Permission(Area::Transactions, Action::View);
const EDIT: Permission = Permission(Area::Transactions, Action::Edit);
pub(super) const JOBS_VIEW: Permission = Permission(Area::Jobs, Action::View);
pub(super) const JOBS_EDIT: Permission = Permission(Area::Jobs, Action::Edit);
const AUDIT_VIEW: Permission = Permission(Area::Audit, Action::View);
pub(super) const USERS_VIEW: Permission = Permission(Area::Users, Action::View);
pub(super) const USERS_CREATE: Permission = Permission(Area::Users, Action::Create);
pub(super) const USERS_EDIT: Permission = Permission(Area::Users, Action::Edit);
pub(super) const USERS_DELETE: Permission = Permission(Area::Users, Action::Delete);
pub(super) const ROLES_VIEW: Permission = Permission(Area::Roles, Action::View);
pub(super) const ROBOTS_VIEW: Permission = Permission(Area::Robots, Action::View);
pub(super) const ROBOTS_CREATE: Permission = Permission(Area::Robots, Action::Create);
pub(super) const FOLDERS_CREATE: Permission = Permission(Area::Units, Action::Create);
/// In a folder, or in the tenant for all.
pub(super) const FOLDER_VIEW: Permission = Permission(Area::SubFolders, Action::View);
pub(super) const FOLDER_EDIT: Permission = Permission(Area::SubFolders, Action::Edit);
const WEBHOOKS_VIEW: Permission = Permission(Area::Webhooks, Action::View);
pub(super) const WEBHOOKS_CREATE: Permission = Permission(Area::Webhooks, Action::Create);
pub(super) const WEBHOOKS_EDIT: Permission = Permission(Area::Webhooks, Action::Edit);
pub(super) const WEBHOOKS_DELETE: Permission = Permission(Area::Webhooks, Action::Delete);
const ALERTS_VIEW: Permission = Permission(Area::Alerts, Action::View);
const SETTINGS_VIEW: Permission = Permission(Area::Settings, Action::View);

/// The path of links that sign somebody in.
pub(super) const OPEN: &str = "/desk/open";

/// To see items and their queues.
pub(super) const READ: &[Permission] = &[QUEUES_VIEW, VIEW];
/// To change items in a form that shows their content.
pub(super) const REWRITE: &[Permission] = &[QUEUES_VIEW, QUEUES_EDIT, VIEW, EDIT];
pub(super) const REVEAL_ALONE: Permission = Permission(Area::Transactions, Action::Reveal);
/// To see the personal fields of an item.
pub(super) const REVEAL: &[Permission] = &[QUEUES_VIEW, VIEW, REVEAL_ALONE];
/// To note what is known about a group of failures.
pub(super) const NOTE: &[Permission] = &[QUEUES_VIEW, VIEW, EDIT];
/// To see queues.
const SEE_QUEUES: &[Permission] = &[QUEUES_VIEW];
/// To pause queues and to change their limits.
pub(super) const CHANGE_QUEUES: &[Permission] = &[QUEUES_VIEW, QUEUES_EDIT];

const ASSETS_VIEW: Permission = Permission(Area::Assets, Action::View);
/// To see tasks.
pub(super) const SEE_TASKS: &[Permission] = &[tasks::VIEW];
/// To save, assign and complete tasks.
pub(super) const DO_TASKS: &[Permission] = &[tasks::VIEW, tasks::EDIT];
/// To delete tasks.
pub(super) const REMOVE_TASKS: &[Permission] = &[tasks::VIEW, tasks::DELETE];
/// To see assets, without what is secret in them.
pub(super) const SEE_ASSETS: &[Permission] = &[ASSETS_VIEW];
/// To make assets.
pub(super) const ADD_ASSETS: &[Permission] = &[ASSETS_VIEW, Permission(Area::Assets, Action::Create)];
/// To set values of assets.
pub(super) const CHANGE_ASSETS: &[Permission] = &[ASSETS_VIEW, Permission(Area::Assets, Action::Edit)];
/// To delete assets.
pub(super) const REMOVE_ASSETS: &[Permission] = &[ASSETS_VIEW, Permission(Area::Assets, Action::Delete)];

#[rustfmt::skip]
pub(super) static ROUTES: &[DeskRoute] = routes! {
    GET "/desk" "DeskStart": InFolder(READ) => start::page;
    GET "/desk/login" "DeskLoginPage": Public => login::page;
    POST "/desk/login" "DeskLogin": Public => login::sign_in;
    GET "/desk/open" "DeskOpen": Public => login::open;
    POST "/desk/logout" "DeskLogout": Session => login::sign_out;
    GET "/desk/events" "DeskEvents": InFolder(SEE_QUEUES) => events::stream;
    POST "/desk/theme" "DeskTheme": Public => login::theme;

    GET "/desk/queues" "DeskQueues": InFolder(SEE_QUEUES) => queues::page;
    GET "/desk/queues/{id}" "DeskQueue": InFolder(READ) => queue::page;
    POST "/desk/queues/{id}/pause" "DeskPause": InFolder(CHANGE_QUEUES) => acts::pause;
    POST "/desk/queues/{id}/resume" "DeskResume": InFolder(CHANGE_QUEUES) => acts::resume;
    POST "/desk/queues/{id}/limits" "DeskLimits": InFolder(CHANGE_QUEUES) => acts::limits;

    GET "/desk/audit" "DeskAudit": InTenant(AUDIT_VIEW) => audit::page;
    GET "/desk/audit.csv" "DeskAuditFile": InTenant(AUDIT_VIEW) => audit::csv;

    GET "/desk/access" "DeskAccess": Session => access::page;
    POST "/desk/access/sessions/end" "DeskEndSession": Session => access_acts::end_session;
    POST "/desk/access/tokens" "DeskAddToken": Session => access_acts::add_token;
    POST "/desk/access/tokens/revoke" "DeskRevokeToken": Session => access_acts::revoke_own_token;
    POST "/desk/access/users" "DeskAddUser": InTenant(USERS_CREATE) => access_acts::add_user;
    GET "/desk/access/users/{id}" "DeskUser": InTenant(USERS_VIEW) => access::user;
    POST "/desk/access/users/{id}/roles" "DeskUserRoles": InTenant(USERS_EDIT) => access_acts::set_roles;
    POST "/desk/access/users/{id}/active" "DeskUserActive": InTenant(USERS_EDIT) => access_acts::set_active;
    POST "/desk/access/users/{id}/password" "DeskUserPassword": InTenant(USERS_EDIT) => access_acts::set_password;
    POST "/desk/access/users/{id}/revoke" "DeskUserRevoke": InTenant(USERS_EDIT) => access_acts::revoke;
    POST "/desk/access/users/{id}/remove" "DeskRemoveUser": InTenant(USERS_DELETE) => access_acts::remove_user;
    POST "/desk/access/folders" "DeskAddFolder": InTenant(FOLDERS_CREATE) => access_acts::add_folder;
    GET "/desk/access/folders/{id}" "DeskFolder": InFolder(&[FOLDER_VIEW]) => access::folder;
    POST "/desk/access/folders/{id}/roles" "DeskFolderRoles": InFolder(&[FOLDER_EDIT]) => access_acts::set_roles_in_folder;
    POST "/desk/access/applications" "DeskAddApplication": InTenant(USERS_CREATE) => access_acts::add_application;
    POST "/desk/access/applications/remove" "DeskRemoveApplication": InTenant(USERS_DELETE) => access_acts::remove_application;
    POST "/desk/access/robots" "DeskAddRobot": InTenant(ROBOTS_CREATE) => access_acts::add_robot;

    GET "/desk/deadlines" "DeskDeadlines": InFolder(READ) => deadlines::page;

    GET "/desk/items" "DeskItems": InFolder(READ) => items::page;
    GET "/desk/items.csv" "DeskItemsCsv": InFolder(READ) => export::csv;
    GET "/desk/items.json" "DeskItemsJson": InFolder(READ) => export::json;
    POST "/desk/items/review" "DeskReviewItems": InFolder(REVIEW) => item_acts::review;
    POST "/desk/items/assign" "DeskAssignItems": InFolder(REVIEW) => item_acts::assign;
    POST "/desk/items/delete" "DeskDeleteItems": InFolder(REMOVE) => item_acts::delete;
    GET "/desk/items/{id}" "DeskItem": InFolder(READ) => item::page;
    GET "/desk/items/{id}/json" "DeskItemJson": InFolder(READ) => item::json;
    GET "/desk/items/{id}/edit" "DeskEditPage": InFolder(REWRITE) => item_acts::edit_page;
    POST "/desk/items/{id}/edit" "DeskEdit": InFolder(REWRITE) => item_acts::edit;
    GET "/desk/items/{id}/correct" "DeskCorrectPage": InFolder(REWRITE) => item_acts::correct_page;
    POST "/desk/items/{id}/correct" "DeskCorrect": InFolder(REWRITE) => item_acts::correct;
    POST "/desk/items/{id}/reveal" "DeskReveal": InFolder(REVEAL) => personal::reveal;
    POST "/desk/items/{id}/purge" "DeskPurge": InFolder(CHANGE) => item_acts::purge;
    POST "/desk/items/{id}/comments" "DeskComment": InFolder(REVIEW) => item_acts::comment;
    POST "/desk/items/{id}/comments/{comment}" "DeskEditComment": InFolder(REVIEW) => item_acts::edit_comment;

    GET "/desk/views" "DeskViews": InFolder(READ) => views::page;
    POST "/desk/views" "DeskAddView": InFolder(READ) => views::add;
    POST "/desk/views/{id}" "DeskEditView": InFolder(READ) => views::edit;

    GET "/desk/reasons" "DeskReasons": InFolder(READ) => reasons::list;
    GET "/desk/reasons/{id}" "DeskReason": InFolder(READ) => reasons::page;
    POST "/desk/reasons/{id}" "DeskEditReason": InFolder(NOTE) => reasons::edit;
    GET "/desk/review" "DeskReview": InFolder(READ) => review::page;

    GET "/desk/operations" "DeskOperations": InFolder(READ) => operations::list;
    POST "/desk/operations" "DeskCreateOperation": ByAct => operation_acts::create;
    GET "/desk/operations/new" "DeskNewOperation": InFolder(READ) => operation_acts::new_page;
    GET "/desk/operations/{id}" "DeskOperation": InFolder(READ) => operations::page;
    GET "/desk/operations/{id}/refused" "DeskRefused": InFolder(READ) => operations::refused;
    GET "/desk/operations/{id}/refused.csv" "DeskRefusedCsv": InFolder(READ) => operations::refused_csv;
    POST "/desk/operations/{id}/start" "DeskStartOperation": ByAct => operation_acts::start;
    POST "/desk/operations/{id}/stop" "DeskStopOperation": ByAct => operation_acts::stop;
    POST "/desk/operations/{id}/resume" "DeskResumeOperation": ByAct => operation_acts::resume;
    POST "/desk/operations/{id}/take-back" "DeskTakeOperationBack": ByAct => operation_acts::take_back;

    GET "/desk/jobs" "DeskJobs": InFolder(&[JOBS_VIEW]) => jobs::list;
    GET "/desk/jobs/{key}" "DeskJob": InFolder(&[JOBS_VIEW]) => jobs::page;
    POST "/desk/jobs/{key}/stop" "DeskStopJob": InFolder(&[JOBS_EDIT]) => acts::stop_job;
    POST "/desk/jobs/{key}/kill" "DeskKillJob": InFolder(&[JOBS_EDIT]) => acts::kill_job;

    GET "/desk/tasks" "DeskTasks": InFolder(SEE_TASKS) => task_pages::list;
    GET "/desk/tasks/{id}" "DeskTaskPage": InFolder(SEE_TASKS) => task_pages::page;
    POST "/desk/tasks/{id}/save" "DeskSaveTask": InFolder(DO_TASKS) => task_pages::save;
    POST "/desk/tasks/{id}/complete" "DeskCompleteTask": InFolder(DO_TASKS) => task_pages::complete;
    POST "/desk/tasks/{id}/assign" "DeskAssignTask": InFolder(DO_TASKS) => task_pages::assign;
    POST "/desk/tasks/{id}/delete" "DeskDeleteTask": InFolder(REMOVE_TASKS) => task_pages::delete;
    GET "/desk/assets" "DeskAssets": InFolder(SEE_ASSETS) => asset_pages::list;
    POST "/desk/assets" "DeskCreateAsset": InFolder(ADD_ASSETS) => asset_pages::create;
    GET "/desk/assets/{id}" "DeskAssetPage": InFolder(SEE_ASSETS) => asset_pages::page;
    POST "/desk/assets/{id}" "DeskSetAsset": InFolder(CHANGE_ASSETS) => asset_pages::set;
    POST "/desk/assets/{id}/remove-value" "DeskRemoveAssetValue": InFolder(CHANGE_ASSETS) => asset_pages::remove_value;
    POST "/desk/assets/{id}/delete" "DeskDeleteAsset": InFolder(REMOVE_ASSETS) => asset_pages::delete;

    GET "/desk/webhooks" "DeskWebhooks": InTenant(WEBHOOKS_VIEW) => webhooks::list;
    POST "/desk/webhooks" "DeskCreateWebhook": InTenant(WEBHOOKS_CREATE) => webhooks::create;
    GET "/desk/webhooks/{id}" "DeskWebhook": InTenant(WEBHOOKS_VIEW) => webhooks::page;
    POST "/desk/webhooks/{id}" "DeskEditWebhook": InTenant(WEBHOOKS_EDIT) => webhooks::edit;
    POST "/desk/webhooks/{id}/ping" "DeskPingWebhook": InTenant(WEBHOOKS_VIEW) => webhooks::ping;
    POST "/desk/webhooks/{id}/retry" "DeskRetryWebhook": InTenant(WEBHOOKS_EDIT) => webhooks::retry;
    POST "/desk/webhooks/{id}/delete" "DeskDeleteWebhook": InTenant(WEBHOOKS_DELETE) => webhooks::delete;

    GET "/desk/alerts" "DeskAlerts": InTenant(ALERTS_VIEW) => alerts::page;
    POST "/desk/alerts/read" "DeskReadAlerts": InTenant(ALERTS_VIEW) => alerts::mark;

    GET "/desk/health" "DeskHealth": InTenant(SETTINGS_VIEW) => health::page;
};

/// What the page at a path without parameters needs; `None` if there is none.
pub(super) fn needs_of_page(path: &str) -> Option<Needs> {
    let page = ROUTES.iter().find(|route| route.method == Method::GET && route.path == path)?;
    Some(page.needs)
}

/// The parameters of a path, if it has the form of a route.
fn parameters(form: &str, path: &str) -> Option<Vec<String>> {
    let (mut form, mut path, mut found) = (form.split('/'), path.split('/'), Vec::new());
    loop {
        match (form.next(), path.next()) {
            (None, None) => return Some(found),
            (Some(form), Some(part)) if form.starts_with('{') && !part.is_empty() => {
                found.push(part.to_owned());
            }
            (Some(form), Some(part)) if form == part => {}
            _ => return None,
        }
    }
}

/// The route of a request, and its parameters.
///
/// # Errors
///
/// 404 for an unknown path, 405 for an unsupported method.
pub(super) fn find(method: &Method, path: &str) -> Result<(&'static DeskRoute, Vec<String>), ApiError> {
    // Paths without parameters stand before those with: `/desk/items/review` is no item.
    let of_path: Vec<_> =
        ROUTES.iter().filter_map(|route| Some((route, parameters(route.path, path)?))).collect();
    let Some((first, _)) = of_path.first() else { return Err(ApiError::no_route()) };
    let form = first.path;
    // HEAD is supported wherever GET is (RFC 9110, section 9.3.2), but for a link that works once: programs that look at links before
    // people open them must not use it up.
    let has_head = form != OPEN;
    let wanted = if *method == Method::HEAD && has_head { &Method::GET } else { method };
    let methods: Vec<&str> = of_path
        .iter()
        .filter(|(route, _)| route.path == form)
        .map(|(route, _)| route.method.as_str())
        .collect();
    let allow = methods.join(", ");
    let allow = if has_head { allow.replace("GET", "GET, HEAD") } else { allow };
    let found = of_path.into_iter().find(|(route, _)| route.path == form && route.method == *wanted);
    found.ok_or_else(|| {
        let message = format!("The method {method} is not supported here.");
        let mut failure = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, 0, message);
        failure.allow = Some(allow);
        failure
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_route() {
        for (method, path, name, parameters) in [
            (Method::GET, "/desk", "DeskStart", &[][..]),
            (Method::HEAD, "/desk/items", "DeskItems", &[]),
            (Method::GET, "/desk/items/42", "DeskItem", &["42"]),
            (Method::POST, "/desk/items/review", "DeskReviewItems", &[]),
            (Method::POST, "/desk/items/42/comments/7", "DeskEditComment", &["42", "7"]),
        ] {
            let (route, found) = find(&method, path).unwrap();
            assert_eq!(
                (route.name, found.iter().map(String::as_str).collect::<Vec<_>>()),
                (name, parameters.to_vec())
            );
        }
        for (method, path, status, allow) in [
            (Method::GET, "/desk/", 404, None),
            (Method::GET, "/desk/items//json", 404, None),
            (Method::GET, "/desk/nowhere", 404, None),
            (Method::GET, "/desk/items/review", 405, Some("POST")),
            (Method::DELETE, "/desk/items/42", 405, Some("GET, HEAD")),
            (Method::HEAD, "/desk/open", 405, Some("GET")),
            (Method::PUT, "/desk/login", 405, Some("GET, HEAD, POST")),
        ] {
            let failure = find(&method, path).err().unwrap();
            assert_eq!((failure.status.as_u16(), failure.allow.as_deref()), (status, allow), "{path}");
        }
    }
}
