//! Permissions of roles, and scopes of tokens (orchestrator-api 1.2, 6 and 10).
//!
//! A call needs both: a token whose scopes cover it, and a user whose roles in the folder have the permissions of the
//! operation.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use performer_core::enumeration;
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_wire::responses::PermissionView;

enumeration! {
    /// What a permission is about. The numbers are ours.
    pub Area {
        /// Queues.
        Queues = 0,
        /// Items.
        Transactions = 1,
        /// Folders.
        Units = 2,
        /// Folders below one where the caller has the permission.
        SubFolders = 3,
        /// Users.
        Users = 4,
        /// Roles.
        Roles = 5,
        /// Robots.
        Robots = 6,
        /// Jobs.
        Jobs = 7,
        /// Settings of the tenant.
        Settings = 8,
        /// The audit: what people changed.
        Audit = 9,
        /// Assets.
        Assets = 10,
        /// Robot logs.
        Logs = 11,
        /// Webhooks.
        Webhooks = 12,
        /// Licences, of which this server has none: there is nothing to see but that.
        License = 13,
        /// Alerts.
        Alerts = 14,
        /// Storage buckets.
        Buckets = 15,
        /// The files of storage buckets.
        BlobFiles = 16,
        /// Machines and the agents that run jobs on them.
        Machines = 17,
        /// Processes.
        Processes = 18,
        /// Tasks: what people are asked.
        Tasks = 19,
        /// Catalogs of tasks.
        TaskCatalogs = 20,
    }
}

enumeration! {
    /// What a permission allows. The numbers are ours.
    pub Action {
        /// Read.
        View = 0,
        /// Create.
        Create = 1,
        /// Change.
        Edit = 2,
        /// Delete.
        Delete = 3,
        /// See what is masked: the personal fields of items. Of [`Area::Transactions`] alone.
        Reveal = 4,
    }
}

/// One permission, such as `Queues.View`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Permission(pub Area, pub Action);

impl Permission {
    /// Every permission.
    pub fn all() -> impl Iterator<Item = Self> {
        let all = Area::ALL.iter().flat_map(|area| Action::ALL.iter().map(|action| Self(*area, *action)));
        all.filter(|permission| permission.exists())
    }

    /// Whether something needs it.
    fn exists(self) -> bool {
        match (self.0, self.1) {
            (_, Action::Reveal) => self.0 == Area::Transactions,
            (Area::License, _) => self.1 == Action::View,
            (Area::Alerts, _) => matches!(self.1, Action::View | Action::Create),
            _ => true,
        }
    }

    /// What responses show of it. Its number is ours.
    pub(crate) fn view(self) -> PermissionView {
        let Self(area, action) = self;
        let is_of_folders = matches!(
            area,
            Area::Queues
                | Area::Transactions
                | Area::SubFolders
                | Area::Jobs
                | Area::Robots
                | Area::Processes
                | Area::Tasks
                | Area::TaskCatalogs
        );
        let id = i64::from(area.number()) * 10 + i64::from(action.number()) + 1;
        PermissionView { id, name: self.to_string(), is_of_folders }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for Permission {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let parts = text.split_once('.').and_then(|(area, action)| {
            let area = Area::ALL.iter().find(|known| known.name().eq_ignore_ascii_case(area))?;
            let action = Action::ALL.iter().find(|known| known.name().eq_ignore_ascii_case(action))?;
            Some(Self(*area, *action)).filter(|permission| permission.exists())
        });
        parts.ok_or_else(|| {
            let message =
                format!("{text:?} is no permission; they are called as in Queues.View or Transactions.Edit");
            Refusal::new(ErrorCode::INVALID_ARGUMENT, message)
        })
    }
}

impl Serialize for Permission {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The areas of scopes (orchestrator-api 1.2).
const SCOPE_AREAS: [&str; 16] = [
    "Administration",
    "Assets",
    "Audit",
    "Execution",
    "Folders",
    "Jobs",
    "License",
    "Machines",
    "Monitoring",
    "Queues",
    "Robots",
    "Settings",
    "Tasks",
    "Users",
    "Webhooks",
    "Default",
];

/// The scope that robots ask for: everything.
const USER_ACCESS: &str = "OrchestratorApiUserAccess";

/// The scope of a session of the desk.
const DESK: &str = "Desk";

/// The scope of a link that signs somebody in to the desk.
const DESK_LINK: &str = "DeskLink";

/// The scopes of a token or an application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(BTreeSet<String>);

impl From<BTreeSet<String>> for Scopes {
    fn from(scopes: BTreeSet<String>) -> Self {
        Self(scopes)
    }
}

impl From<Scopes> for BTreeSet<String> {
    fn from(scopes: Scopes) -> Self {
        scopes.0
    }
}

impl Scopes {
    /// Every scope: the token may do whatever the user may.
    pub fn all() -> Self {
        Self([USER_ACCESS.to_owned()].into())
    }

    /// The scope of a session of the desk, which allows nothing in the API and cannot be asked for.
    pub(crate) fn of_desk() -> Self {
        Self([DESK.to_owned()].into())
    }

    /// Whether these are the scopes of a session of the desk.
    pub(crate) fn are_of_desk(&self) -> bool {
        self.0.contains(DESK)
    }

    /// The scope of a link that signs somebody in to the desk: it begins one session, and allows nothing else.
    pub(crate) fn of_desk_link() -> Self {
        Self([DESK_LINK.to_owned()].into())
    }

    /// Whether these are the scopes of a link to the desk.
    pub(crate) fn are_of_desk_link(&self) -> bool {
        self.0.contains(DESK_LINK)
    }

    /// Parses scopes, separated by spaces or commas.
    ///
    /// # Errors
    ///
    /// Code 1009 for an unknown scope, and for none.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let words = text.split([' ', ',', '+']).filter(|word| !word.is_empty());
        let scopes: Result<BTreeSet<String>, Refusal> = words.map(known).collect();
        let scopes = scopes?;
        if scopes.is_empty() {
            return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, "no scope is named, as in OR.Queues"));
        }
        Ok(Self(scopes))
    }

    /// Whether these scopes cover reading or writing in an area.
    pub fn cover(&self, area: &str, write: bool) -> bool {
        let covers = |scope: &String| {
            scope == USER_ACCESS
                || scope.strip_prefix("OR.").and_then(|rest| rest.strip_prefix(area)).is_some_and(|access| {
                    access.is_empty() || access == if write { ".Write" } else { ".Read" }
                })
        };
        self.0.iter().any(covers)
    }

    /// Whether they allow whatever the user may do.
    pub fn are_all(&self) -> bool {
        self.0.iter().any(|scope| scope == USER_ACCESS)
    }

    /// Whether these scopes cover all of those.
    pub fn include(&self, others: &Self) -> bool {
        others.0.iter().all(|scope| {
            if scope == USER_ACCESS {
                return self.0.contains(USER_ACCESS);
            }
            let (area, access) = parts(scope);
            match access {
                "" => self.cover(area, false) && self.cover(area, true),
                access => self.cover(area, access == ".Write"),
            }
        })
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.0.iter().map(String::as_str).collect();
        f.write_str(&words.join(" "))
    }
}

/// The area of a scope, and `.Read`, `.Write` or nothing.
fn parts(scope: &str) -> (&str, &str) {
    let rest = scope.strip_prefix("OR.").unwrap_or(scope);
    rest.find('.').map_or((rest, ""), |at| rest.split_at(at))
}

/// The canonical spelling of a scope, ignoring case.
fn known(word: &str) -> Result<String, Refusal> {
    if word.eq_ignore_ascii_case(USER_ACCESS) {
        return Ok(USER_ACCESS.to_owned());
    }
    let of_orchestrator = word.get(..3).is_some_and(|prefix| prefix.eq_ignore_ascii_case("OR."));
    let (area, access) = if of_orchestrator { parts(&word[3..]) } else { ("", "") };
    let area = SCOPE_AREAS.iter().find(|known| known.eq_ignore_ascii_case(area));
    let access = ["", ".Read", ".Write"].into_iter().find(|known| known.eq_ignore_ascii_case(access));
    match (area, access) {
        (Some(area), Some(access)) => Ok(format!("OR.{area}{access}")),
        _ => {
            let message = format!("{word:?} is no scope; they are called as in OR.Queues or OR.Queues.Read");
            Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_is_read_as_it_is_written() {
        for permission in Permission::all() {
            assert_eq!(permission.to_string().parse(), Ok(permission));
        }
        assert_eq!("queues.view".parse(), Ok(Permission(Area::Queues, Action::View)));
        for wrong in ["", "Queues", "Queues.", "Queues.Look", "Queues.Reveal", "Cats.View", "0.0"] {
            assert!(wrong.parse::<Permission>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn scopes_cover_what_they_name() {
        let scopes = Scopes::parse("or.queues.read OR.Jobs").unwrap();
        assert_eq!(scopes.to_string(), "OR.Jobs OR.Queues.Read");
        assert!(scopes.cover("Queues", false) && !scopes.cover("Queues", true));
        assert!(scopes.cover("Jobs", false) && scopes.cover("Jobs", true));
        assert!(!scopes.cover("Folders", false) && !scopes.cover("Que", false));
        assert!(Scopes::all().cover("Folders", true));
        for wrong in ["", "OR.", "OR.Cats", "OR.Queues.Look", "Queues", "ÖR.Queues"] {
            assert!(Scopes::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_gets_no_more_than_its_application_has() {
        let of = |text| Scopes::parse(text).unwrap();
        assert!(of("OR.Queues").include(&of("OR.Queues.Read OR.Queues.Write OR.Queues")));
        assert!(of("OR.Queues.Read OR.Queues.Write").include(&of("OR.Queues")));
        assert!(!of("OR.Queues.Read").include(&of("OR.Queues")));
        assert!(!of("OR.Queues").include(&of("OR.Jobs.Read")));
        assert!(!of("OR.Queues").include(&Scopes::all()) && Scopes::all().include(&of("OR.Jobs")));
    }
}
