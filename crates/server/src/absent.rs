//! What this server deliberately does not have of the vendor's API: it is answered 404, like any unknown path, and with the reason.
//! `docs/guide/server.md` has the same table.

use super::api_error::ApiError;
use super::router::RequestPath;

/// Operations of the vendor's API, and why they are not here.
pub(super) struct Absent {
    /// Paths below `/odata`, or below `/`; `Entity` stands for all of its operations.
    pub(super) paths: &'static [&'static str],
    pub(super) why: &'static str,
}

pub(super) const ABSENT: &[Absent] = &[
    Absent {
        paths: &["Processes", "Libraries", "api/PackageFeeds"],
        why: "This server keeps no packages: programs are deployed to the machines that run them.",
    },
    Absent {
        paths: &[
            "Releases/RollbackToPreviousReleaseVersion",
            "Releases/RollbackToPreviousReleaseVersionByKey",
            "Releases/UpdateByKey",
            "Releases/UpdateToLatestPackageVersion",
            "Releases/UpdateToLatestPackageVersionBulk",
            "Releases/UpdateToLatestPackageVersionBulkByKey",
            "Releases/UpdateToLatestPackageVersionByKey",
            "Releases/UpdateToSpecificPackageVersion",
            "Releases/UpdateToSpecificPackageVersionByKey",
        ],
        why: "A process of this server is a command line and has no versions: change its command.",
    },
    Absent {
        paths: &["Sessions/GetUsernames", "Sessions/ToggleMachineSessionDebugMode"],
        why: "The agents of this server have no users of the operating system to sign in, and no debug mode.",
    },
    Absent {
        paths: &["Environments", "OrganizationUnits"],
        why: "This server has no classic folders and environments: use Folders.",
    },
    Absent {
        paths: &["PersonalWorkspaces"],
        why: "This server has no personal workspaces: give each person a folder.",
    },
    Absent {
        paths: &[
            "TestCaseDefinitions",
            "TestCaseExecutions",
            "TestDataQueueItems",
            "TestDataQueues",
            "TestSetExecutions",
            "TestSetSchedules",
            "TestSets",
            "api/TestAutomation",
            "api/TestDataQueueActions",
        ],
        why: "This server has no test automation: performers are tested as programs.",
    },
    Absent {
        paths: &["BusinessRules", "ExecutionMedia", "api/Translations"],
        why: "This server has none of the vendor's business rules, recordings and translated pages.",
    },
    Absent {
        paths: &["api/DirectoryService", "Folders/AssignDomainUser"],
        why: "This server asks no directory of a domain: create the users, and use Folders/AssignUsers.",
    },
    Absent {
        paths: &["TaskDefinitions", "TaskRetention", "forms/TaskForms", "tasks/AppTasks"],
        why: "This server has tasks without the vendor's forms and apps: use GenericTasks and Tasks.",
    },
    Absent {
        paths: &["api/Licensing", "LicensesRuntime/ToggleEnabled"],
        why: "This server has no licences to acquire, release or switch on.",
    },
    Absent {
        paths: &["api/Maintenance"],
        why: "This server has no maintenance mode: stop it, or pause its queues.",
    },
    Absent {
        paths: &[
            "Settings/DeleteBulk",
            "Settings/GetAuthenticationSettings",
            "Settings/GetCalendar",
            "Settings/GetSecureStoreConfiguration",
            "Settings/GetUpdateSettings",
            "Settings/SetCalendar",
            "Settings/UpdateBulk",
            "Settings/UpdateUserSetting",
            "Settings/VerifySmtpSetting",
        ],
        why: "The settings of this server are options of the command that starts it: they are not changed over the API.",
    },
    Absent {
        paths: &["Users/ChangeCulture", "Users/ChangeUserCulture"],
        why: "This server speaks English alone.",
    },
    Absent {
        paths: &["AuditLogs/Export"],
        why: "The audit is exported by the command performer audit export, with its chain of digests.",
    },
    Absent {
        paths: &["api/Status/VerifyHostAvailibility"],
        why: "This server connects to no address that a caller names.",
    },
];

/// The answer to a path without a route: 404, with the reason if there is one.
pub(super) fn no_route(target: &RequestPath) -> ApiError {
    let mut failure = ApiError::no_route();
    if let Some(why) = reason(target) {
        why.clone_into(&mut failure.message);
    }
    failure
}

fn reason(target: &RequestPath) -> Option<&'static str> {
    let is_meant = |path: &&str| {
        let path = path.to_ascii_lowercase();
        let rest = path.strip_prefix(target.entity.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('/') == Some(target.action.as_str()))
    };
    ABSENT.iter().find(|absent| absent.paths.iter().any(is_meant)).map(|absent| absent.why)
}

#[cfg(test)]
mod tests {
    use super::super::routes::ROUTES;
    use super::*;

    fn paths() -> impl Iterator<Item = &'static str> {
        ABSENT.iter().flat_map(|absent| absent.paths).copied()
    }

    #[test]
    fn nothing_that_is_absent_has_a_route() {
        for path in paths() {
            let path = path.to_ascii_lowercase();
            let served = ROUTES.iter().find(|route| {
                let entity = route.entity.to_ascii_lowercase();
                path == entity || path == format!("{entity}/{}", route.action.to_ascii_lowercase())
            });
            assert!(served.is_none(), "{path} is served: {}", served.unwrap().name);
        }
    }

    #[test]
    fn the_guide_names_what_is_absent_and_why() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/server.md");
        let page = std::fs::read_to_string(page).unwrap();
        for Absent { paths, why } in ABSENT {
            let listed: Vec<String> = paths.iter().map(|path| format!("`{path}`")).collect();
            let row = format!("| {} | {why} |", listed.join(", "));
            assert!(page.contains(&row), "docs/guide/server.md lacks this row:\n{row}");
        }
    }

    #[test]
    fn a_reason_is_told_of_every_operation_of_a_resource() {
        let why = |path: &str| no_route(&RequestPath::parse(path).unwrap()).message;
        for path in [
            "/odata/Libraries",
            "/odata/libraries('Acme')",
            "/a/b/orchestrator_/odata/Processes/UiPath.Server.Configuration.OData.UploadPackage",
        ] {
            assert!(why(path).contains("no packages"), "{path}");
        }
        assert!(why("/api/DirectoryService/GetDomains").contains("domain"));
        assert!(why("/odata/Users(5)/UiPathODataSvc.ChangeUserCulture").contains("English"));
        for path in [
            "/odata/Nothing",
            "/odata/LibrariesX",
            "/odata/Users/UiPathODataSvc.Change",
            "/api/Status/Verify",
        ] {
            assert_eq!(why(path), ApiError::no_route().message, "{path}");
        }
    }
}
