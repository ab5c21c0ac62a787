//! The known members of request bodies, for strict mode: an old Orchestrator treats a body with an unknown field as null
//! (orchestrator-api 4.3).

use performer_wire::json::{self, Part};

/// The members of an object, and the shapes of nested objects.
pub(super) struct BodyShape {
    /// The name of the parameter in the error message.
    pub(super) name: &'static str,
    pub(super) members: &'static [&'static str],
    pub(super) inner: &'static [(&'static str, &'static BodyShape)],
}

impl BodyShape {
    /// Whether a body has only known members, compared in any case. Annotations are ignored.
    pub(super) fn accepts(&self, body: &[u8]) -> bool {
        self.has_only_known(Part(&json::text(body)))
    }

    fn has_only_known(&self, part: Part<'_>) -> bool {
        if self.members.is_empty() && self.inner.is_empty() {
            return true;
        }
        if part.is_array() {
            return part.elements().into_iter().all(|part| !part.is_array() && self.has_only_known(part));
        }
        part.members().into_iter().all(|(name, member)| {
            if name.contains('@') {
                return true;
            }
            match self.inner.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name)) {
                Some((_, shape)) => shape.has_only_known(member),
                None => self.members.iter().any(|known| known.eq_ignore_ascii_case(&name)),
            }
        })
    }
}

const fn flat(name: &'static str, members: &'static [&'static str]) -> BodyShape {
    BodyShape { name, members, inner: &[] }
}

const fn nested(
    name: &'static str,
    members: &'static [&'static str],
    inner: &'static [(&'static str, &'static BodyShape)],
) -> BodyShape {
    BodyShape { name, members, inner }
}

const ITEM: BodyShape = flat(
    "itemData",
    &[
        "Name",
        "Priority",
        "SpecificContent",
        "DeferDate",
        "DueDate",
        "RiskSlaDate",
        "Reference",
        "Progress",
        "Source",
        "ParentOperationId",
        "PerformerGroup",
    ],
);
pub(super) const RELEASE: BodyShape = flat(
    "releaseDto",
    &[
        "Key",
        "ProcessKey",
        "ProcessVersion",
        "IsLatestVersion",
        "IsProcessDeleted",
        "Description",
        "Name",
        "EntryPointId",
        "EntryPointPath",
        "EntryPoint",
        "InputArguments",
        "EnvironmentVariables",
        "ProcessType",
        "SupportsMultipleEntryPoints",
        "RequiresUserInteraction",
        "IsConversational",
        "MinRequiredRobotVersion",
        "IsAttended",
        "IsCompiled",
        "AutomationHubIdeaUrl",
        "CurrentVersion",
        "ReleaseVersions",
        "Arguments",
        "ProcessSettings",
        "VideoRecordingSettings",
        "AutoUpdate",
        "HiddenForAttendedUser",
        "FeedId",
        "JobPriority",
        "SpecificPriorityValue",
        "FolderKey",
        "OrganizationUnitId",
        "OrganizationUnitFullyQualifiedName",
        "TargetFramework",
        "RobotSize",
        "Tags",
        "RemoteControlAccess",
        "LastModificationTime",
        "LastModifierUserId",
        "CreationTime",
        "CreatorUserId",
        "Id",
        "PerformerCommand",
    ],
);
const START_INFO: BodyShape = flat(
    "startInfo",
    &[
        "ReleaseKey",
        "ReleaseName",
        "Strategy",
        "RobotIds",
        "MachineSessionIds",
        "NoOfRobots",
        "JobsCount",
        "Source",
        "JobPriority",
        "SpecificPriorityValue",
        "RuntimeType",
        "InputArguments",
        "InputFile",
        "EnvironmentVariables",
        "Reference",
        "MachineRobots",
        "Attachments",
        "TargetFramework",
        "ResumeOnSameContext",
        "BatchExecutionKey",
        "RequiresUserInteraction",
        "StopProcessExpression",
        "StopStrategy",
        "KillProcessExpression",
        "RemoteControlAccess",
        "AlertPendingExpression",
        "AlertRunningExpression",
        "RunAsMe",
        "ParentOperationId",
        "AutopilotForRobots",
        "ProfilingOptions",
        "FpsContext",
        "FpsProperties",
        "TraceId",
        "ParentSpanId",
        "RootSpanId",
        "EntryPointPath",
        "VideoRecordingSettings",
        "MachineInfraTarget",
    ],
);
pub(super) const START_JOBS: BodyShape = nested("startJobsRequest", &[], &[("startInfo", &START_INFO)]);
pub(super) const RESTART_JOB: BodyShape = flat("restartJobRequest", &["jobId"]);
pub(super) const RESUME_JOB: BodyShape = flat("resumeJobRequest", &["jobKey"]);
pub(super) const MACHINE: BodyShape = flat(
    "machineDto",
    &[
        "LicenseKey",
        "Name",
        "Description",
        "Type",
        "Scope",
        "NonProductionSlots",
        "UnattendedSlots",
        "HeadlessSlots",
        "TestAutomationSlots",
        "HostingSlots",
        "AppTestSlots",
        "PerformanceTestSlots",
        "AutomationCloudSlots",
        "AutomationCloudTestAutomationSlots",
        "Key",
        "EndpointDetectionStatus",
        "RobotVersions",
        "RobotUsers",
        "AutomationType",
        "TargetFramework",
        "ServerlessLicensingModel",
        "UpdatePolicy",
        "ClientSecret",
        "Tags",
        "MaintenanceWindow",
        "VpnSettings",
        "Id",
        "PerformerCreationTime",
    ],
);
pub(super) const DELETE_MACHINES: BodyShape = flat("machineDeleteBulkRequest", &["machineIds"]);
pub(super) const DELETE_SESSIONS: BodyShape = flat("deleteInactiveSessionsParameters", &["sessionIds"]);
pub(super) const MAINTENANCE: BodyShape =
    flat("sessionMaintenanceModeParameters", &["sessionId", "maintenanceMode", "stopJobsStrategy"]);
pub(super) const LOGS: BodyShape = flat("logs", &[]);
pub(super) const STOP_JOB: BodyShape = flat("stopJobRequest", &["strategy"]);
pub(super) const STOP_JOBS: BodyShape = flat("stopJobsRequest", &["jobIds", "strategy"]);
pub(super) const EDIT_ITEM: BodyShape = ITEM;
pub(super) const ADD_ITEM: BodyShape = nested("itemData", &[], &[("itemData", &ITEM)]);
pub(super) const BULK_ADD: BodyShape =
    nested("queueItems", &["queueName", "commitType"], &[("queueItems", &ITEM)]);
const TRANSACTION: BodyShape = flat(
    "transactionData",
    &[
        "Name",
        "RobotIdentifier",
        "SpecificContent",
        "DeferDate",
        "DueDate",
        "Reference",
        "ReferenceFilterOption",
        "ParentOperationId",
    ],
);
pub(super) const START_TRANSACTION: BodyShape =
    nested("transactionData", &[], &[("transactionData", &TRANSACTION)]);
const EXCEPTION: BodyShape =
    flat("ProcessingException", &["Reason", "Details", "Type", "AssociatedImageFilePath", "CreationTime"]);
const RESULT: BodyShape = nested(
    "transactionResult",
    &["IsSuccessful", "DeferDate", "DueDate", "Output", "Analytics", "Progress", "OperationId"],
    &[("ProcessingException", &EXCEPTION)],
);
pub(super) const SET_RESULT: BodyShape = nested("transactionResult", &[], &[("transactionResult", &RESULT)]);
pub(super) const PROGRESS: BodyShape = flat("progress", &["progress"]);
const VERSIONED: BodyShape = flat("queueItems", &["Id", "RowVersion"]);
pub(super) const BULK_ITEMS: BodyShape =
    nested("queueItems", &["status", "userId"], &[("queueItems", &VERSIONED)]);
pub(super) const COMMENT: BodyShape =
    flat("queueItemCommentDto", &["Text", "QueueItemId", "CreationTime", "UserId", "UserName", "Id"]);
const TAG: BodyShape = flat("Tags", &["Name", "DisplayName", "Value", "DisplayValue"]);
pub(super) const QUEUE: BodyShape = nested(
    "queueDefinitionDto",
    &[
        "Key",
        "Name",
        "Description",
        "MaxNumberOfRetries",
        "AcceptAutomaticallyRetry",
        "RetryAbandonedItems",
        "EnforceUniqueReference",
        "Encrypted",
        "SpecificDataJsonSchema",
        "OutputDataJsonSchema",
        "AnalyticsDataJsonSchema",
        "CreationTime",
        "ProcessScheduleId",
        "SlaInMinutes",
        "RiskSlaInMinutes",
        "ReleaseId",
        "IsProcessInCurrentFolder",
        "FoldersCount",
        "OrganizationUnitId",
        "OrganizationUnitFullyQualifiedName",
        "Id",
        "RetentionAction",
        "RetentionPeriod",
        "RetentionBucketId",
        "StaleRetentionAction",
        "StaleRetentionPeriod",
        "StaleRetentionBucketId",
        "PerformerAbandonAfterSeconds",
        "PerformerRetryDelay",
        "PerformerLimits",
    ],
    &[("Tags", &TAG)],
);
pub(super) const SHARE: BodyShape =
    flat("queueFoldersShare", &["QueueIds", "ToAddFolderIds", "ToRemoveFolderIds"]);
const VALUE_MEMBERS: &[&str] = &[
    "Name",
    "Id",
    "UserId",
    "UserName",
    "MachineId",
    "MachineName",
    "RobotId",
    "RobotName",
    "KeyTrail",
    "ValueType",
    "Value",
    "StringValue",
    "BoolValue",
    "IntValue",
    "CredentialUsername",
    "CredentialPassword",
    "SecretValue",
    "ExternalName",
    "CredentialStoreId",
];
const PAIR: BodyShape = flat("KeyValueList", &["Key", "Value"]);
const OWNED_VALUE: BodyShape = nested("UserValues", VALUE_MEMBERS, &[("KeyValueList", &PAIR)]);
pub(super) const ASSET: BodyShape = nested(
    "assetDto",
    &[
        "Key",
        "Name",
        "CanBeDeleted",
        "ValueScope",
        "ValueType",
        "Value",
        "StringValue",
        "BoolValue",
        "IntValue",
        "CredentialUsername",
        "CredentialPassword",
        "SecretValue",
        "ExternalName",
        "CredentialStoreId",
        "HasDefaultValue",
        "Description",
        "FoldersCount",
        "LastModificationTime",
        "LastModifierUserId",
        "CreationTime",
        "CreatorUserId",
        "Id",
    ],
    &[("KeyValueList", &PAIR), ("UserValues", &OWNED_VALUE), ("RobotValues", &OWNED_VALUE), ("Tags", &TAG)],
);
pub(super) const ROBOT_ASSET: BodyShape =
    flat("body", &["robotKey", "assetName", "supportsCredentialsProxyDisconnected"]);
const CONNECTION: BodyShape = flat("ConnectionData", &["url", "body", "bearerToken"]);
const USER_ASSET: BodyShape =
    nested("robotAsset", VALUE_MEMBERS, &[("KeyValueList", &PAIR), ("ConnectionData", &CONNECTION)]);
pub(super) const SET_ROBOT_ASSET: BodyShape = nested("body", &["robotKey"], &[("robotAsset", &USER_ASSET)]);
pub(super) const SHARE_ASSETS: BodyShape =
    flat("assetFoldersShare", &["AssetIds", "ToAddFolderIds", "ToRemoveFolderIds"]);
pub(super) const BUCKET: BodyShape = flat(
    "bucketDto",
    &[
        "Name",
        "Description",
        "Identifier",
        "StorageProvider",
        "StorageParameters",
        "StorageContainer",
        "Options",
        "CredentialStoreId",
        "ExternalName",
        "Password",
        "FoldersCount",
        "Tags",
        "Id",
    ],
);
pub(super) const SHARE_BUCKETS: BodyShape =
    flat("bucketFoldersShare", &["BucketIds", "ToAddFolderIds", "ToRemoveFolderIds"]);
const SUBSCRIPTION: BodyShape = flat("Events", &["EventType"]);
pub(super) const MARK_ALERTS: BodyShape = flat("ids", &["ids"]);
const ALERT: BodyShape = flat("processAlert", &["Message", "Severity", "RobotName", "ProcessName", "Id"]);
pub(super) const PROCESS_ALERT: BodyShape = nested("processAlert", &[], &[("processAlert", &ALERT)]);
pub(super) const WEBHOOK: BodyShape = nested(
    "webhookDto",
    &[
        "Key",
        "Name",
        "Description",
        "Url",
        "Enabled",
        "Secret",
        "SubscribeToAllEvents",
        "AllowInsecureSsl",
        "Id",
    ],
    &[("Events", &SUBSCRIPTION)],
);
/// Whatever a task has as its data.
const ANYTHING: BodyShape = BodyShape { name: "data", members: &[], inner: &[] };
const TASK_SOURCE: BodyShape =
    nested("taskSource", &["sourceName", "sourceId"], &[("taskSourceMetadata", &ANYTHING)]);
pub(super) const CREATE_TASK: BodyShape = nested(
    "task",
    &["type", "title", "priority", "taskCatalogName", "externalTag", "parentOperationId"],
    &[("data", &ANYTHING), ("tags", &TAG), ("taskSource", &TASK_SOURCE)],
);
pub(super) const COMPLETE_TASK: BodyShape = nested("task", &["taskId", "action"], &[("data", &ANYTHING)]);
pub(super) const SAVE_TASK_DATA: BodyShape = nested("task", &["taskId"], &[("data", &ANYTHING)]);
pub(super) const SAVE_TASK_TAGS: BodyShape = nested("task", &["taskId"], &[("tags", &TAG)]);
const ASSIGNMENT: BodyShape = flat(
    "taskAssignments",
    &[
        "TaskId",
        "UserId",
        "UserNameOrEmail",
        "AssignmentCriteria",
        "AssigneeNamesOrEmails",
        "AssigneeUserIds",
    ],
);
pub(super) const ASSIGN_TASKS: BodyShape =
    nested("taskAssignments", &[], &[("taskAssignments", &ASSIGNMENT)]);
pub(super) const UNASSIGN_TASKS: BodyShape = flat("taskIds", &["taskIds"]);
pub(super) const DELETE_TASKS: BodyShape = UNASSIGN_TASKS;
pub(super) const SAVE_AND_REASSIGN: BodyShape = nested(
    "task",
    &[
        "SaveData",
        "NoteText",
        "TaskId",
        "UserId",
        "UserNameOrEmail",
        "AssignmentCriteria",
        "AssigneeNamesOrEmails",
        "AssigneeUserIds",
    ],
    &[("Data", &ANYTHING)],
);
pub(super) const EDIT_TASK: BodyShape =
    flat("task", &["TaskId", "Title", "TaskCatalogId", "UnsetTaskCatalog", "Priority", "NoteText"]);
pub(super) const TASK_NOTE: BodyShape = flat("taskNote", &["TaskId", "Text"]);
pub(super) const TASK_CATALOG: BodyShape = nested(
    "taskCatalog",
    &["Name", "Description", "Encrypted", "RetentionAction", "RetentionPeriod", "RetentionBucketId"],
    &[("Tags", &TAG)],
);
pub(super) const SHARE_CATALOGS: BodyShape =
    flat("taskCatalogFoldersShare", &["TaskCatalogIds", "ToAddFolderIds", "ToRemoveFolderIds"]);
pub(super) const RETENTION: BodyShape =
    flat("queueRetentionSettingDto", &["QueueDefinitionId", "Action", "Period", "BucketId", "Type"]);
pub(super) const FOLDER: BodyShape = flat(
    "folderDto",
    &[
        "Key",
        "DisplayName",
        "FullyQualifiedName",
        "Description",
        "FolderType",
        "IsPersonal",
        "ProvisionType",
        "PermissionModel",
        "ParentId",
        "ParentKey",
        "FeedType",
        "Id",
    ],
);
/// Bodies of administration, whose members are not checked.
pub(super) const UNCHECKED: BodyShape = BodyShape { name: "body", members: &[], inner: &[] };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_found_at_every_level() {
        let accepts = |shape: &BodyShape, body: &str| shape.accepts(body.as_bytes());
        for (shape, body) in [
            (
                &ADD_ITEM,
                r##"{"itemData":{"Name":"q","Priority@odata.type":"#x","SpecificContent":{"x":1e400}}}"##,
            ),
            (&ADD_ITEM, r#"{"itemdata":{"name":"q","SPECIFICCONTENT":{"Nam":"cut \ud83d"}}}"#),
            (&BULK_ADD, r#"{"queueName":"q","queueItems":[{"Reference":"a"}]}"#),
            (&QUEUE, r#"{"Name":"q","Tags":[{"Name":"t"}]}"#),
            (&UNCHECKED, r#"{"any":[{"thing":1}]}"#),
        ] {
            assert!(accepts(shape, body), "{body}");
        }
        for (shape, body) in [
            (&ADD_ITEM, r#"{"itemData":{"Nam":"q"}}"#),
            (&ADD_ITEM, r#"{"item":{}}"#),
            (&BULK_ADD, r#"{"queueItems":[{"Reference":"a"},{"Cat":1}]}"#),
            (&BULK_ADD, r#"{"queueItems":[[{"Cat":1}]]}"#),
            (&SET_RESULT, r#"{"transactionResult":{"ProcessingException":{"Cause":"x"}}}"#),
            (&SET_RESULT, r#"{"transactionResult":{"processingexception":{"cause":"x"}}}"#),
        ] {
            assert!(!accepts(shape, body), "{body}");
        }
    }
}
