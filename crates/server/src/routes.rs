//! The table of all routes with the access each needs: scopes and permissions as in the vendor's document
//! (orchestrator-api 6, 9 to 11).

use axum::http::Method;

use super::router::{FolderScope, Route, RouteAccess};
use super::{
    alerts, assets, audit_logs, buckets, comments, folder_navigation, folders, insight_protocol, items, jobs,
    lease_protocol, login, logs, machines, processes, queues, review_protocol, roles, server_facts,
    statistics, status, tasks, transactions, users, webhooks,
};
use crate::permission::{Action, Area, Permission};

const QUEUES_VIEW: Permission = Permission(Area::Queues, Action::View);
const QUEUES_CREATE: Permission = Permission(Area::Queues, Action::Create);
const QUEUES_EDIT: Permission = Permission(Area::Queues, Action::Edit);
const QUEUES_DELETE: Permission = Permission(Area::Queues, Action::Delete);
const VIEW: Permission = Permission(Area::Transactions, Action::View);
const CREATE: Permission = Permission(Area::Transactions, Action::Create);
const EDIT: Permission = Permission(Area::Transactions, Action::Edit);
const DELETE: Permission = Permission(Area::Transactions, Action::Delete);
const REVEAL: Permission = Permission(Area::Transactions, Action::Reveal);
const USERS_VIEW: Permission = Permission(Area::Users, Action::View);
const USERS_CREATE: Permission = Permission(Area::Users, Action::Create);
const USERS_EDIT: Permission = Permission(Area::Users, Action::Edit);
const USERS_DELETE: Permission = Permission(Area::Users, Action::Delete);
const ROLES_VIEW: Permission = Permission(Area::Roles, Action::View);
const ROLES_CREATE: Permission = Permission(Area::Roles, Action::Create);
const ROLES_EDIT: Permission = Permission(Area::Roles, Action::Edit);
const ROLES_DELETE: Permission = Permission(Area::Roles, Action::Delete);
const JOBS_VIEW: Permission = Permission(Area::Jobs, Action::View);
const JOBS_CREATE: Permission = Permission(Area::Jobs, Action::Create);
const JOBS_EDIT: Permission = Permission(Area::Jobs, Action::Edit);
const AUDIT_VIEW: Permission = Permission(Area::Audit, Action::View);
const LOGS_VIEW: Permission = Permission(Area::Logs, Action::View);
const LOGS_CREATE: Permission = Permission(Area::Logs, Action::Create);
const ASSETS_VIEW: Permission = Permission(Area::Assets, Action::View);
const ASSETS_CREATE: Permission = Permission(Area::Assets, Action::Create);
const ASSETS_EDIT: Permission = Permission(Area::Assets, Action::Edit);
const ASSETS_DELETE: Permission = Permission(Area::Assets, Action::Delete);
const WEBHOOKS_VIEW: Permission = Permission(Area::Webhooks, Action::View);
const WEBHOOKS_CREATE: Permission = Permission(Area::Webhooks, Action::Create);
const WEBHOOKS_EDIT: Permission = Permission(Area::Webhooks, Action::Edit);
const WEBHOOKS_DELETE: Permission = Permission(Area::Webhooks, Action::Delete);
const ALERTS_VIEW: Permission = Permission(Area::Alerts, Action::View);
const ALERTS_CREATE: Permission = Permission(Area::Alerts, Action::Create);
const BUCKETS_VIEW: Permission = Permission(Area::Buckets, Action::View);
const BUCKETS_CREATE: Permission = Permission(Area::Buckets, Action::Create);
const BUCKETS_EDIT: Permission = Permission(Area::Buckets, Action::Edit);
const BUCKETS_DELETE: Permission = Permission(Area::Buckets, Action::Delete);
const FILES_VIEW: Permission = Permission(Area::BlobFiles, Action::View);
const FILES_CREATE: Permission = Permission(Area::BlobFiles, Action::Create);
const FILES_DELETE: Permission = Permission(Area::BlobFiles, Action::Delete);
const ROBOTS_VIEW: Permission = Permission(Area::Robots, Action::View);
const ROBOTS_EDIT: Permission = Permission(Area::Robots, Action::Edit);
const ROBOTS_DELETE: Permission = Permission(Area::Robots, Action::Delete);
const MACHINES_VIEW: Permission = Permission(Area::Machines, Action::View);
const MACHINES_CREATE: Permission = Permission(Area::Machines, Action::Create);
const MACHINES_EDIT: Permission = Permission(Area::Machines, Action::Edit);
const MACHINES_DELETE: Permission = Permission(Area::Machines, Action::Delete);
const PROCESSES_VIEW: Permission = Permission(Area::Processes, Action::View);
const PROCESSES_CREATE: Permission = Permission(Area::Processes, Action::Create);
const PROCESSES_EDIT: Permission = Permission(Area::Processes, Action::Edit);
const PROCESSES_DELETE: Permission = Permission(Area::Processes, Action::Delete);
const SETTINGS_VIEW: Permission = Permission(Area::Settings, Action::View);
const LICENSE_VIEW: Permission = Permission(Area::License, Action::View);

/// The scope and permission for `/metrics`, which shows the activity of all callers.
pub(super) const METRICS: (&str, Permission) = ("Monitoring", Permission(Area::Settings, Action::View));

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const PATCH: Method = Method::PATCH;
const DEL: Method = Method::DELETE;

const fn read(
    area: &'static str,
    folder_scope: FolderScope,
    permissions: &'static [Permission],
) -> RouteAccess {
    RouteAccess::Token { area, write: false, folder_scope, permissions }
}

const fn write(
    area: &'static str,
    folder_scope: FolderScope,
    permissions: &'static [Permission],
) -> RouteAccess {
    RouteAccess::Token { area, write: true, folder_scope, permissions }
}

/// A path with a key.
const ONE: bool = true;
/// A path without a key.
const ALL: bool = false;

macro_rules! routes {
    ($($method:ident $entity:literal $keyed:ident $action:literal $name:literal: $needs:expr => $handler:path;)+) => {
        &[$(Route {
            method: $method,
            entity: $entity,
            keyed: $keyed,
            action: $action,
            name: $name,
            needs: $needs,
            handler: |call| Box::pin($handler(call)),
        }),+]
    };
}

use FolderScope::{AnyFolder, Folder, Tenant};

#[rustfmt::skip]
pub(super) static ROUTES: &[Route] = routes! {
    // The server itself
    GET "api/status" ALL "get" "Status": RouteAccess::Public => status::health;
    GET "api/status" ALL "version" "Version": read("Default", Tenant, &[]) => status::version;
    GET "$metadata" ALL "" "Metadata": read("Default", Tenant, &[]) => status::metadata;
    POST "api/account" ALL "authenticate" "Authenticate": RouteAccess::Public => login::authenticate;

    // Queues
    GET "QueueDefinitions" ALL "" "GetQueueDefinitions": read("Queues", AnyFolder, &[QUEUES_VIEW]) => queues::list;
    POST "QueueDefinitions" ALL "" "PostQueueDefinition": write("Queues", Folder, &[QUEUES_CREATE]) => queues::create;
    GET "QueueDefinitions" ONE "" "GetQueueDefinition": read("Queues", Folder, &[QUEUES_VIEW]) => queues::get;
    PUT "QueueDefinitions" ONE "" "PutQueueDefinition": write("Queues", Folder, &[QUEUES_EDIT]) => queues::update;
    DEL "QueueDefinitions" ONE "" "DeleteQueueDefinition": write("Queues", Folder, &[QUEUES_DELETE]) => queues::delete;
    GET "QueueDefinitions" ALL "GetByKey" "GetQueueDefinitionByKey": read("Queues", Folder, &[QUEUES_VIEW]) => queues::get_by_key;
    GET "QueueDefinitions" ONE "GetJsonSchemaDefinition" "GetJsonSchemaDefinition": read("Queues", Folder, &[QUEUES_EDIT]) => queues::schema;
    GET "QueueDefinitions" ALL "GetFoldersForQueue" "GetFoldersForQueue": read("Queues", Tenant, &[]) => queues::folders_for_queue;
    GET "QueueDefinitions" ALL "GetQueuesAcrossFolders" "GetQueuesAcrossFolders": read("Queues", Tenant, &[]) => queues::across_folders;
    POST "QueueDefinitions" ALL "ShareToFolders" "ShareToFolders": write("Queues", Tenant, &[]) => queues::share;
    POST "QueueDefinitions" ALL "CreateQueue" "CreateQueue": write("Queues", Folder, &[QUEUES_CREATE]) => queues::create_with_retention;
    POST "QueueDefinitions" ALL "EditQueue" "EditQueue": write("Queues", Folder, &[QUEUES_EDIT]) => queues::edit_with_retention;
    GET "QueueDefinitions" ALL "GetQueue" "GetQueue": read("Queues", Folder, &[QUEUES_VIEW]) => queues::get_with_retention;
    GET "QueueDefinitions" ALL "ListQueues" "ListQueues": read("Queues", AnyFolder, &[QUEUES_VIEW]) => queues::list_with_retention;

    // Adding, starting and ending items
    POST "Queues" ALL "AddQueueItem" "AddQueueItem": write("Queues", Folder, &[QUEUES_VIEW, CREATE]) => transactions::add;
    POST "Queues" ALL "BulkAddQueueItems" "BulkAddQueueItems": write("Queues", Folder, &[QUEUES_VIEW, CREATE]) => transactions::bulk_add;
    POST "Queues" ALL "StartTransaction" "StartTransaction": write("Queues", Folder, &[QUEUES_VIEW, VIEW, CREATE, EDIT]) => transactions::start;
    POST "Queues" ONE "SetTransactionResult" "SetTransactionResult": write("Queues", Folder, &[QUEUES_VIEW, EDIT]) => transactions::set_result;
    POST "QueueItems" ONE "SetTransactionProgress" "SetTransactionProgress": write("Queues", Folder, &[QUEUES_VIEW, EDIT]) => transactions::set_progress;

    // Items
    GET "QueueItems" ALL "" "GetQueueItems": read("Queues", AnyFolder, &[QUEUES_VIEW, VIEW]) => items::list;
    GET "QueueItems" ONE "" "GetQueueItem": read("Queues", Folder, &[QUEUES_VIEW, VIEW]) => items::get;
    PUT "QueueItems" ONE "" "PutQueueItem": write("Queues", Folder, &[QUEUES_EDIT, EDIT]) => items::edit;
    DEL "QueueItems" ONE "" "DeleteQueueItem": write("Queues", Folder, &[QUEUES_VIEW, DELETE]) => items::delete;
    GET "QueueItems" ONE "GetItemLastRetry" "GetItemLastRetry": read("Queues", Folder, &[QUEUES_VIEW, VIEW]) => items::last_retry;
    GET "QueueItems" ALL "GetItemLastRetryByKey" "GetItemLastRetryByKey": read("Queues", Folder, &[QUEUES_VIEW, VIEW]) => items::last_retry_by_key;
    GET "QueueItems" ONE "GetItemProcessingHistory" "GetItemProcessingHistory": read("Queues", Folder, &[QUEUES_VIEW, VIEW]) => items::history;
    GET "QueueItems" ALL "GetReviewers" "GetReviewers": read("Queues", Folder, &[QUEUES_VIEW, EDIT]) => items::reviewers;
    POST "QueueItems" ALL "DeleteBulk" "DeleteBulk": write("Queues", Folder, &[QUEUES_VIEW, DELETE]) => items::delete_bulk;
    POST "QueueItems" ALL "SetItemReviewStatus" "SetItemReviewStatus": write("Queues", Folder, &[QUEUES_VIEW, EDIT]) => items::set_review_status;
    POST "QueueItems" ALL "SetItemReviewer" "SetItemReviewer": write("Queues", Folder, &[QUEUES_VIEW, EDIT]) => items::set_reviewer;
    POST "QueueItems" ALL "UnsetItemReviewer" "UnsetItemReviewer": write("Queues", Folder, &[QUEUES_VIEW, EDIT]) => items::unset_reviewer;

    // Comments and events
    GET "QueueItemComments" ALL "" "GetQueueItemComments": read("Queues", AnyFolder, &[QUEUES_VIEW, VIEW]) => comments::list_comments;
    POST "QueueItemComments" ALL "" "PostQueueItemComment": write("Queues", Folder, &[QUEUES_VIEW, EDIT]) => comments::add_comment;
    GET "QueueItemComments" ONE "" "GetQueueItemComment": read("Queues", Folder, &[QUEUES_VIEW, VIEW]) => comments::get_comment;
    PUT "QueueItemComments" ONE "" "PutQueueItemComment": write("Queues", Folder, &[QUEUES_VIEW, EDIT]) => comments::edit_comment;
    DEL "QueueItemComments" ONE "" "DeleteQueueItemComment": write("Queues", Folder, &[QUEUES_VIEW, EDIT]) => comments::delete_comment;
    GET "QueueItemComments" ALL "GetQueueItemCommentsHistory" "GetQueueItemCommentsHistory": read("Queues", Folder, &[QUEUES_VIEW, VIEW]) => comments::comments_history;
    GET "QueueItemEvents" ALL "" "GetQueueItemEvents": read("Queues", AnyFolder, &[QUEUES_VIEW, VIEW]) => comments::list_events;
    GET "QueueItemEvents" ONE "" "GetQueueItemEvent": read("Queues", Folder, &[QUEUES_VIEW, VIEW]) => comments::get_event;
    GET "QueueItemEvents" ALL "GetQueueItemEventsHistory" "GetQueueItemEventsHistory": read("Queues", Folder, &[QUEUES_VIEW, VIEW]) => comments::events_history;

    // Statistics and retention
    GET "QueueProcessingRecords" ALL "RetrieveLastDaysProcessingRecords" "RetrieveLastDaysProcessingRecords": read("Queues", Folder, &[QUEUES_VIEW, VIEW]) => statistics::last_days;
    GET "QueueProcessingRecords" ALL "RetrieveQueuesProcessingStatus" "RetrieveQueuesProcessingStatus": read("Queues", AnyFolder, &[QUEUES_VIEW]) => statistics::processing_status;
    GET "QueueRetention" ALL "" "ListQueueRetention": read("Queues", AnyFolder, &[QUEUES_VIEW]) => statistics::list_retention;
    GET "QueueRetention" ONE "" "GetQueueRetention": read("Queues", Folder, &[QUEUES_VIEW]) => statistics::get_retention;
    PUT "QueueRetention" ONE "" "PutQueueRetention": write("Queues", Folder, &[QUEUES_EDIT]) => statistics::set_retention;
    DEL "QueueRetention" ONE "" "DeleteQueueRetention": write("Queues", Folder, &[QUEUES_EDIT]) => statistics::reset_retention;

    // Jobs
    GET "Jobs" ALL "" "GetJobs": read("Jobs", AnyFolder, &[JOBS_VIEW]) => jobs::list;
    GET "Jobs" ONE "" "GetJob": read("Jobs", Folder, &[JOBS_VIEW]) => jobs::get;
    GET "Jobs" ALL "GetByKey" "GetJobByKey": read("Jobs", Folder, &[JOBS_VIEW]) => jobs::get_by_key;
    POST "Jobs" ONE "StopJob" "StopOneJob": write("Jobs", Folder, &[JOBS_EDIT]) => jobs::stop_one;
    POST "Jobs" ALL "StopJobs" "StopJobs": write("Jobs", Folder, &[JOBS_EDIT]) => jobs::stop_several;

    // Robot logs
    POST "api/logs" ALL "submitlogs" "SubmitLogs": write("Monitoring", AnyFolder, &[LOGS_CREATE]) => logs::submit;
    POST "api/logs" ALL "" "PostLog": write("Monitoring", AnyFolder, &[LOGS_CREATE]) => logs::submit_one;
    GET "RobotLogs" ALL "" "GetRobotLogs": read("Monitoring", AnyFolder, &[LOGS_VIEW]) => logs::list;
    GET "RobotLogs" ALL "GetTotalCount" "GetTotalCountOfRobotLogs": read("Monitoring", AnyFolder, &[LOGS_VIEW]) => logs::total_count;

    // The lease protocol for performers over HTTP
    POST "api/performer" ALL "startjob" "StartJob": write("Queues", Folder, &[QUEUES_VIEW, VIEW, CREATE, EDIT]) => lease_protocol::start_job;
    POST "api/performer" ALL "beat" "Beat": write("Queues", Folder, &[QUEUES_VIEW, VIEW, CREATE, EDIT]) => lease_protocol::beat;
    POST "api/performer" ALL "endjob" "EndJob": write("Queues", Folder, &[QUEUES_VIEW, VIEW, CREATE, EDIT]) => lease_protocol::end_job;
    POST "api/performer" ALL "sweep" "Sweep": write("Queues", Folder, &[QUEUES_VIEW, VIEW, CREATE, EDIT]) => lease_protocol::sweep;
    POST "api/performer" ALL "exchange" "Exchange": write("Queues", Folder, &[QUEUES_VIEW, VIEW, CREATE, EDIT]) => lease_protocol::exchange;
    POST "api/performer" ALL "held" "Held": read("Queues", Folder, &[QUEUES_VIEW, VIEW]) => lease_protocol::held_claims;
    POST "api/performer" ALL "addandstart" "AddAndStart": write("Queues", Folder, &[QUEUES_VIEW, VIEW, CREATE, EDIT]) => lease_protocol::add_and_start;
    POST "api/performer" ALL "progress" "Progress": write("Queues", Folder, &[QUEUES_VIEW, EDIT]) => lease_protocol::progress;
    POST "api/performer" ALL "wait" "Wait": read("Queues", Folder, &[QUEUES_VIEW, VIEW]) => lease_protocol::wait;
    POST "api/performer" ALL "reasons" "Reasons": read("Queues", Folder, &[QUEUES_VIEW, VIEW]) => review_protocol::reasons;
    POST "api/performer" ALL "editreason" "EditReason": write("Queues", Folder, &[QUEUES_VIEW, VIEW, EDIT]) => review_protocol::edit_reason;
    POST "api/performer" ALL "correct" "Correct": write("Queues", Folder, &[QUEUES_EDIT, VIEW, EDIT]) => review_protocol::correct;
    POST "api/performer" ALL "reveal" "Reveal": write("Queues", Folder, &[QUEUES_VIEW, VIEW, REVEAL]) => review_protocol::reveal;
    POST "api/performer" ALL "jobs" "Jobs": read("Jobs", Folder, &[JOBS_VIEW]) => lease_protocol::jobs;
    POST "api/performer" ALL "robots" "Robots": read("Jobs", Folder, &[JOBS_VIEW]) => lease_protocol::robots;
    POST "api/performer" ALL "editlimits" "EditLimits": write("Queues", Folder, &[QUEUES_VIEW, QUEUES_EDIT]) => lease_protocol::edit_limits;
    POST "api/performer" ALL "startlimit" "StartLimit": read("Queues", Folder, &[QUEUES_VIEW]) => lease_protocol::start_limit;
    POST "api/performer" ALL "stopjob" "StopJob": write("Jobs", Folder, &[JOBS_EDIT]) => lease_protocol::stop_job;
    POST "api/performer" ALL "retention" "Retention": write("Queues", Folder, &[QUEUES_EDIT, DELETE]) => lease_protocol::retention;
    // Acts on many items: what the act needs in each folder of the items is checked by the handlers.
    POST "api/performer" ALL "prepareoperation" "PrepareOperation": write("Queues", AnyFolder, &[QUEUES_VIEW, VIEW]) => insight_protocol::prepare_operation;
    POST "api/performer" ALL "operation" "Operation": read("Queues", AnyFolder, &[QUEUES_VIEW, VIEW]) => insight_protocol::operation;
    POST "api/performer" ALL "operations" "Operations": read("Queues", AnyFolder, &[QUEUES_VIEW, VIEW]) => insight_protocol::operations;
    POST "api/performer" ALL "operationitems" "OperationItems": read("Queues", AnyFolder, &[QUEUES_VIEW, VIEW]) => insight_protocol::operation_items;
    POST "api/performer" ALL "startoperation" "StartOperation": write("Queues", AnyFolder, &[QUEUES_VIEW, VIEW]) => insight_protocol::start_operation;
    POST "api/performer" ALL "stopoperation" "StopOperation": write("Queues", AnyFolder, &[QUEUES_VIEW, VIEW]) => insight_protocol::stop_operation;
    POST "api/performer" ALL "resumeoperation" "ResumeOperation": write("Queues", AnyFolder, &[QUEUES_VIEW, VIEW]) => insight_protocol::resume_operation;
    POST "api/performer" ALL "takeoperationback" "TakeOperationBack": write("Queues", AnyFolder, &[QUEUES_VIEW, VIEW]) => insight_protocol::take_operation_back;

    // The audit, what is due, and figures
    POST "api/performer" ALL "audit" "Audit": read("Audit", Tenant, &[AUDIT_VIEW]) => insight_protocol::audit;
    POST "api/performer" ALL "auditlines" "AuditLines": read("Audit", Tenant, &[AUDIT_VIEW]) => insight_protocol::audit_lines;
    POST "api/performer" ALL "views" "Views": read("Queues", Folder, &[QUEUES_VIEW, VIEW]) => insight_protocol::views;
    POST "api/performer" ALL "duework" "DueWork": read("Queues", Folder, &[QUEUES_VIEW, VIEW]) => insight_protocol::due_work;
    POST "api/performer" ALL "figures" "Figures": read("Queues", Folder, &[QUEUES_VIEW, VIEW]) => insight_protocol::figures;

    // The handler asks for all scopes.
    POST "api/performer" ALL "desklink" "DeskLink": write("Default", Tenant, &[]) => insight_protocol::desk_link;
    // Assets
    GET "Assets" ALL "" "GetAssets": read("Assets", AnyFolder, &[ASSETS_VIEW]) => assets::list;
    GET "Assets" ALL "GetFiltered" "GetFilteredAssets": read("Assets", AnyFolder, &[ASSETS_VIEW]) => assets::list;
    POST "Assets" ALL "" "PostAsset": write("Assets", Folder, &[ASSETS_CREATE]) => assets::create;
    GET "Assets" ONE "" "GetAsset": read("Assets", Folder, &[ASSETS_VIEW]) => assets::get;
    PUT "Assets" ONE "" "PutAsset": write("Assets", Folder, &[ASSETS_EDIT]) => assets::update;
    DEL "Assets" ONE "" "DeleteAsset": write("Assets", Folder, &[ASSETS_DELETE]) => assets::delete;
    POST "Assets" ALL "GetRobotAssetByNameForRobotKey" "GetRobotAssetByNameForRobotKey": write("Assets", Folder, &[ASSETS_VIEW]) => assets::of_robot_key;
    GET "Assets" ALL "GetRobotAsset" "GetRobotAsset": read("Assets", Folder, &[ASSETS_VIEW]) => assets::of_robot_key_in_path;
    GET "Assets" ALL "GetRobotAssetByRobotId" "GetRobotAssetByRobotId": read("Assets", Folder, &[ASSETS_VIEW]) => assets::of_robot_id;
    POST "Assets" ALL "SetRobotAssetByRobotKey" "SetRobotAssetByRobotKey": write("Assets", Folder, &[ASSETS_EDIT]) => assets::set_of_robot_key;
    GET "Assets" ALL "GetAssetsAcrossFolders" "GetAssetsAcrossFolders": read("Assets", Tenant, &[]) => assets::across_folders;
    GET "Assets" ALL "GetFoldersForAsset" "GetFoldersForAsset": read("Assets", Tenant, &[]) => assets::folders_for_asset;
    POST "Assets" ALL "ShareToFolders" "ShareAssetsToFolders": write("Assets", Tenant, &[]) => assets::share;

    // Alerts
    GET "Alerts" ALL "" "GetAlerts": read("Monitoring", Tenant, &[ALERTS_VIEW]) => alerts::list;
    GET "Alerts" ALL "GetUnreadCount" "GetUnreadAlertCount": read("Monitoring", Tenant, &[ALERTS_VIEW]) => alerts::unread;
    POST "Alerts" ALL "MarkAsRead" "MarkAlertsAsRead": write("Monitoring", Tenant, &[ALERTS_VIEW]) => alerts::mark;
    POST "Alerts" ALL "RaiseProcessAlert" "RaiseProcessAlert": write("Monitoring", Tenant, &[ALERTS_CREATE]) => alerts::raise;
    // Storage buckets
    GET "Buckets" ALL "" "GetBuckets": read("Administration", AnyFolder, &[BUCKETS_VIEW]) => buckets::list;
    POST "Buckets" ALL "" "PostBucket": write("Administration", Folder, &[BUCKETS_CREATE]) => buckets::create;
    GET "Buckets" ONE "" "GetBucket": read("Administration", Folder, &[BUCKETS_VIEW]) => buckets::get;
    PUT "Buckets" ONE "" "PutBucket": write("Administration", Folder, &[BUCKETS_EDIT]) => buckets::update;
    DEL "Buckets" ONE "" "DeleteBucket": write("Administration", Folder, &[BUCKETS_DELETE]) => buckets::delete;
    GET "Buckets" ALL "GetByKey" "GetBucketByKey": read("Administration", Folder, &[BUCKETS_VIEW]) => buckets::get_by_key;
    GET "Buckets" ALL "GetBucketsAcrossFolders" "GetBucketsAcrossFolders": read("Administration", Tenant, &[]) => buckets::across_folders;
    GET "Buckets" ALL "GetFoldersForBucket" "GetFoldersForBucket": read("Administration", Tenant, &[]) => buckets::folders_for_bucket;
    POST "Buckets" ALL "ShareToFolders" "ShareBucketsToFolders": write("Administration", Tenant, &[]) => buckets::share;
    GET "Buckets" ONE "GetReadUri" "GetReadUri": read("Administration", Folder, &[BUCKETS_VIEW, FILES_VIEW]) => buckets::read_uri;
    GET "Buckets" ONE "GetWriteUri" "GetWriteUri": read("Administration", Folder, &[BUCKETS_VIEW, FILES_CREATE]) => buckets::write_uri;
    GET "Buckets" ONE "GetFiles" "GetFiles": read("Administration", Folder, &[BUCKETS_VIEW, FILES_VIEW]) => buckets::get_files;
    GET "Buckets" ONE "GetDirectories" "GetDirectories": read("Administration", Folder, &[BUCKETS_VIEW, FILES_VIEW]) => buckets::get_directories;
    GET "Buckets" ONE "GetFile" "GetFile": read("Administration", Folder, &[BUCKETS_VIEW, FILES_VIEW]) => buckets::get_file;
    DEL "Buckets" ONE "DeleteFile" "DeleteFile": write("Administration", Folder, &[BUCKETS_VIEW, FILES_DELETE]) => buckets::delete_file;
    GET "api/buckets" ONE "listfiles" "ListFiles": read("Administration", Folder, &[BUCKETS_VIEW, FILES_VIEW]) => buckets::list_files;

    // Webhooks
    GET "Webhooks" ALL "" "GetWebhooks": read("Webhooks", Tenant, &[WEBHOOKS_VIEW]) => webhooks::list;
    POST "Webhooks" ALL "" "PostWebhook": write("Webhooks", Tenant, &[WEBHOOKS_CREATE]) => webhooks::create;
    GET "Webhooks" ONE "" "GetWebhook": read("Webhooks", Tenant, &[WEBHOOKS_VIEW]) => webhooks::get;
    PUT "Webhooks" ONE "" "PutWebhook": write("Webhooks", Tenant, &[WEBHOOKS_EDIT]) => webhooks::update;
    PATCH "Webhooks" ONE "" "PatchWebhook": write("Webhooks", Tenant, &[WEBHOOKS_EDIT]) => webhooks::patch;
    DEL "Webhooks" ONE "" "DeleteWebhook": write("Webhooks", Tenant, &[WEBHOOKS_DELETE]) => webhooks::delete;
    POST "Webhooks" ONE "Ping" "PingWebhook": write("Webhooks", Tenant, &[WEBHOOKS_VIEW]) => webhooks::ping;
    GET "Webhooks" ALL "GetEventTypes" "GetWebhookEventTypes": read("Webhooks", Tenant, &[WEBHOOKS_VIEW]) => webhooks::types;
    POST "Webhooks" ALL "TriggerCustom" "TriggerCustomEvent": write("Webhooks", Tenant, &[WEBHOOKS_VIEW]) => webhooks::trigger;
    POST "api/performer" ALL "webhookstates" "WebhookStates": read("Webhooks", Tenant, &[WEBHOOKS_VIEW]) => webhooks::states;
    POST "api/performer" ALL "webhookdeliveries" "WebhookDeliveries": read("Webhooks", Tenant, &[WEBHOOKS_VIEW]) => webhooks::deliveries;
    POST "api/performer" ALL "retrywebhook" "RetryWebhook": write("Webhooks", Tenant, &[WEBHOOKS_EDIT]) => webhooks::retry;

    // Tasks: where the document names no permission, the handlers ask for those of tasks in the folder.
    GET "Tasks" ALL "" "GetTasks": read("Tasks", AnyFolder, &[]) => tasks::list;
    GET "Tasks" ONE "" "GetTask": read("Tasks", AnyFolder, &[]) => tasks::get;
    GET "Tasks" ALL "GetByKey" "GetTaskByKey": read("Tasks", AnyFolder, &[]) => tasks::get_by_key;
    GET "Tasks" ALL "GetTasksAcrossFolders" "GetTasksAcrossFolders": read("Tasks", Tenant, &[]) => tasks::across_folders;
    GET "Tasks" ALL "GetTasksAcrossFoldersForAdmin" "GetTasksAcrossFoldersForAdmin": read("Tasks", Tenant, &[]) => tasks::across_folders_for_admin;
    GET "Tasks" ALL "GetTaskUsers" "GetTaskUsers": read("Tasks", Folder, &[tasks::VIEW, tasks::EDIT]) => tasks::users;
    GET "Tasks" ALL "GetTaskPermissions" "GetTaskPermissions": read("Tasks", Folder, &[]) => tasks::permissions;
    POST "Tasks" ALL "AssignTasks" "AssignTasks": write("Tasks", AnyFolder, &[]) => tasks::assign;
    POST "Tasks" ALL "ReassignTasks" "ReassignTasks": write("Tasks", AnyFolder, &[]) => tasks::reassign;
    POST "Tasks" ALL "UnassignTasks" "UnassignTasks": write("Tasks", AnyFolder, &[]) => tasks::unassign;
    POST "Tasks" ALL "DeleteTasks" "DeleteTasks": write("Tasks", AnyFolder, &[]) => tasks::delete;
    POST "Tasks" ALL "EditTaskMetadata" "EditTaskMetadata": write("Tasks", Folder, &[]) => tasks::edit_metadata;
    POST "tasks/GenericTasks" ALL "CreateTask" "CreateTask": write("Tasks", Folder, &[tasks::CREATE]) => tasks::create;
    POST "tasks/GenericTasks" ALL "CompleteTask" "CompleteTask": write("Tasks", Folder, &[tasks::EDIT]) => tasks::complete;
    GET "tasks/GenericTasks" ALL "GetTaskDataById" "GetTaskDataById": read("Tasks", Folder, &[tasks::VIEW]) => tasks::data_by_id;
    GET "tasks/GenericTasks" ALL "GetTaskDataByKey" "GetTaskDataByKey": read("Tasks", Folder, &[tasks::VIEW]) => tasks::data_by_key;
    PUT "tasks/GenericTasks" ALL "SaveTaskData" "SaveTaskData": write("Tasks", Folder, &[tasks::EDIT]) => tasks::save_data;
    PUT "tasks/GenericTasks" ALL "SaveTaskTags" "SaveTaskTags": write("Tasks", Folder, &[tasks::EDIT]) => tasks::save_tags;
    POST "tasks/GenericTasks" ALL "SaveAndReassignTask" "SaveAndReassignTask": write("Tasks", Folder, &[tasks::EDIT]) => tasks::save_and_reassign;
    POST "TaskNotes" ALL "CreateTaskNote" "CreateTaskNote": write("Tasks", Folder, &[tasks::EDIT]) => tasks::create_note;
    GET "TaskNotes" ALL "GetByTaskId" "GetTaskNotes": read("Tasks", Folder, &[tasks::VIEW]) => tasks::notes;
    GET "TaskActivities" ALL "GetByTaskId" "GetTaskActivities": read("Tasks", Folder, &[tasks::VIEW]) => tasks::activities;
    GET "TaskCatalogs" ALL "" "GetTaskCatalogs": read("Tasks", AnyFolder, &[tasks::CATALOGS_VIEW]) => tasks::list_catalogs;
    GET "TaskCatalogs" ONE "" "GetTaskCatalog": read("Tasks", Folder, &[tasks::CATALOGS_VIEW]) => tasks::get_catalog;
    DEL "TaskCatalogs" ONE "" "DeleteTaskCatalog": write("Tasks", Folder, &[tasks::CATALOGS_DELETE]) => tasks::delete_catalog;
    POST "TaskCatalogs" ONE "UpdateTaskCatalog" "UpdateTaskCatalog": write("Tasks", Folder, &[tasks::CATALOGS_EDIT]) => tasks::update_catalog;
    POST "TaskCatalogs" ALL "CreateTaskCatalog" "CreateTaskCatalog": write("Tasks", Folder, &[tasks::CATALOGS_CREATE]) => tasks::create_catalog;
    GET "TaskCatalogs" ALL "GetFoldersForTaskCatalog" "GetFoldersForTaskCatalog": read("Tasks", Tenant, &[]) => tasks::folders_for_catalog;
    GET "TaskCatalogs" ALL "GetTaskCatalogExtendedDetails" "GetTaskCatalogExtendedDetails": read("Tasks", Tenant, &[]) => tasks::catalog_details;
    GET "TaskCatalogs" ALL "GetTaskCatalogsFromFoldersWithPermissions" "GetTaskCatalogsFromFoldersWithPermissions": read("Tasks", Tenant, &[]) => tasks::catalogs_with_permissions;
    POST "TaskCatalogs" ALL "ShareToFolders" "ShareTaskCatalogsToFolders": write("Tasks", Tenant, &[]) => tasks::share_catalogs;
    POST "api/performer" ALL "answer" "Answer": read("Queues", Folder, &[QUEUES_VIEW, EDIT]) => tasks::answer;

    // Folders: the handlers check permissions themselves, because a role in a folder suffices to see it.
    GET "Folders" ALL "" "GetFolders": read("Folders", Tenant, &[]) => folders::list;
    GET "Folders" ONE "" "GetFolder": read("Folders", Tenant, &[]) => folders::get;
    GET "Folders" ALL "GetByKey" "GetFolderByKey": read("Folders", Tenant, &[]) => folders::get_by_key;
    POST "Folders" ALL "" "PostFolder": write("Folders", Tenant, &[]) => folders::create;
    PUT "Folders" ONE "" "PutFolder": write("Folders", Tenant, &[]) => folders::edit;
    DEL "Folders" ONE "" "DeleteFolder": write("Folders", Tenant, &[]) => folders::delete;
    POST "Folders" ALL "AssignUsers" "AssignUsers": write("Folders", Tenant, &[]) => folders::assign_users;
    POST "Folders" ONE "RemoveUserFromFolder" "RemoveUserFromFolder": write("Folders", Tenant, &[]) => folders::remove_user;
    GET "Folders" ALL "GetUsersForFolder" "GetUsersForFolder": read("Folders", Tenant, &[]) => folders::users;
    GET "api/folders" ALL "getallforcurrentuser" "GetAllForCurrentUser": read("Folders", Tenant, &[]) => folder_navigation::of_current_user;
    GET "api/foldersnavigation" ALL "getfoldersforcurrentuser" "GetFoldersForCurrentUser": read("Default", Tenant, &[]) => folder_navigation::of_current_user;
    PUT "Folders" ONE "MoveFolder" "MoveFolder": write("Folders", Tenant, &[]) => folders::move_to;
    PATCH "api/folders" ALL "patchnamedescription" "PatchNameDescription": write("Folders", Tenant, &[]) => folders::patch;
    DEL "api/folders" ALL "deletebykey" "DeleteByKey": write("Folders", Tenant, &[]) => folders::delete_by_key;
    POST "Folders" ONE "RemoveUserFromFolderByKey" "RemoveUserFromFolderByKey": write("Folders", Tenant, &[]) => folders::remove_user_by_key;
    GET "Folders" ALL "GetAllRolesForUser" "GetAllRolesForUser": read("Folders", Tenant, &[]) => folder_navigation::roles_of_user_in_context;
    GET "api/foldersnavigation" ALL "getallrolesforuser" "NavigateRolesForUser": read("Folders", Tenant, &[]) => folder_navigation::roles_of_user;
    GET "api/foldersnavigation" ALL "getallfoldersforcurrentuser" "GetAllFoldersForCurrentUser": read("Default", Tenant, &[]) => folder_navigation::tree;
    GET "api/foldersnavigation" ALL "getfoldernavigationcontextforcurrentuser" "GetFolderNavigationContextForCurrentUser": read("Default", Tenant, &[]) => folder_navigation::context;

    // Users, roles and robots
    GET "Users" ALL "" "GetUsers": read("Users", Tenant, &[USERS_VIEW]) => users::list;
    POST "Users" ALL "" "PostUser": write("Users", Tenant, &[USERS_CREATE]) => users::create;
    GET "Users" ONE "" "GetUser": read("Users", Tenant, &[]) => users::get;
    PUT "Users" ONE "" "PutUser": write("Users", Tenant, &[USERS_EDIT]) => users::edit;
    DEL "Users" ONE "" "DeleteUser": write("Users", Tenant, &[USERS_DELETE]) => users::delete;
    GET "Users" ALL "GetCurrentUser" "GetCurrentUser": read("Users", Tenant, &[]) => users::current;
    GET "Users" ALL "GetCurrentPermissions" "GetCurrentPermissions": read("Users", Tenant, &[]) => users::current_permissions;
    POST "Users" ONE "AssignRoles" "AssignRoles": write("Users", Tenant, &[USERS_EDIT]) => users::assign_roles;
    PATCH "Users" ONE "" "PatchUser": write("Users", Tenant, &[]) => users::patch;
    POST "Users" ONE "ToggleRole" "ToggleRole": write("Users", Tenant, &[USERS_EDIT]) => users::toggle_role;
    GET "Users" ALL "Validate" "ValidateUsers": read("Users", Tenant, &[USERS_VIEW]) => users::validate;
    GET "Users" ALL "GetCurrentUserExtended" "GetCurrentUserExtended": read("Users", Tenant, &[]) => users::current_extended;
    GET "Roles" ALL "" "GetRoles": read("Users", Tenant, &[ROLES_VIEW]) => roles::list;
    POST "Roles" ALL "" "PostRole": write("Users", Tenant, &[ROLES_CREATE]) => roles::create;
    GET "Roles" ONE "" "GetRole": read("Users", Tenant, &[ROLES_VIEW]) => roles::get;
    PUT "Roles" ONE "" "PutRole": write("Users", Tenant, &[ROLES_EDIT]) => roles::edit;
    DEL "Roles" ONE "" "DeleteRole": write("Users", Tenant, &[ROLES_DELETE]) => roles::delete;
    POST "Roles" ONE "SetUsers" "SetUsers": write("Users", Tenant, &[ROLES_EDIT, USERS_VIEW]) => roles::set_users;
    GET "Roles" ALL "GetUsersForRole" "GetUsersForRole": read("Users", Tenant, &[ROLES_VIEW, USERS_VIEW]) => roles::users;
    GET "Roles" ALL "GetUserIdsForRole" "GetUserIdsForRole": read("Users", Tenant, &[]) => roles::user_ids;
    GET "Permissions" ALL "" "GetPermissions": read("Users", Tenant, &[]) => roles::list_permissions;
    GET "Robots" ALL "" "GetRobots": read("Robots", Tenant, &[ROBOTS_VIEW]) => users::list_robots;
    GET "Robots" ONE "" "GetRobot": read("Robots", Tenant, &[ROBOTS_VIEW]) => users::get_robot;

    // What the server says about itself
    GET "Settings" ALL "" "GetSettings": read("Settings", Tenant, &[SETTINGS_VIEW]) => server_facts::list_settings;
    GET "Settings" ONE "" "GetSetting": read("Settings", Tenant, &[SETTINGS_VIEW]) => server_facts::get_setting;
    GET "Settings" ALL "GetWebSettings" "GetWebSettings": read("Settings", Tenant, &[]) => server_facts::web_settings;
    GET "Settings" ALL "GetActivitySettings" "GetActivitySettings": read("Settings", Tenant, &[]) => server_facts::activity_settings;
    GET "Settings" ALL "GetTimezones" "GetTimezones": read("Settings", Tenant, &[]) => server_facts::time_zones;
    GET "Settings" ALL "GetLanguages" "GetLanguages": read("Settings", Tenant, &[]) => server_facts::languages;
    GET "Settings" ALL "GetLicense" "GetLicense": read("Settings", Tenant, &[]) => server_facts::license;
    GET "Settings" ALL "GetExecutionSettingsConfiguration" "GetExecutionSettingsConfiguration": read("Settings", Tenant, &[]) => server_facts::execution_settings;
    GET "LicensesRuntime" ALL "GetLicensesRuntime" "GetLicensesRuntime": read("License", Tenant, &[LICENSE_VIEW]) => server_facts::licenses_of_machines;
    GET "LicensesNamedUser" ALL "GetLicensesNamedUser" "GetLicensesNamedUser": read("License", Tenant, &[LICENSE_VIEW]) => server_facts::licenses_of_users;
    GET "Tenants" ALL "" "GetTenants": read("Administration", Tenant, &[]) => server_facts::list_tenants;
    GET "Tenants" ONE "" "GetTenant": read("Administration", Tenant, &[]) => server_facts::get_tenant;
    // Processes, machines, and their agents
    GET "Releases" ALL "" "GetReleases": read("Execution", AnyFolder, &[PROCESSES_VIEW]) => processes::list;
    GET "Releases" ALL "ListReleases" "ListReleases": read("Execution", AnyFolder, &[PROCESSES_VIEW]) => processes::list;
    POST "Releases" ALL "" "PostRelease": write("Execution", Folder, &[PROCESSES_CREATE]) => processes::create;
    GET "Releases" ONE "" "GetRelease": read("Execution", Folder, &[PROCESSES_VIEW]) => processes::get;
    PUT "Releases" ONE "" "PutRelease": write("Execution", Folder, &[PROCESSES_EDIT]) => processes::update;
    PATCH "Releases" ONE "" "PatchRelease": write("Execution", Folder, &[PROCESSES_EDIT]) => processes::update;
    DEL "Releases" ONE "" "DeleteRelease": write("Execution", Folder, &[PROCESSES_DELETE]) => processes::delete;
    DEL "api/releases" ALL "deletebykey" "DeleteReleaseByKey": write("Execution", Folder, &[PROCESSES_DELETE]) => processes::delete_by_key;
    POST "Jobs" ALL "StartJobs" "StartJobs": write("Jobs", Folder, &[JOBS_CREATE]) => processes::start;
    POST "Jobs" ALL "ValidateDynamicJob" "ValidateDynamicJob": write("Jobs", Folder, &[JOBS_CREATE]) => processes::validate;
    POST "Jobs" ONE "ValidateExistingJob" "ValidateExistingJob": write("Jobs", Folder, &[JOBS_VIEW]) => processes::validate_job;
    POST "Jobs" ALL "RestartJob" "RestartJob": write("Jobs", Folder, &[JOBS_CREATE]) => processes::restart;
    POST "Jobs" ALL "ResumeJob" "ResumeJob": write("Jobs", Folder, &[JOBS_EDIT]) => processes::resume;
    GET "Machines" ALL "" "GetMachines": read("Machines", Tenant, &[MACHINES_VIEW]) => machines::list;
    POST "Machines" ALL "" "PostMachine": write("Machines", Tenant, &[MACHINES_CREATE]) => machines::create;
    GET "Machines" ONE "" "GetMachine": read("Machines", Tenant, &[MACHINES_VIEW]) => machines::get;
    PUT "Machines" ONE "" "PutMachine": write("Machines", Tenant, &[MACHINES_EDIT]) => machines::update;
    PATCH "Machines" ONE "" "PatchMachine": write("Machines", Tenant, &[MACHINES_EDIT]) => machines::update;
    DEL "Machines" ONE "" "DeleteMachine": write("Machines", Tenant, &[MACHINES_DELETE]) => machines::delete;
    POST "Machines" ALL "DeleteBulk" "DeleteMachines": write("Machines", Tenant, &[MACHINES_DELETE]) => machines::delete_several;
    GET "Machines" ALL "GetAssignedMachines" "GetAssignedMachines": read("Machines", Tenant, &[]) => machines::assigned;
    GET "Machines" ALL "GetRuntimesForFolder" "GetRuntimesForFolder": read("Machines", Tenant, &[]) => machines::runtimes_for_folder;
    GET "Sessions" ALL "" "GetSessions": read("Robots", AnyFolder, &[ROBOTS_VIEW]) => machines::sessions;
    GET "Sessions" ALL "GetGlobalSessions" "GetGlobalSessions": read("Robots", Tenant, &[ROBOTS_VIEW]) => machines::global_sessions;
    GET "Sessions" ALL "GetMachineSessions" "GetMachineSessions": read("Robots", Tenant, &[MACHINES_VIEW]) => machines::sessions_of_machine;
    GET "Sessions" ALL "GetMachineSessionRuntimes" "GetMachineSessionRuntimes": read("Robots", Tenant, &[MACHINES_VIEW]) => machines::session_runtimes;
    GET "Sessions" ALL "GetMachineSessionRuntimesByFolderId" "GetMachineSessionRuntimesByFolderId": read("Robots", Tenant, &[]) => machines::session_runtimes_of_folder;
    POST "Sessions" ALL "SetMaintenanceMode" "SetMaintenanceMode": write("Robots", Tenant, &[ROBOTS_EDIT]) => machines::set_maintenance;
    POST "Sessions" ALL "DeleteInactiveUnattendedSessions" "DeleteInactiveUnattendedSessions": write("Robots", Tenant, &[ROBOTS_DELETE]) => machines::delete_inactive;
    POST "api/performer" ALL "opensession" "OpenSession": write("Jobs", Folder, &[JOBS_VIEW, JOBS_EDIT]) => machines::open_session;
    POST "api/performer" ALL "beatsession" "BeatSession": write("Jobs", Folder, &[JOBS_VIEW, JOBS_EDIT]) => machines::beat_session;
    POST "api/performer" ALL "closesession" "CloseSession": write("Jobs", Folder, &[JOBS_VIEW, JOBS_EDIT]) => machines::close_session;
    POST "api/performer" ALL "sessions" "Sessions": read("Robots", Folder, &[ROBOTS_VIEW]) => machines::listed_sessions;

    GET "api/stats" ALL "getcountstats" "GetCountStats": read("Monitoring", Tenant, &[]) => server_facts::counts;
    GET "api/stats" ALL "getjobsstats" "GetJobsStats": read("Monitoring", AnyFolder, &[JOBS_VIEW]) => server_facts::jobs_by_end;
    GET "api/stats" ALL "getsessionsstats" "GetSessionsStats": read("Monitoring", AnyFolder, &[ROBOTS_VIEW]) => server_facts::robots_by_state;
    GET "api/stats" ALL "getlicensestats" "GetLicenseStats": read("Monitoring", Tenant, &[LICENSE_VIEW]) => server_facts::license_use;
    GET "api/stats" ALL "getconsumptionlicensestats" "GetConsumptionLicenseStats": read("Monitoring", Tenant, &[LICENSE_VIEW]) => server_facts::license_use;
    GET "AuditLogs" ALL "" "GetAuditLogs": read("Audit", Tenant, &[AUDIT_VIEW]) => audit_logs::list;
    GET "AuditLogs" ALL "GetAuditLogDetails" "GetAuditLogDetails": read("Audit", Tenant, &[AUDIT_VIEW]) => audit_logs::details;
};
