//! The entity sets: their properties and the types of these.
//! Over 500 lines, because it is one table.
//!

mod facts;

pub use self::facts::{
    AUDIT_DETAILS, AUDIT_LOGS, LICENSES_NAMED_USER, LICENSES_RUNTIME, PERMISSIONS, SETTINGS, TENANTS,
};
use super::unknown_property;
use performer_core::model::Refusal;

/// An entity set: its name and properties.
#[derive(Debug)]
pub struct EntitySet {
    pub name: &'static str,
    properties: &'static [Property],
    /// Properties that only some responses have.
    more: &'static [Property],
}

pub(super) type Property = (&'static str, PropertyType);

/// The type of a property. All types include null.
#[derive(Clone, Copy, Debug)]
pub(super) enum PropertyType {
    Number,
    Text,
    Flag,
    Time,
    Guid,
    /// An enumeration; the number of a value is its position (orchestrator-api 12.2).
    Choice(&'static [&'static str]),
    /// A nested object.
    Part(&'static [Property]),
    /// A list or an object that can be compared only with null.
    Whole,
}

use PropertyType::{Choice, Flag, Guid, Number, Part, Text, Time, Whole};

const USER_TYPES: &[&str] =
    &["User", "Robot", "DirectoryUser", "DirectoryGroup", "DirectoryRobot", "DirectoryExternalApplication"];
const PROVISION_TYPES: &[&str] = &["Manual", "Automatic"];
const STATUSES: &[&str] = &["New", "InProgress", "Failed", "Successful", "Abandoned", "Retried", "Deleted"];

const JOB_STATES: &[&str] = &[
    "Pending",
    "Running",
    "Stopping",
    "Terminating",
    "Faulted",
    "Successful",
    "Stopped",
    "Suspended",
    "Resumed",
];

const QUEUE: &[Property] = &[
    ("Key", Guid),
    ("Name", Text),
    ("Description", Text),
    ("MaxNumberOfRetries", Number),
    ("AcceptAutomaticallyRetry", Flag),
    ("RetryAbandonedItems", Flag),
    ("EnforceUniqueReference", Flag),
    ("Encrypted", Flag),
    ("SpecificDataJsonSchema", Text),
    ("OutputDataJsonSchema", Text),
    ("AnalyticsDataJsonSchema", Text),
    ("CreationTime", Time),
    ("ProcessScheduleId", Number),
    ("SlaInMinutes", Number),
    ("RiskSlaInMinutes", Number),
    ("ReleaseId", Number),
    ("IsProcessInCurrentFolder", Flag),
    ("FoldersCount", Number),
    ("OrganizationUnitId", Number),
    ("OrganizationUnitFullyQualifiedName", Text),
    ("Tags", Whole),
    ("Id", Number),
];

pub const QUEUES: EntitySet = EntitySet { name: "QueueDefinitions", properties: QUEUE, more: &[] };

/// Queues in the response of ListQueues.
pub const QUEUES_WITH_RETENTION: EntitySet = EntitySet {
    more: &[
        ("RetentionAction", Choice(&["Delete", "Archive", "None"])),
        ("RetentionPeriod", Number),
        ("RetentionBucketId", Number),
        ("StaleRetentionAction", Choice(&["Delete", "Archive", "None"])),
        ("StaleRetentionPeriod", Number),
        ("StaleRetentionBucketId", Number),
    ],
    ..QUEUES
};

pub const RETENTION: EntitySet = EntitySet {
    name: "QueueRetention",
    properties: &[
        ("QueueDefinitionId", Number),
        ("Action", Choice(&["Delete", "Archive", "None"])),
        ("Period", Number),
        ("BucketId", Number),
        ("Type", Choice(&["Final", "Stale"])),
    ],
    more: &[],
};

pub const STATUSES_OF_QUEUES: EntitySet = EntitySet {
    name: "QueueProcessingStatuses",
    properties: &[
        ("ItemsToProcess", Number),
        ("ItemsInProgress", Number),
        ("QueueDefinitionId", Number),
        ("QueueDefinitionKey", Guid),
        ("QueueDefinitionName", Text),
        ("QueueDefinitionDescription", Text),
        ("QueueDefinitionAcceptAutomaticallyRetry", Flag),
        ("QueueDefinitionRetryAbandonedItems", Flag),
        ("QueueDefinitionMaxNumberOfRetries", Number),
        ("QueueDefinitionEnforceUniqueReference", Flag),
        ("ProcessingMeanTime", Number),
        ("SuccessfulTransactionsNo", Number),
        ("ApplicationExceptionsNo", Number),
        ("BusinessExceptionsNo", Number),
        ("SuccessfulTransactionsProcessingTime", Number),
        ("ApplicationExceptionsProcessingTime", Number),
        ("BusinessExceptionsProcessingTime", Number),
        ("TotalNumberOfTransactions", Number),
        ("LastProcessed", Time),
        ("ReleaseName", Text),
        ("ReleaseId", Number),
        ("IsProcessInCurrentFolder", Flag),
        ("SpecificDataJsonSchemaExists", Flag),
        ("OutputDataJsonSchemaExists", Flag),
        ("AnalyticsDataJsonSchemaExists", Flag),
        ("ProcessScheduleId", Number),
        ("QueueFoldersCount", Number),
        ("Tags", Whole),
        ("Id", Number),
    ],
    more: &[],
};

pub const RECORDS: EntitySet = EntitySet {
    name: "QueueProcessingRecords",
    properties: &[
        ("QueueDefinitionId", Number),
        ("UiQueueMetadata", Whole),
        ("ProcessingTime", Time),
        ("ReportType", Choice(&["All", "Minute", "Hour", "Day"])),
        ("NumberOfRemainingTransactions", Number),
        ("NumberOfInProgressTransactions", Number),
        ("NumberOfApplicationExceptions", Number),
        ("NumberOfBusinessExceptions", Number),
        ("NumberOfSuccessfulTransactions", Number),
        ("NumberOfRetriedItems", Number),
        ("ApplicationExceptionsProcessingTime", Number),
        ("BusinessExceptionsProcessingTime", Number),
        ("SuccessfulTransactionsProcessingTime", Number),
        ("TotalNumberOfTransactions", Number),
        ("TenantId", Number),
        ("Id", Number),
    ],
    more: &[],
};

pub const COMMENTS: EntitySet = EntitySet {
    name: "QueueItemComments",
    properties: &[
        ("Text", Text),
        ("QueueItemId", Number),
        ("CreationTime", Time),
        ("UserId", Number),
        ("UserName", Text),
        ("Id", Number),
    ],
    more: &[],
};

pub const EVENTS: EntitySet = EntitySet {
    name: "QueueItemEvents",
    properties: &[
        ("QueueItemId", Number),
        ("Timestamp", Time),
        ("Action", Choice(&["Create", "Edit", "Delete", "Status", "Retry"])),
        ("Data", Text),
        ("UserId", Number),
        ("UserName", Text),
        ("Status", Choice(STATUSES)),
        ("ReviewStatus", Choice(&["None", "InReview", "Verified", "Retried"])),
        ("ReviewerUserId", Number),
        ("ReviewerUserName", Text),
        ("ExternalClientId", Text),
        ("Id", Number),
    ],
    more: &[],
};

const USER: &[Property] = &[
    ("Name", Text),
    ("Surname", Text),
    ("UserName", Text),
    ("Domain", Text),
    ("DirectoryIdentifier", Text),
    ("FullName", Text),
    ("EmailAddress", Text),
    ("LastLoginTime", Time),
    ("IsActive", Flag),
    ("CreationTime", Time),
    ("AuthenticationSource", Text),
    ("Password", Text),
    ("TenantId", Number),
    ("TenancyName", Text),
    ("TenantDisplayName", Text),
    ("TenantKey", Guid),
    ("Type", Choice(USER_TYPES)),
    ("ProvisionType", Choice(PROVISION_TYPES)),
    ("Key", Guid),
    ("Id", Number),
];

pub const USERS: EntitySet =
    EntitySet { name: "Users", properties: USER, more: &[("UserRoles", Whole), ("RolesList", Whole)] };

pub const REVIEWERS: EntitySet = EntitySet { name: "SimpleUserDto", properties: USER, more: &[] };

pub const ROLES: EntitySet = EntitySet {
    name: "Roles",
    properties: &[
        ("Name", Text),
        ("DisplayName", Text),
        ("Type", Choice(&["Mixed", "Tenant", "Folder"])),
        ("Groups", Text),
        ("IsStatic", Flag),
        ("IsEditable", Flag),
        ("Permissions", Whole),
        ("Id", Number),
    ],
    more: &[],
};

pub const WEBHOOKS: EntitySet = EntitySet {
    name: "Webhooks",
    properties: &[
        ("Key", Guid),
        ("Name", Text),
        ("Description", Text),
        ("Url", Text),
        ("Enabled", Flag),
        ("SubscribeToAllEvents", Flag),
        ("AllowInsecureSsl", Flag),
        ("Events", Whole),
        ("Id", Number),
    ],
    more: &[],
};

pub const ALERTS: EntitySet = EntitySet {
    name: "Alerts",
    properties: &[
        ("NotificationName", Text),
        ("Data", Text),
        (
            "Component",
            Choice(&[
                "Robots",
                "Transactions",
                "Schedules",
                "Jobs",
                "Process",
                "Tasks",
                "Queues",
                "Folders",
                "PersonalWorkspaces",
                "TestAutomation",
                "Insights",
                "CloudRobots",
                "ConnectedTriggers",
                "Serverless",
                "Export",
                "RateLimits",
                "AutopilotForRobots",
                "Webhooks",
            ]),
        ),
        ("Severity", Choice(&["Info", "Success", "Warn", "Error", "Fatal"])),
        ("CreationTime", Time),
        ("State", Choice(&["Unread", "Read"])),
        ("UserNotificationId", Guid),
        ("DeepLinkRelativeUrl", Text),
        ("Id", Guid),
    ],
    more: &[],
};

pub const WEBHOOK_EVENT_TYPES: EntitySet =
    EntitySet { name: "WebhookEventTypes", properties: &[("Name", Text), ("Group", Text)], more: &[] };

pub const BUCKETS: EntitySet = EntitySet {
    name: "Buckets",
    properties: &[
        ("Name", Text),
        ("Description", Text),
        ("Identifier", Guid),
        ("StorageProvider", Text),
        ("StorageParameters", Text),
        ("StorageContainer", Text),
        ("Options", Choice(&["None", "ReadOnly", "AuditReadAccess", "AccessDataThroughOrchestrator"])),
        ("CredentialStoreId", Number),
        ("ExternalName", Text),
        ("Password", Text),
        ("FoldersCount", Number),
        ("Tags", Whole),
        ("Id", Number),
    ],
    more: &[],
};

pub const BLOB_FILES: EntitySet = EntitySet {
    name: "BlobFiles",
    properties: &[
        ("FullPath", Text),
        ("ContentType", Text),
        ("Size", Number),
        ("IsDirectory", Flag),
        ("Id", Text),
    ],
    more: &[],
};

pub const ASSETS: EntitySet = EntitySet {
    name: "Assets",
    properties: &[
        ("Key", Guid),
        ("Name", Text),
        ("CanBeDeleted", Flag),
        ("ValueScope", Choice(&["Global", "PerRobot"])),
        (
            "ValueType",
            Choice(&[
                "DBConnectionString",
                "HttpConnectionString",
                "Text",
                "Bool",
                "Integer",
                "Credential",
                "WindowsCredential",
                "KeyValueList",
                "Secret",
            ]),
        ),
        ("Value", Text),
        ("StringValue", Text),
        ("BoolValue", Flag),
        ("IntValue", Number),
        ("CredentialUsername", Text),
        ("CredentialPassword", Text),
        ("SecretValue", Text),
        ("ExternalName", Text),
        ("CredentialStoreId", Number),
        ("KeyValueList", Whole),
        ("HasDefaultValue", Flag),
        ("Description", Text),
        ("RobotValues", Whole),
        ("UserValues", Whole),
        ("Tags", Whole),
        ("FoldersCount", Number),
        ("LastModificationTime", Time),
        ("LastModifierUserId", Number),
        ("CreationTime", Time),
        ("CreatorUserId", Number),
        ("Id", Number),
    ],
    more: &[],
};

const TASK_USER: &[Property] = &[
    ("name", Text),
    ("surname", Text),
    ("userName", Text),
    ("emailAddress", Text),
    ("displayName", Text),
    ("id", Number),
];

pub const TASK_USERS: EntitySet = EntitySet { name: "TaskUsers", properties: TASK_USER, more: &[] };

const TASK_STATUSES: &[&str] = &["Unassigned", "Pending", "Completed"];
const TASK_TYPES: &[&str] = &[
    "FormTask",
    "ExternalTask",
    "DocumentValidationTask",
    "DocumentClassificationTask",
    "DataLabelingTask",
    "AppTask",
];

pub const TASKS: EntitySet = EntitySet {
    name: "Tasks",
    properties: &[
        ("Status", Choice(TASK_STATUSES)),
        ("AssignedToUser", Part(TASK_USER)),
        ("TaskAssignmentCriteria", Choice(&["SingleUser", "Workload", "AllUsers", "Hierarchy"])),
        ("CreatorUser", Part(TASK_USER)),
        ("LastModifierUser", Part(TASK_USER)),
        ("TaskCatalogName", Text),
        ("IsCompleted", Flag),
        ("BulkFormLayoutId", Number),
        ("FormLayoutId", Number),
        ("Encrypted", Flag),
        ("Tags", Whole),
        ("Action", Text),
        ("Activities", Whole),
        ("TaskSlaDetail", Whole),
        ("TaskAssignments", Whole),
        ("TaskAssigneeName", Text),
        ("Title", Text),
        ("Type", Choice(TASK_TYPES)),
        ("Priority", Choice(&["Low", "Medium", "High", "Critical"])),
        ("AssignedToUserId", Number),
        ("OrganizationUnitId", Number),
        ("ExternalTag", Text),
        ("CreatorJobKey", Guid),
        ("WaitJobKey", Guid),
        ("LastAssignedTime", Time),
        ("CompletionTime", Time),
        ("ParentOperationId", Text),
        ("Key", Guid),
        ("IsDeleted", Flag),
        ("DeleterUserId", Number),
        ("DeletionTime", Time),
        ("LastModificationTime", Time),
        ("LastModifierUserId", Number),
        ("CreationTime", Time),
        ("CreatorUserId", Number),
        ("Id", Number),
    ],
    more: &[("PerformerItemKey", Guid), ("PerformerDeadline", Time), ("PerformerActions", Whole)],
};

pub const TASK_CATALOGS: EntitySet = EntitySet {
    name: "TaskCatalogs",
    properties: &[
        ("Key", Guid),
        ("Name", Text),
        ("Description", Text),
        ("CreationTime", Time),
        ("LastModificationTime", Time),
        ("FoldersCount", Number),
        ("Encrypted", Flag),
        ("Tags", Whole),
        ("RetentionAction", Choice(&["Delete", "Archive", "None"])),
        ("RetentionPeriod", Number),
        ("RetentionBucketId", Number),
        ("RetentionBucketName", Text),
        ("Id", Number),
    ],
    more: &[],
};

const TASK_NOTE: &[Property] = &[
    ("CreatorUser", Part(TASK_USER)),
    ("LastModifierUser", Part(TASK_USER)),
    ("Key", Guid),
    ("TenantId", Number),
    ("OrganizationUnitId", Number),
    ("TaskId", Number),
    ("Text", Text),
    ("CreatorUserId", Number),
    ("CreationTime", Time),
    ("Id", Number),
];

pub const TASK_NOTES: EntitySet = EntitySet { name: "TaskNotes", properties: TASK_NOTE, more: &[] };

pub const TASK_ACTIVITIES: EntitySet = EntitySet {
    name: "TaskActivities",
    properties: &[
        ("CreatorUser", Part(TASK_USER)),
        ("TargetUser", Part(TASK_USER)),
        ("Task", Whole),
        ("TaskNote", Part(TASK_NOTE)),
        ("Key", Guid),
        ("TenantId", Number),
        ("OrganizationUnitId", Number),
        ("TaskId", Number),
        ("TaskKey", Guid),
        (
            "ActivityType",
            Choice(&[
                "Created",
                "Assigned",
                "Reassigned",
                "Unassigned",
                "Saved",
                "Forwarded",
                "Completed",
                "Commented",
                "Deleted",
                "BulkSaved",
                "BulkCompleted",
                "FirstOpened",
            ]),
        ),
        ("CreatorUserId", Number),
        ("TargetUserId", Number),
        ("TaskNoteId", Number),
        ("CreationTime", Time),
        ("Id", Number),
    ],
    more: &[],
};

const ROBOT_TYPES: &[&str] = &[
    "NonProduction",
    "Attended",
    "Unattended",
    "Development",
    "Studio",
    "RpaDeveloper",
    "StudioX",
    "CitizenDeveloper",
    "Headless",
    "StudioPro",
    "RpaDeveloperPro",
    "TestAutomation",
    "AutomationCloud",
    "Serverless",
    "AutomationKit",
    "ServerlessTestAutomation",
    "AutomationCloudTestAutomation",
    "AttendedStudioWeb",
    "Hosting",
    "AssistantWeb",
    "ProcessOrchestration",
    "AgentService",
    "AppTest",
    "PerformanceTest",
];

/// Whether the vendor has a type of robots of this name.
pub fn is_robot_type(name: &str) -> bool {
    ROBOT_TYPES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

const ROBOT: &[Property] = &[
    ("LicenseKey", Text),
    ("MachineName", Text),
    ("MachineId", Number),
    ("Name", Text),
    ("Username", Text),
    ("ExternalName", Text),
    ("Description", Text),
    ("Type", Choice(ROBOT_TYPES)),
    ("HostingType", Choice(&["Standard", "Floating"])),
    ("ProvisionType", Choice(PROVISION_TYPES)),
    ("UserId", Number),
    ("Enabled", Flag),
    ("Id", Number),
];

pub const ROBOTS: EntitySet = EntitySet { name: "Robots", properties: ROBOT, more: &[] };

pub const RELEASES: EntitySet = EntitySet {
    name: "Releases",
    properties: &[
        ("Key", Guid),
        ("ProcessKey", Text),
        ("ProcessVersion", Text),
        ("IsLatestVersion", Flag),
        ("IsProcessDeleted", Flag),
        ("Description", Text),
        ("Name", Text),
        ("EntryPointId", Number),
        ("EntryPointPath", Text),
        ("InputArguments", Text),
        ("EnvironmentVariables", Text),
        ("ProcessType", Choice(&["Undefined", "Process"])),
        ("SupportsMultipleEntryPoints", Flag),
        ("RequiresUserInteraction", Flag),
        ("IsConversational", Flag),
        ("MinRequiredRobotVersion", Text),
        ("IsAttended", Flag),
        ("IsCompiled", Flag),
        ("AutomationHubIdeaUrl", Text),
        ("AutoUpdate", Flag),
        ("HiddenForAttendedUser", Flag),
        ("FeedId", Guid),
        ("JobPriority", Choice(&["Low", "Normal", "High"])),
        ("SpecificPriorityValue", Number),
        ("FolderKey", Guid),
        ("OrganizationUnitId", Number),
        ("OrganizationUnitFullyQualifiedName", Text),
        ("TargetFramework", Choice(&["Legacy", "Windows", "Portable"])),
        ("RobotSize", Choice(&["Small", "Standard", "Medium", "Large"])),
        ("Tags", Whole),
        ("RemoteControlAccess", Choice(&["None", "ReadOnly", "Full"])),
        ("LastModificationTime", Time),
        ("LastModifierUserId", Number),
        ("CreationTime", Time),
        ("CreatorUserId", Number),
        ("Id", Number),
        ("PerformerCommand", Whole),
    ],
    more: &[],
};

const MACHINE_SCOPES: &[&str] = &[
    "Default",
    "Shared",
    "PersonalWorkspace",
    "Cloud",
    "Serverless",
    "AutomationCloudRobot",
    "ElasticRobot",
    "ProcessOrchestration",
    "AgentService",
];

pub const MACHINES: EntitySet = EntitySet {
    name: "Machines",
    properties: &[
        ("LicenseKey", Text),
        ("Name", Text),
        ("Description", Text),
        ("Type", Choice(&["Standard", "Template"])),
        ("Scope", Choice(MACHINE_SCOPES)),
        ("NonProductionSlots", Number),
        ("UnattendedSlots", Number),
        ("HeadlessSlots", Number),
        ("TestAutomationSlots", Number),
        ("HostingSlots", Number),
        ("AppTestSlots", Number),
        ("PerformanceTestSlots", Number),
        ("AutomationCloudSlots", Number),
        ("AutomationCloudTestAutomationSlots", Number),
        ("Key", Guid),
        ("EndpointDetectionStatus", Choice(&["NotAvailable", "Mixed", "Enabled"])),
        ("RobotVersions", Whole),
        ("RobotUsers", Whole),
        ("AutomationType", Choice(&["Any", "Foreground", "Background"])),
        ("TargetFramework", Choice(&["Any", "Windows", "Portable"])),
        ("UpdatePolicy", Whole),
        ("ClientSecret", Text),
        ("Tags", Whole),
        ("MaintenanceWindow", Whole),
        ("VpnSettings", Whole),
        ("Id", Number),
        ("PerformerCreationTime", Time),
    ],
    more: &[],
};

const SESSION_STATES: &[&str] = &["Available", "Busy", "Disconnected", "Unknown"];
const PLATFORMS: &[&str] = &["Unknown", "Windows", "Linux", "OSX"];

const SESSION: &[Property] = &[
    ("Robot", Part(ROBOT)),
    ("HostMachineName", Text),
    ("MachineId", Number),
    ("MachineName", Text),
    ("State", Choice(SESSION_STATES)),
    ("Job", Whole),
    ("ReportingTime", Time),
    ("Info", Text),
    ("IsUnresponsive", Flag),
    ("LicenseErrorCode", Text),
    ("OrganizationUnitId", Number),
    ("FolderName", Text),
    ("RobotSessionType", Choice(&["LongLived", "Ephemeral"])),
    ("Version", Text),
    ("Source", Text),
    ("DebugModeExpirationDate", Time),
    ("UpdateInfo", Whole),
    ("InstallationId", Guid),
    ("Platform", Choice(PLATFORMS)),
    ("EndpointDetection", Text),
    ("Id", Number),
];

pub const SESSIONS: EntitySet = EntitySet { name: "Sessions", properties: SESSION, more: &[] };

pub const MACHINE_SESSIONS: EntitySet =
    EntitySet { name: "MachineSessions", properties: SESSION, more: &[("ServiceUserName", Text)] };

pub const MACHINE_SESSION_RUNTIMES: EntitySet = EntitySet {
    name: "MachineSessionRuntimes",
    properties: &[
        ("SessionId", Number),
        ("MachineId", Number),
        ("MachineName", Text),
        ("MaintenanceMode", Choice(&["Default", "Enabled"])),
        ("HostMachineName", Text),
        ("RuntimeType", Choice(ROBOT_TYPES)),
        ("MachineType", Choice(&["Standard", "Template"])),
        ("MachineScope", Choice(MACHINE_SCOPES)),
        ("Status", Choice(SESSION_STATES)),
        ("IsUnresponsive", Flag),
        ("Runtimes", Number),
        ("UsedRuntimes", Number),
        ("ServiceUserName", Text),
        ("ReportingTime", Time),
        ("Version", Text),
        ("DebugModeExpirationDate", Time),
        ("Platform", Choice(PLATFORMS)),
        ("EndpointDetection", Text),
        ("TriggersCount", Number),
    ],
    more: &[],
};

pub const MACHINE_RUNTIMES: EntitySet = EntitySet {
    name: "MachineRuntimes",
    properties: &[
        ("Type", Choice(ROBOT_TYPES)),
        ("Total", Number),
        ("Connected", Number),
        ("Available", Number),
    ],
    more: &[],
};

pub const JOBS: EntitySet = EntitySet {
    name: "Jobs",
    properties: &[
        ("Key", Guid),
        ("StartTime", Time),
        ("EndTime", Time),
        ("State", Choice(JOB_STATES)),
        ("SubState", Text),
        ("JobPriority", Choice(&["Low", "Normal", "High"])),
        ("SpecificPriorityValue", Number),
        ("Robot", Part(ROBOT)),
        ("ResourceOverwrites", Text),
        ("Source", Text),
        ("SourceType", Choice(&["Manual", "Schedule"])),
        ("BatchExecutionKey", Guid),
        ("Info", Text),
        ("CreationTime", Time),
        ("StartingScheduleId", Number),
        ("ReleaseName", Text),
        ("Type", Choice(&["Unattended", "Attended", "ServerlessGeneric"])),
        ("InputArguments", Text),
        ("InputFile", Guid),
        ("EnvironmentVariables", Text),
        ("OutputArguments", Text),
        ("OutputFile", Guid),
        ("HostMachineName", Text),
        ("HasMediaRecorded", Flag),
        ("HasVideoRecorded", Flag),
        ("PersistenceId", Guid),
        ("ResumeVersion", Number),
        ("StopStrategy", Choice(&["SoftStop", "Kill"])),
        ("RuntimeType", Choice(ROBOT_TYPES)),
        ("RequiresUserInteraction", Flag),
        ("ReleaseVersionId", Number),
        ("EntryPointPath", Text),
        ("OrganizationUnitId", Number),
        ("OrganizationUnitFullyQualifiedName", Text),
        ("Reference", Text),
        ("ProcessType", Choice(&["Undefined", "Process"])),
        ("ProfilingOptions", Text),
        ("ResumeOnSameContext", Flag),
        ("LocalSystemAccount", Text),
        ("OrchestratorUserIdentity", Text),
        ("RemoteControlAccess", Choice(&["None", "ReadOnly", "Full"])),
        ("StartingTriggerId", Guid),
        ("MaxExpectedRunningTimeSeconds", Number),
        ("ServerlessJobType", Text),
        ("ParentJobKey", Guid),
        ("ResumeTime", Time),
        ("LastModificationTime", Time),
        (
            "JobError",
            Part(&[
                ("code", Text),
                ("title", Text),
                ("detail", Text),
                ("category", Text),
                ("status", Number),
                ("timestamp", Time),
            ]),
        ),
        ("ErrorCode", Text),
        ("FpsProperties", Text),
        ("FpsContext", Text),
        ("TraceId", Text),
        ("ParentSpanId", Text),
        ("RootSpanId", Text),
        ("AutopilotForRobots", Whole),
        ("Id", Number),
    ],
    more: &[
        ("PerformerRobots", Number),
        ("PerformerProcessId", Number),
        ("PerformerVersion", Text),
        ("PerformerHeldUntil", Time),
    ],
};

pub const LOGS: EntitySet = EntitySet {
    name: "RobotLogs",
    properties: &[
        ("Level", Choice(&["Trace", "Debug", "Info", "Warn", "Error", "Fatal"])),
        ("WindowsIdentity", Text),
        ("ProcessName", Text),
        ("TimeStamp", Time),
        ("Message", Text),
        ("JobKey", Guid),
        ("RawMessage", Text),
        ("RobotName", Text),
        ("HostMachineName", Text),
        ("MachineId", Number),
        ("MachineKey", Guid),
        ("RuntimeType", Choice(ROBOT_TYPES)),
        ("Id", Number),
    ],
    more: &[],
};

pub const FOLDERS: EntitySet = EntitySet {
    name: "Folders",
    properties: &[
        ("Key", Guid),
        ("DisplayName", Text),
        ("FullyQualifiedName", Text),
        ("Description", Text),
        ("FolderType", Choice(&["Standard", "Personal", "Virtual", "Solution", "DebugSolution"])),
        ("IsPersonal", Flag),
        ("ProvisionType", Choice(PROVISION_TYPES)),
        ("PermissionModel", Choice(&["InheritFromTenant", "FineGrained"])),
        ("ParentId", Number),
        ("ParentKey", Guid),
        (
            "FeedType",
            Choice(&["Undefined", "Processes", "Libraries", "PersonalWorkspace", "FolderHierarchy"]),
        ),
        ("Id", Number),
    ],
    more: &[],
};

pub const USERS_OF_FOLDERS: EntitySet = EntitySet {
    name: "UserRoles",
    properties: &[
        (
            "UserEntity",
            Part(&[
                ("FullName", Text),
                ("AuthenticationSource", Text),
                ("UserName", Text),
                ("IsInherited", Flag),
                ("AssignedToFolderIds", Whole),
                ("MayHaveAttended", Flag),
                ("MayHaveUnattended", Flag),
                ("Type", Choice(USER_TYPES)),
                ("Source", Choice(&["Orchestrator", "Portal", "All"])),
                ("Id", Number),
            ]),
        ),
        ("Roles", Whole),
        ("HasAlertsEnabled", Flag),
        ("Id", Number),
    ],
    more: &[],
};

/// Documented parts of entities for which this server has no data. `$expand` accepts them; responses do not have them.
const WITHOUT_DATA: &[(&str, &[&str])] = &[
    (
        "Users",
        &[
            "LoginProviders",
            "OrganizationUnits",
            "RobotProvision",
            "UnattendedRobot",
            "NotificationSubscription",
            "UpdatePolicy",
        ],
    ),
    ("Robots", &["Environments", "ExecutionSettings", "License", "User"]),
    ("Jobs", &["Machine", "Release"]),
];

impl EntitySet {
    /// Whether `$expand` can name this part of an entity.
    pub(super) fn can_expand(&self, name: &str) -> bool {
        let without_data = WITHOUT_DATA.iter().filter(|(set, _)| *set == self.name);
        matches!(self.kind(name), Ok(Part(_) | Whole))
            || without_data.flat_map(|(_, names)| *names).any(|known| known.eq_ignore_ascii_case(name))
    }

    /// The type of the property at a case-insensitive path.
    ///
    /// # Errors
    ///
    /// Code 1000 with the name of an unknown property.
    pub(super) fn kind(&self, path: &str) -> Result<PropertyType, Refusal> {
        fn named<'a>(properties: impl IntoIterator<Item = &'a Property>, name: &str) -> Option<&'a Property> {
            properties.into_iter().find(|property| property.0.eq_ignore_ascii_case(name))
        }
        let mut names = path.split('/');
        let first = names.next().unwrap_or_default();
        let own = self.properties.iter().chain(self.more);
        let mut kind = named(own, first).ok_or_else(|| unknown_property(path))?.1;
        for name in names {
            let Part(properties) = kind else { return Err(unknown_property(path)) };
            kind = named(properties, name).ok_or_else(|| unknown_property(path))?.1;
        }
        Ok(kind)
    }

    /// Whether entities of the set have a property at this path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.kind(path).is_ok()
    }

    /// Refuses to sort by a property without an order.
    ///
    /// # Errors
    ///
    /// Code 1000 for an unknown property, or one without an order.
    pub(super) fn check_order(&self, path: &str) -> Result<(), Refusal> {
        match self.kind(path)? {
            Part(_) | Whole => Err(unknown_property(path)),
            _ => Ok(()),
        }
    }
}
