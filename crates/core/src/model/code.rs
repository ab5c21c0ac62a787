//! The Orchestrator's numeric error codes (orchestrator-api 5.3).
//!
//! A code is a number with, if known, a name and a text. A code that is not in the table is kept: servers are newer
//! than clients.

use std::fmt;

/// One numeric error code of the Orchestrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(u16);

impl ErrorCode {
    /// 1000: The request is not valid.
    pub const INVALID_REQUEST: Self = Self(1000);
    /// 1001: The name is already used.
    pub const NAME_ALREADY_USED: Self = Self(1001);
    /// 1002: The queue, item or job does not exist.
    pub const ITEM_NOT_FOUND: Self = Self(1002);
    /// 1004: The folder has something of this name already.
    pub const ITEM_ALREADY_EXISTS: Self = Self(1004);
    /// 1007: The caller may not change it: a comment of another user.
    pub const ERROR_UPDATING: Self = Self(1007);
    /// 1009: An argument is not valid.
    pub const INVALID_ARGUMENT: Self = Self(1009);
    /// 1010: The database was busy; repeating the call may help.
    pub const SQL_ACQUIRE_LOCK_FAILURE: Self = Self(1010);
    /// 1014: A parameter is missing.
    pub const PARAMETER_MISSING: Self = Self(1014);
    /// 1015: A parameter is outside its range.
    pub const PARAMETER_INVALID: Self = Self(1015);
    /// 1016: The queue enforces unique references, and has this one.
    pub const DUPLICATE_REFERENCE: Self = Self(1016);
    /// 1017: Not allowed.
    pub const FORBIDDEN_OPERATION: Self = Self(1017);
    /// 1019: The feature is switched off.
    pub const FEATURE_DISABLED: Self = Self(1019);
    /// 1020: The item changed since it was read.
    pub const OPTIMISTIC_CONCURRENCY: Self = Self(1020);
    /// 1021: A secret could not be encrypted or decrypted.
    pub const ENCRYPTION_EXCEPTION: Self = Self(1021);
    /// 1024: This field cannot be changed.
    pub const FIELD_NOT_EDITABLE: Self = Self(1024);
    /// 1025: Not available now.
    pub const SERVICE_UNAVAILABLE: Self = Self(1025);
    /// 1100: The folder does not exist, or the caller is not assigned to it.
    pub const INVALID_ORGANIZATION_UNIT: Self = Self(1100);
    /// 1101: The call needs a folder and has none.
    pub const REQUIRED_ORGANIZATION_UNIT: Self = Self(1101);
    /// 1222: A robot is gone: an alert.
    pub const DISCONNECTED_ROBOT: Self = Self(1222);
    /// 1223: A robot does not report: an alert.
    pub const UNRESPONSIVE_ROBOT: Self = Self(1223);
    /// 1204: A machine needs a name.
    pub const MACHINE_NAME_REQUIRED: Self = Self(1204);
    /// 1206: A machine whose agents run jobs cannot be deleted.
    pub const CANNOT_DELETE_BUSY_ROBOT: Self = Self(1206);
    /// 1300: What is asked for does not fit the state of something.
    pub const SERVER_CONFLICT: Self = Self(1300);
    /// 1302: What the call needs is missing, such as a robot for the caller.
    pub const UNAVAILABLE_RESOURCES: Self = Self(1302);
    /// 1405: The password is not acceptable.
    pub const INVALID_PASSWORD: Self = Self(1405);
    /// 1406: A static role cannot be deleted.
    pub const CANNOT_DELETE_STATIC_ROLE: Self = Self(1406);
    /// 1407: The caller may not edit this user.
    pub const USER_NOT_EDITABLE: Self = Self(1407);
    /// 1412: A static role cannot be edited.
    pub const ROLE_IS_NOT_EDITABLE: Self = Self(1412);
    /// 1414: The name of a user cannot be changed.
    pub const CANNOT_UPDATE_USERNAME: Self = Self(1414);
    /// 1500: A credential needs a password for a new user.
    pub const CREDENTIAL_ASSET_EMPTY_PASSWORD_FOR_NEW_USER: Self = Self(1500);
    /// 1501: A credential needs a password for a new robot.
    pub const CREDENTIAL_ASSET_EMPTY_FOR_NEW_ROBOT: Self = Self(1501);
    /// 1502: The type of an asset cannot change.
    pub const ASSET_TYPE_NON_UPDATABLE: Self = Self(1502);
    /// 1503: The asset has no value for this robot.
    pub const ASSET_NOT_AVAILABLE_FOR_ROBOT: Self = Self(1503);
    /// 1504: There is no asset of this name.
    pub const ASSET_NOT_FOUND: Self = Self(1504);
    /// 1658: Only a Running, Pending or Stopping job can be stopped.
    pub const JOB_CANNOT_BE_CANCELLED: Self = Self(1658);
    /// 1659: Only a job that has not ended can be terminated.
    pub const JOB_CANNOT_BE_TERMINATED: Self = Self(1659);
    /// 1661: The process of a job does not exist any more.
    pub const PROCESS_NOT_FOUND: Self = Self(1661);
    /// 1666: Jobs of the process have not ended.
    pub const HAS_RUNNING_JOBS: Self = Self(1666);
    /// 1670: Too many jobs wait already.
    pub const PENDING_JOBS_ALREADY_EXIST: Self = Self(1670);
    /// 1674: There is no process with this key.
    pub const INVALID_RELEASE_KEY: Self = Self(1674);
    /// 1671: A robot that is named has no agent that is connected.
    pub const INVALID_START_JOB_ROBOT_IDS: Self = Self(1671);
    /// 1678: No agent is connected.
    pub const NO_ROBOTS_AVAILABLE: Self = Self(1678);
    /// 1800: There is no key to encrypt or decrypt a secret with.
    pub const ENCRYPTION_KEY_NOT_FOUND: Self = Self(1800);
    /// 1801: The key for secrets has not the form of one.
    pub const ENCRYPTION_KEY_INCORRECT_FORMAT: Self = Self(1801);
    /// 1850: The queue takes only items with a reference.
    pub const TRANSACTION_REFERENCE_REQUIRED: Self = Self(1850);
    /// 1851: Progress was sent for an item that is not InProgress.
    pub const INVALID_TRANSACTION_PROGRESS_STATUS: Self = Self(1851);
    /// 1852: A result was sent for an item that was not started.
    pub const TRANSACTION_NOT_STARTED: Self = Self(1852);
    /// 1853: The user may not review.
    pub const REVIEWER_NOT_AVAILABLE: Self = Self(1853);
    /// 1680: A job has faulted: an alert.
    pub const JOB_EXECUTION_FAULTED: Self = Self(1680);
    /// 1855: This setting of a queue can no longer change.
    pub const QUEUE_DEFINITION_PARAMETERS_CANNOT_CHANGE: Self = Self(1855);
    /// 1856: An item failed with an application exception for the last time: an alert.
    pub const QUEUE_PROCESSING_APPLICATION_EXCEPTION: Self = Self(1856);
    /// 1857: Content, output or analytics do not fit the queue's JSON schema.
    pub const QUEUE_ITEM_SCHEMA_VIOLATION: Self = Self(1857);
    /// 1863: Items may miss the SLA of their queue: an alert.
    pub const QUEUE_SLA_AT_PREDICTED_RISK: Self = Self(1863);
    /// 1864: Items have missed the SLA of their queue: an alert.
    pub const QUEUE_SLA_PREDICTED_BREACH: Self = Self(1864);
    /// 1865: SpecificContent is larger than 256,000 code units.
    pub const QUEUE_ITEM_CONTENT_SIZE_EXCEEDED: Self = Self(1865);
    /// 1866: A result was sent for an item that is final or Abandoned.
    pub const QUEUE_ITEM_INVALID_TRANSITION_FROM_FINAL_STATUS: Self = Self(1866);
    /// 1867: The item cannot be reviewed or retried in its status.
    pub const QUEUE_ITEM_INVALID_STATUS_FOR_RETRY: Self = Self(1867);
    /// 1868: Output is larger than 51,200 code units.
    pub const QUEUE_ITEM_OUTPUT_DATA_SIZE_EXCEEDED: Self = Self(1868);
    /// 1869: Analytics are larger than 5,120 code units.
    pub const QUEUE_ITEM_ANALYTICS_DATA_SIZE_EXCEEDED: Self = Self(1869);
    /// 1870: Reason or details are larger than 102,400 code units.
    pub const QUEUE_PROCESSING_EXCEPTION_FIELD_SIZE_EXCEEDED: Self = Self(1870);
    /// 1871: Progress is larger than 104,857 code units.
    pub const QUEUE_ITEM_PROGRESS_DATA_SIZE_EXCEEDED: Self = Self(1871);

    /// Whether it is about encryption: a secret or a key for secrets cannot be used.
    pub fn is_of_encryption(self) -> bool {
        [Self::ENCRYPTION_EXCEPTION, Self::ENCRYPTION_KEY_NOT_FOUND, Self::ENCRYPTION_KEY_INCORRECT_FORMAT]
            .contains(&self)
    }

    /// The code with this number, known or not.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The name, empty for a code that is not in the table. Most names are known by their position in the vendor's
    /// enumeration only (orchestrator-api 5.3).
    pub fn name(self) -> &'static str {
        self.row().map_or("", |row| row.1)
    }

    /// The published text, empty where none was published. Words in square brackets stand for a
    /// value of the occasion.
    pub fn text(self) -> &'static str {
        self.row().map_or("", |row| row.2)
    }

    /// The code with this name, for answers that contain names and no numbers.
    pub fn of_name(name: &str) -> Option<Self> {
        let row = TABLE.iter().find(|row| !name.is_empty() && row.1.eq_ignore_ascii_case(name))?;
        Some(Self(row.0))
    }

    /// Every code of the table, in the order of the numbers.
    pub fn known() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| Self(row.0))
    }

    fn row(self) -> Option<&'static (u16, &'static str, &'static str)> {
        TABLE.binary_search_by_key(&self.0, |row| row.0).ok().map(|at| &TABLE[at])
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Number, name, text; in the order of the numbers.
#[rustfmt::skip]
const TABLE: &[(u16, &str, &str)] = &[
    (1000, "InvalidRequest", "Invalid request! Invalid username/email address or password. Invalid OData query options."),
    (1001, "NameAlreadyUsed", "The name [CustomNameYouAdded] is already used."),
    (1002, "ItemNotFound", "Robot does not exist."),
    (1003, "StringProtectFailed", "Protect call failed for provided string."),
    (1004, "ItemAlreadyExists", ""),
    (1005, "ErrorDeleting", ""),
    (1006, "ErrorInserting", ""),
    (1007, "ErrorUpdating", ""),
    (1008, "ErrorSendingEmail", ""),
    (1009, "InvalidArgument", "Invalid argument [ArgumentName]."),
    (1010, "SqlAcquireLockFailure", ""),
    (1011, "LibrariesFeedInUse", "Cannot open libraries feed. Try again later."),
    (1012, "HasDependentItems", ""),
    (1013, "ItemIsInUse", "Package is referred in active processes and cannot be deleted."),
    (1014, "ParameterMissing", "Parameter [ParameterName] is missing."),
    (1015, "ParameterInvalid", "Parameter [ParameterName] is invalid. Value should be between 0 and 168."),
    (1016, "DuplicateReference", "Error creating [ReferenceName]. Duplicate Reference. (Example: Error creating UiPath.Core.Model.Queues.UiQueueItem. Duplicate Reference.)"),
    (1017, "ForbiddenOperation", "Downloading the specified package is not allowed. Terms and Conditions must be accepted."),
    (1018, "InvalidUser", "Cannot connect to AD domain. User does not exist."),
    (1019, "FeatureDisabled", ""),
    (1020, "OptimisticConcurrency", ""),
    (1021, "EncryptionException", ""),
    (1024, "FieldNotEditable", "'[FieldName]' is not editable."),
    (1025, "ServiceUnavailable", ""),
    (1050, "InvalidAuditRelationship", "Cannot include specified relationship."),
    (1100, "InvalidOrganizationUnit", "The user is no longer associated with the organization unit."),
    (1101, "RequiredOrganizationUnit", "A folder is required for this action."),
    (1102, "OrganizationUnitNotEditable", "The organization unit doesn't exist or is no longer associated with the user."),
    (1200, "MachineAlreadyPairedWithDifferentLicenseKey", "There is already a robot on this machine with a different license key."),
    (1201, "NoAvailableLicenses", ""),
    (1202, "HasAttachedRobots", "The machine [MachineName] cannot be deleted because it has robots attached to it."),
    (1203, "InvalidMachineKey", "Invalid license key. The machine key is linked to another machine!"),
    (1204, "MachineNameRequired", ""),
    (1205, "UserNameRequired", "Username is required if the password is set."),
    (1206, "CannotDeleteBusyRobot", "Busy robots cannot be modified or deleted."),
    (1207, "MachineNameCannotChange", ""),
    (1208, "MachineLicenseCannotChange", "MachineLicenseCannotChange;InvalidNonProductionMachineSlots;InvalidUnattendedMachineSlots."),
    (1209, "CannotUpdateBusyRobot", "Cannot update the Username, Machine or Type of a busy Robot!"),
    (1222, "DisconnectedRobot", ""),
    (1223, "UnresponsiveRobot", ""),
    (1250, "EnvironmentDeploymentConflict", ""),
    (1300, "ServerConflict", ""),
    (1301, "ActionAlreadyPerformed", ""),
    (1302, "UnavailableResources", ""),
    (1400, "UserIsDeleted", ""),
    (1401, "UserIsLockedOut", ""),
    (1403, "ChangePassword", "Change Password"),
    (1404, "PasswordExpired", "The password has expired."),
    (1405, "InvalidPassword", ""),
    (1406, "CannotDeleteStaticRole", ""),
    (1407, "UserNotEditable", ""),
    (1408, "DomainUnreachable", ""),
    (1409, "PasswordResetFailed", ""),
    (1410, "ConfirmEmailFailed", "Email confirmation failed."),
    (1411, "CannotUsePreviousPassword", ""),
    (1412, "RoleIsNotEditable", ""),
    (1413, "UserNotFoundInDomain", ""),
    (1414, "CannotUpdateUsername", "Cannot update the username!"),
    (1415, "InvalidLoginMethod", ""),
    (1500, "CredentialAssetEmptyPasswordForNewUser", "Credential asset cannot have an empty password for a new user."),
    (1501, "CredentialAssetEmptyForNewRobot", "Credential asset cannot have an empty password for a new robot."),
    (1502, "AssetTypeNonUpdatable", "The asset type cannot be updated."),
    (1503, "AssetNotAvailableForRobot", "The asset does not have a value associated with this robot."),
    (1504, "AssetNotFound", ""),
    (1600, "InvalidCron", "Invalid cron expression syntax."),
    (1601, "ScheduleWillNeverRun", ""),
    (1650, "DownloadUnavailable", ""),
    (1651, "CannotConnectToPackagesRepository", "Cannot connect to packages feed, the URL may be invalid."),
    (1652, "NotSupportedByExternalFeeds", "Not supported by External Feeds."),
    (1653, "ErrorDownloading", ""),
    (1654, "InvalidPackageDetails", "Invalid package details!"),
    (1655, "TenantFeedInUse", "Cannot open the package feed. Try again later."),
    (1656, "InvalidProcessKey", ""),
    (1657, "JobTypeCannotBeStopped", ""),
    (1658, "JobCannotBeCancelled", "Cannot cancel a job with status [Status]. This can only be applied to Running, Pending or Stopping jobs."),
    (1659, "JobCannotBeTerminated", "Cannot terminate a job with status [Status]. This can only be applied to Running, Pending or Stopping jobs."),
    (1660, "VersionNotFound", "The job's package [PackageName], version [VersionNumber] could not be found."),
    (1661, "ProcessNotFound", "ProcessNotFound,PackageNotFound.The associated process no longer exists."),
    (1662, "HasAttachedProcesses", ""),
    (1663, "InvalidExtension", ""),
    (1664, "InvalidPackageCount", ""),
    (1665, "PreviousVersionNotFound", ""),
    (1666, "HasRunningJobs", ""),
    (1667, "TenantNotFound", "Tenant not found."),
    (1670, "PendingJobsAlreadyExist", "The robots already have pending jobs for this process."),
    (1671, "InvalidStartJobRobotIds", "The specified robot(s) id(s) are invalid."),
    (1672, "UnregisteredCannotStartJobs", "Starting jobs is not possible. A valid license is required."),
    (1673, "LicenseExpiredCannotStartJobs", "License expired, starting jobs is no longer possible."),
    (1674, "InvalidReleaseKey", "Undefined process."),
    (1675, "InvalidPackageVersion", "Invalid package version."),
    (1676, "TenantIsDisabled", "Tenant [NameOfTenant] is disabled!"),
    (1677, "PackageNotFound", "PackageNotFound"),
    (1678, "NoRobotsAvailable", ""),
    (1679, "PathTooLong", "PathTooLong"),
    (1680, "JobExecutionFaulted", ""),
    (1700, "CyberArkEditPasswordNotAllowed", ""),
    (1750, "LogMessageNotFound", ""),
    (1800, "EncryptionKeyNotFound", ""),
    (1801, "EncryptionKeyIncorrectFormat", "Configured encryption key is not in a valid Base64 format."),
    (1850, "TransactionReferenceRequired", "Error creating Transaction. Reference is required for Unique Reference Queues."),
    (1851, "InvalidTransactionProgressStatus", ""),
    (1852, "TransactionNotStarted", ""),
    (1853, "ReviewerNotAvailable", ""),
    (1855, "QueueDefinitionParametersCannotChange", ""),
    (1856, "QueueProcessingApplicationException", ""),
    (1857, "QueueItemSchemaViolationException", ""),
    (1858, "InvalidQueueSchemaDefinition", ""),
    (1859, "InvalidQueueSchemaDefinitionChange", ""),
    (1860, "InvalidQueueSchemaType", ""),
    (1861, "QueueSchemaDefinitionNotFound", ""),
    (1862, "SlaEnableQueueDefinitionFailure", ""),
    (1863, "QueueSlaAtPredictedRisk", ""),
    (1864, "QueueSlaPredictedBreach", ""),
    (1865, "QueueItemContentSizeExceeded", ""),
    (1866, "QueueItemInvalidTransitionFromFinalStatus", ""),
    (1867, "QueueItemInvalidStatusForRetry", ""),
    (1868, "QueueItemOutputDataSizeExceeded", ""),
    (1869, "QueueItemAnalyticsDataSizeExceeded", ""),
    (1870, "QueueProcessingExceptionFieldSizeExceeded", ""),
    (1871, "QueueItemProgressDataSizeExceeded", ""),
    (1872, "InvalidTransactionExternalResult", ""),
    (1900, "LicenseNotFound", "License not found."),
    (1901, "LicenseExpired", "License expired!"),
    (1902, "LicenseAlreadyInUse", "The license is already in use!"),
    (1903, "InvalidLicenseFormat", "Invalid license format."),
    (1904, "LicenseLimitExceeded", ""),
    (1905, "UnattendedLicenseLimitExceeded", ""),
    (1906, "NonProductionLicenseLimitExceeded", ""),
    (1907, "AttendedLicenseLimitExceeded", ""),
    (1908, "DevelopmentLicenseLimitExceeded", ""),
    (1909, "RobotFailedToAcquireLicense", ""),
    (1910, "NonProductionSlotsLimitExceeded", ""),
    (1911, "UnattendedSlotsLimitExceeded", ""),
    (1912, "LicenseUnregistered", ""),
    (1913, "LicenseNotAvailable", ""),
    (1914, "NotEnoughAvailableSlots", "Robot Licensing Failed. There are no available licenses on the server."),
    (1915, "NotEnoughRuntimeLicenses", "Robot Licensing Failed. There are no available licenses on the server."),
    (1916, "SlotsExceedLicenseLimit", "No available licenses: the number of new machine slots would exceed the total license count."),
    (1917, "NotEnoughAvailableLicenses", "There are not enough {0"),
    (1918, "HostLicenseLimitExceeded", ""),
    (1919, "NoHostLicense", ""),
    (1920, "LicenseNewInvalidArguments", ""),
    (4502, "ExportTenantDailyLimitReached", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_has_no_number_twice() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(ErrorCode::known().count(), TABLE.len());
    }

    /// The names are those of the vendor's enumeration, at their places in its order.
    #[test]
    fn every_code_has_a_name_of_its_own() {
        let mut names: Vec<&str> = TABLE.iter().map(|row| row.1).collect();
        assert!(names.iter().all(|name| !name.is_empty()));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
        for (number, name) in [
            (1008, "ErrorSendingEmail"),
            (1011, "LibrariesFeedInUse"),
            (1050, "InvalidAuditRelationship"),
            (1102, "OrganizationUnitNotEditable"),
            (1208, "MachineLicenseCannotChange"),
            (1222, "DisconnectedRobot"),
            (1250, "EnvironmentDeploymentConflict"),
            (1403, "ChangePassword"),
            (1405, "InvalidPassword"),
            (1406, "CannotDeleteStaticRole"),
            (1407, "UserNotEditable"),
            (1412, "RoleIsNotEditable"),
            (1414, "CannotUpdateUsername"),
            (1501, "CredentialAssetEmptyForNewRobot"),
            (1600, "InvalidCron"),
            (1657, "JobTypeCannotBeStopped"),
            (1667, "TenantNotFound"),
            (1680, "JobExecutionFaulted"),
            (1750, "LogMessageNotFound"),
            (1859, "InvalidQueueSchemaDefinitionChange"),
            (1916, "SlotsExceedLicenseLimit"),
            (1920, "LicenseNewInvalidArguments"),
        ] {
            assert_eq!(ErrorCode::new(number).name(), name, "{number}");
        }
    }

    #[test]
    fn the_queue_block_is_the_one_of_the_contract() {
        let numbers: Vec<u16> =
            ErrorCode::known().map(ErrorCode::number).filter(|n| (1850..1900).contains(n)).collect();
        let expected: Vec<u16> = (1850..=1872).filter(|n| *n != 1854).collect();
        assert_eq!(numbers, expected, "1854 is retired");
        assert_eq!(ErrorCode::new(1866).name(), "QueueItemInvalidTransitionFromFinalStatus");
        assert_eq!(
            ErrorCode::TRANSACTION_REFERENCE_REQUIRED.text(),
            "Error creating Transaction. Reference is required for Unique Reference Queues."
        );
    }

    #[test]
    fn an_unknown_code_survives() {
        let code = ErrorCode::new(9999);
        assert_eq!((code.number(), code.name(), code.text()), (9999, "", ""));
        assert_eq!(code.to_string(), "9999");
        assert_eq!(ErrorCode::of_name("duplicatereference"), Some(ErrorCode::DUPLICATE_REFERENCE));
        assert_eq!((ErrorCode::of_name(""), ErrorCode::of_name("x")), (None, None));
    }
}
