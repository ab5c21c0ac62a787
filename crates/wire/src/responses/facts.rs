//! What a server says about itself: settings, licences, the tenant, counts, and the entries of its audit.

use performer_core::model::audit::{Act, AuditRecord, FieldChange};
use performer_core::model::user::UserType;
use serde_json::{Value, json};

use super::super::ApiTime;
use super::access::TenantView;

/// A setting of the whole server.
pub fn setting(name: &str, value: &str) -> Value {
    json!({ "Name": name, "Value": value, "Scope": "Application", "Id": name })
}

/// Names and values, as two lists.
pub fn dictionary(entries: &[(&str, String)]) -> Value {
    let (names, values): (Vec<_>, Vec<_>) = entries.iter().map(|(name, value)| (*name, value)).unzip();
    json!({ "Keys": names, "Values": values })
}

/// What activities of the vendor ask: the version of the API. There are no notifications.
pub fn activity_settings(api_version: &str) -> Value {
    json!({ "ApiVersion": api_version, "SignalR": null })
}

/// Names for people, with their values for programs.
pub fn named_values(entries: &[(&str, &str)]) -> Value {
    let items = entries.iter().map(|(name, value)| json!({ "Name": name, "Value": value }));
    json!({ "Items": items.collect::<Vec<_>>() })
}

/// Languages by code and name; the first one is the default.
pub fn languages(entries: &[(&str, &str)]) -> Value {
    let items = entries.iter().enumerate().map(|(place, (code, name))| {
        json!({ "Name": code, "DisplayName": name, "Icon": null, "IsDefault": place == 0, "IsDisabled": false })
    });
    json!({ "Items": items.collect::<Vec<_>>() })
}

/// The settings of robots of a scope, of which there are none.
pub fn execution_settings(scope: &str) -> Value {
    json!({ "Scope": scope, "Configuration": [] })
}

/// The licence of a server that needs none: it is in force, and limits nothing. What a licence would number is null.
pub fn no_license_needed() -> Value {
    json!({
        "Id": 0, "ExpireDate": null, "GracePeriodEndDate": null, "GracePeriod": null, "VersionControl": null, "Allowed": {},
        "Used": {}, "AttendedConcurrent": false, "DevelopmentConcurrent": false, "StudioXConcurrent": false,
        "StudioProConcurrent": false, "LicensedFeatures": [], "IsRegistered": true, "IsCommunity": false,
        "IsProOrEnterprise": false, "SubscriptionCode": null, "SubscriptionPlan": null, "IsExpired": false,
        "CreationTime": null, "Code": null, "UserLicensingEnabled": false,
    })
}

/// The tenant. Who administers it is a matter of roles, and when somebody logged in is not recorded.
pub fn tenant(tenant: &TenantView<'_>) -> Value {
    json!({
        "Name": tenant.name, "Key": tenant.key, "DisplayName": tenant.name, "AdminEmailAddress": null, "AdminName": null,
        "AdminSurname": null, "AdminUserKey": null, "AdminPassword": null, "LastLoginTime": null, "IsActive": true,
        "License": null, "OrganizationName": null, "Id": tenant.id,
    })
}

/// How many of something there are.
pub fn count(title: &str, count: u64, may_view: bool) -> Value {
    json!({ "title": title, "count": count, "hasPermissions": may_view })
}

/// What an entry of the audit says of its actor besides the name that it recorded.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditActor<'a> {
    /// `None` if the user does not exist any more, or there was none.
    pub user_type: Option<UserType>,
    /// The id of the application that acted.
    pub client: Option<&'a str>,
    pub is_deleted: bool,
}

/// An entry of the audit; its `Entities` are those of [`audit_details`].
pub fn audit_log(record: &AuditRecord, actor: AuditActor<'_>) -> Value {
    let entry = &record.entry;
    let (component, action) = vendor_names(entry.act, &entry.subject);
    let who = entry.actor.user_name.as_deref();
    json!({
        "ServiceName": null, "MethodName": entry.act.name(), "Parameters": null, "ExecutionTime": ApiTime(entry.time),
        "Action": action, "Component": component, "DisplayName": entry.subject,
        "EntityId": entry.items.first().map(|item| item.0),
        "OperationText": format!("{}: {}, {}", who.unwrap_or("-"), entry.act.name(), entry.subject),
        "UserName": who, "UserType": actor.user_type.map(UserType::name), "ExternalClientId": actor.client,
        "UserId": entry.actor.user_id, "UserIsDeleted": actor.is_deleted, "Id": record.id,
    })
}

/// The numbers of the details of one entry; an entry has fewer items.
const DETAILS_OF_ENTRY: u64 = 1_000_000;

/// What an entry of the audit changed: one row for each item, or one for all that it changed elsewhere.
pub fn audit_details(record: &AuditRecord) -> Vec<Value> {
    let entry = &record.entry;
    let (_, action) = vendor_names(entry.act, &entry.subject);
    let custom = (!entry.changes.is_empty()).then(|| Value::from(text_of(&entry.changes)));
    let row = |place: u64, item: Option<i64>| {
        json!({
            "AuditLogId": record.id, "CustomData": custom, "EntityId": item, "EntityName": entry.subject,
            "Action": action, "Id": record.id * DETAILS_OF_ENTRY + place,
        })
    };
    if entry.items.is_empty() {
        return vec![row(0, None)];
    }
    (0..).zip(&entry.items).map(|(place, item)| row(place, Some(item.0))).collect()
}

fn text_of(changes: &[FieldChange]) -> String {
    serde_json::to_string(changes).unwrap_or_default()
}

/// The component and the action of acts by the vendor's names.
const VENDOR_NAMES: &[(Act, &str, &str)] = &[
    (Act::QueueCreated, "Queues", "Create"),
    (Act::QueueEdited, "Queues", "Update"),
    (Act::QueueDeleted, "Queues", "Delete"),
    (Act::LimitsEdited, "Queues", "Update"),
    (Act::QueueShared, "Queues", "Associate"),
    (Act::ItemEdited, "Queues", "Update"),
    (Act::ItemsDeleted, "Queues", "Delete"),
    (Act::ItemsReviewed, "Queues", "ChangeStatus"),
    (Act::ReviewerSet, "Queues", "Assign"),
    (Act::CommentAdded, "Comments", "Create"),
    (Act::CommentEdited, "Comments", "Update"),
    (Act::ContentPurged, "Queues", "Delete"),
    (Act::ItemAbandoned, "Queues", "ChangeStatus"),
    (Act::JobStopped, "Jobs", "StopJob"),
    (Act::ReasonEdited, "Queues", "Update"),
    (Act::OperationStarted, "Queues", "Start"),
    (Act::OperationStopped, "Queues", "End"),
    (Act::OperationResumed, "Queues", "Start"),
    (Act::ViewEdited, "Queues", "Update"),
    (Act::AssetCreated, "Assets", "Create"),
    (Act::AssetEdited, "Assets", "Update"),
    (Act::AssetDeleted, "Assets", "Delete"),
    (Act::AssetShared, "Assets", "Associate"),
    (Act::EncryptionKeyChanged, "Secrets", "Update"),
    (Act::WebhookCreated, "Webhooks", "Create"),
    (Act::WebhookEdited, "Webhooks", "Update"),
    (Act::WebhookDeleted, "Webhooks", "Delete"),
    (Act::WebhookRetried, "Webhooks", "Start"),
    (Act::BucketCreated, "Buckets", "Create"),
    (Act::BucketEdited, "Buckets", "Update"),
    (Act::BucketDeleted, "Buckets", "Delete"),
    (Act::BucketShared, "Buckets", "Associate"),
    (Act::BucketFileRead, "Buckets", "Download"),
    (Act::BucketFileDeleted, "Buckets", "DeleteBlobFile"),
    (Act::ProcessCreated, "Processes", "Create"),
    (Act::ProcessEdited, "Processes", "Update"),
    (Act::ProcessDeleted, "Processes", "Delete"),
    (Act::JobsStarted, "Jobs", "StartJob"),
    (Act::MachineCreated, "Machines", "Create"),
    (Act::MachineEdited, "Machines", "Update"),
    (Act::MachineDeleted, "Machines", "Delete"),
    (Act::TaskCreated, "Tasks", "Create"),
    (Act::TaskAssigned, "Tasks", "Assign"),
    (Act::TaskEdited, "Tasks", "Save"),
    (Act::TaskCompleted, "Tasks", "Update"),
    (Act::TaskDeleted, "Tasks", "Delete"),
    (Act::CatalogEdited, "TaskCatalogs", "Update"),
];

/// The component and the action of an act; Unknown where the vendor has no name for it, as for a reveal of personal fields.
fn vendor_names(act: Act, subject: &str) -> (&'static str, &'static str) {
    if act == Act::AccessChanged {
        return access_names(subject);
    }
    let found = VENDOR_NAMES.iter().find(|(known, ..)| *known == act);
    found.map_or(("Unknown", "Unknown"), |(_, component, action)| (*component, *action))
}

/// As [`vendor_names`], of a change of users, roles and folders, whose subject begins with what it is: `user ann added`.
fn access_names(subject: &str) -> (&'static str, &'static str) {
    let component = match subject.split(' ').next().unwrap_or_default() {
        "folder" => "Folders",
        "role" => "Roles",
        "robot" => "Robots",
        _ => "Users",
    };
    let action = match subject.rsplit(' ').next().unwrap_or_default() {
        "added" => "Create",
        "removed" | "revoked" | "ended" => "Delete",
        _ => "Update",
    };
    (component, action)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::odata::{QueryOptions, entity_set};

    /// Every name of an act is one that the vendor has, so that lists can be filtered by it.
    #[test]
    fn acts_have_names_of_the_vendor() {
        let subjects = ["folder F added", "role R", "robot r removed", "user u", "tokens of user u revoked"];
        for act in Act::ALL {
            for subject in subjects {
                let (component, action) = vendor_names(*act, subject);
                let filter = format!("Component eq '{component}' and Action eq '{action}'");
                let options = QueryOptions::read([("$filter", &*filter)].into_iter()).unwrap();
                let row = json!({ "Component": component, "Action": action });
                let page = options.page(&entity_set::AUDIT_LOGS, vec![row], 10).unwrap();
                assert_eq!(page.0.len(), 1, "{act} {filter}");
            }
        }
        let unnamed: Vec<&str> = Act::ALL
            .iter()
            .filter(|act| vendor_names(**act, "user u").0 == "Unknown")
            .map(|act| act.name())
            .collect();
        assert_eq!(unnamed, ["PersonalRevealed"]);
        assert_eq!(vendor_names(Act::AccessChanged, "folder F added"), ("Folders", "Create"));
        assert_eq!(vendor_names(Act::AccessChanged, "role R"), ("Roles", "Update"));
        assert_eq!(vendor_names(Act::AccessChanged, "tokens of user u revoked"), ("Users", "Delete"));
    }
}
