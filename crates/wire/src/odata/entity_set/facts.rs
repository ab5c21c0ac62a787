//! The entity sets of what a server says about itself: permissions, settings, the tenant, licences, and the audit.

use super::PropertyType::{Choice, Flag, Number, Text, Time, Whole};
use super::{EntitySet, Property, USER_TYPES};

pub const PERMISSIONS: EntitySet = EntitySet {
    name: "Permissions",
    properties: &[
        ("Name", Text),
        ("IsGranted", Flag),
        ("RoleId", Number),
        ("Scope", Choice(&["Global", "Folder", "GlobalOrFolder"])),
        ("Id", Number),
    ],
    more: &[],
};

pub const SETTINGS: EntitySet = EntitySet {
    name: "Settings",
    properties: &[
        ("Name", Text),
        ("Value", Text),
        ("Scope", Choice(&["Application", "Tenant", "User", "All"])),
        ("Id", Text),
    ],
    more: &[],
};

pub const TENANTS: EntitySet = EntitySet {
    name: "Tenants",
    properties: &[
        ("Name", Text),
        ("Key", Text),
        ("DisplayName", Text),
        ("AdminEmailAddress", Text),
        ("AdminName", Text),
        ("AdminSurname", Text),
        ("AdminUserKey", Text),
        ("AdminPassword", Text),
        ("LastLoginTime", Time),
        ("IsActive", Flag),
        ("License", Whole),
        ("OrganizationName", Text),
        ("Id", Number),
    ],
    more: &[],
};

/// The licences of machines, of which a list is empty; the properties are there so that a query is judged as elsewhere.
pub const LICENSES_RUNTIME: EntitySet = EntitySet {
    name: "LicensesRuntime",
    properties: &[
        ("Key", Text),
        ("MachineId", Number),
        ("MachineName", Text),
        ("HostMachineName", Text),
        ("ServiceUserName", Text),
        ("MachineType", Choice(&["Standard", "Template"])),
        ("Runtimes", Number),
        ("RobotsCount", Number),
        ("ExecutingCount", Number),
        ("IsOnline", Flag),
        ("IsLicensed", Flag),
        ("Enabled", Flag),
        ("MachineScope", Text),
    ],
    more: &[],
};

/// The licences of users, of which a list is empty too.
pub const LICENSES_NAMED_USER: EntitySet = EntitySet {
    name: "LicensesNamedUser",
    properties: &[
        ("Key", Text),
        ("UserName", Text),
        ("LastLoginDate", Time),
        ("MachinesCount", Number),
        ("IsLicensed", Flag),
        ("IsExternalLicensed", Flag),
        ("ActiveRobotId", Number),
        ("MachineNames", Whole),
        ("ActiveMachineNames", Whole),
    ],
    more: &[],
};

/// What an entry of the audit says was done, in the order of the vendor's numbers.
const ACTIONS: &[&str] = &[
    "Unknown",
    "Create",
    "Update",
    "Delete",
    "StartJob",
    "StopJob",
    "Associate",
    "Upload",
    "ChangeStatus",
    "Import",
    "ChangePassword",
    "Register",
    "Toggle",
    "ResetPassword",
    "PasswordResetAttempt",
    "Download",
    "Acknowledge",
    "Activate",
    "Assign",
    "BulkUpload",
    "UpdateFeature",
    "ResumeJob",
    "Start",
    "End",
    "Skip",
    "Unassign",
    "Deactivate",
    "CreateBlobFileSas",
    "DeleteBlobFile",
    "Move",
    "Set",
    "StartDelete",
    "ExploreStart",
    "ExploreEnd",
    "Save",
    "Convert",
    "Forward",
    "BulkComplete",
    "BulkSave",
    "ForceStopJob",
    "MigrateFolder",
    "EditTaskMetadata",
    "Archive",
    "StartMigrateFolders",
    "ToggleUserFolderSubscription",
    "StartUninstall",
    "StartInstall",
    "VideoAccess",
    "AutomaticallyExploreEnd",
    "InstallState",
    "FinishInstall",
    "FinishUninstall",
];

/// What an entry of the audit is about, in the order of the vendor's numbers.
const COMPONENTS: &[&str] = &[
    "Unknown",
    "Assets",
    "Environments",
    "Processes",
    "Queues",
    "Robots",
    "Roles",
    "Schedules",
    "Users",
    "Comments",
    "Units",
    "Jobs",
    "Settings",
    "Packages",
    "License",
    "Tenant",
    "Machines",
    "Libraries",
    "Webhooks",
    "ExecutionMedia",
    "Monitoring",
    "CredentialStores",
    "DefaultCredentialStores",
    "TaskCatalogs",
    "Tasks",
    "Maintenance",
    "Folders",
    "DirectoryService",
    "Buckets",
    "Secrets",
    "PersonalWorkspaces",
    "CloudSubscriptions",
    "CloudSnapshots",
    "Sessions",
    "CredentialsProxies",
    "StudioWeb",
    "AutomationSolutions",
    "RemoteControl",
    "TaskSolutions",
    "TaskDefinitions",
    "HttpTriggers",
    "AutopilotForRobotsData",
    "BusinessRules",
    "IntegrationTriggers",
    "JobAttachments",
    "TestSets",
    "TestSetSchedules",
    "TestDataQueues",
    "TestDataQueueItems",
];

const AUDIT_LOG: &[Property] = &[
    ("ServiceName", Text),
    ("MethodName", Text),
    ("Parameters", Text),
    ("ExecutionTime", Time),
    ("Action", Choice(ACTIONS)),
    ("Component", Choice(COMPONENTS)),
    ("DisplayName", Text),
    ("EntityId", Number),
    ("OperationText", Text),
    ("UserName", Text),
    ("UserType", Choice(USER_TYPES)),
    ("ExternalClientId", Text),
    ("UserId", Number),
    ("UserIsDeleted", Flag),
    ("Id", Number),
];

pub const AUDIT_LOGS: EntitySet =
    EntitySet { name: "AuditLogs", properties: AUDIT_LOG, more: &[("Entities", Whole)] };

/// What an entry of the audit changed, field by field.
pub const AUDIT_DETAILS: EntitySet = EntitySet {
    name: "AuditLogEntities",
    properties: &[
        ("AuditLogId", Number),
        ("CustomData", Text),
        ("EntityId", Number),
        ("EntityName", Text),
        ("Action", Choice(ACTIONS)),
        ("Id", Number),
    ],
    more: &[],
};
