//! The rule that an administrator who can log in always remains: a change that would leave none is refused.

use std::collections::BTreeSet;

use super::{ADMINISTRATOR, Change, Directory, User, UserEdit};
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;

impl Directory {
    /// The active users who have the role Administrator in the tenant, and a password or an application that may change
    /// users. Personal access tokens do not count, because they expire.
    fn administrators(&self) -> impl Iterator<Item = &User> {
        let role = self.role_named(ADMINISTRATOR).map(|role| role.id);
        let applications: BTreeSet<i64> = self
            .clients
            .values()
            .filter(|client| client.scopes.cover("Users", true))
            .map(|client| client.user)
            .collect();
        self.users.values().filter(move |user| {
            let can_log_in =
                applications.contains(&user.id) || user.user_type.has_password() && user.password.is_some();
            user.is_active && can_log_in && role.is_some_and(|role| user.tenant_roles.contains(&role))
        })
    }

    /// Refuses a change after which no administrator could log in, if one can now.
    ///
    /// # Errors
    ///
    /// Code 1013.
    pub(super) fn keep_an_administrator(&self, change: &Change) -> Result<(), Refusal> {
        let role = self.role_named(ADMINISTRATOR).map(|role| role.id);
        let loses: &dyn Fn(&User) -> bool = match change {
            Change::EditUser { id, edit: UserEdit { is_active: Some(false), .. } }
            | Change::RemoveUser(id) => &move |user: &User| user.id == *id,
            Change::Assign { user: id, folder: None, roles } => {
                &move |user: &User| user.id == *id && role.is_none_or(|role| !roles.contains(&role))
            }
            Change::SetRole { user: id, role: lost, has: false } => {
                &move |user: &User| user.id == *id && role == Some(*lost)
            }
            Change::RemoveClient(id) => {
                &move |user: &User| self.clients.get(id).is_some_and(|client| client.user == user.id)
            }
            // Each kind of change is named, so that a new one is not allowed by accident. The role Administrator is built in
            // and can be neither edited nor removed.
            Change::AddFolder { .. }
            | Change::EditFolder { .. }
            | Change::MoveFolder { .. }
            | Change::RemoveFolder(_)
            | Change::AddUser(_)
            | Change::EditUser { .. }
            | Change::SetPassword { .. }
            | Change::AddRole { .. }
            | Change::EditRole { .. }
            | Change::RemoveRole(_)
            | Change::Assign { folder: Some(_), .. }
            | Change::SetRole { has: true, .. }
            | Change::AddRobot { .. }
            | Change::AddClient { .. } => return Ok(()),
        };
        let mut administrators = self.administrators().peekable();
        match administrators.peek().map(|user| user.user_name.clone()) {
            Some(last) if administrators.all(loses) => Err(Refusal::new(
                ErrorCode::new(1013),
                format!("{last:?} is the last administrator who can log in; make another one first"),
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::super::{NewUser, VIEWER};
    use super::*;
    use crate::permission::Scopes;
    use performer_core::model::user::UserType;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    struct Simulation(Directory);

    impl Simulation {
        fn role(&self, name: &str) -> i64 {
            self.0.role_named(name).unwrap().id
        }

        fn application(&mut self, id: &str, role: &str, scopes: &str) -> i64 {
            let mut user = NewUser::new(Uuid::nil(), id, UserType::DirectoryExternalApplication);
            user.tenant_roles.insert(self.role(role));
            let change = Change::AddClient {
                id: id.to_owned(),
                name: id.to_owned(),
                secret: "sha256:0".to_owned(),
                scopes: Scopes::parse(scopes).unwrap(),
                user: Box::new(user),
            };
            self.0.change(change, NOW).unwrap()
        }

        fn person(&mut self, name: &str, password: Option<&str>) -> i64 {
            let mut user = NewUser::new(Uuid::nil(), name, UserType::User);
            user.tenant_roles.insert(self.role(ADMINISTRATOR));
            user.password = password.map(str::to_owned);
            self.0.change(Change::AddUser(Box::new(user)), NOW).unwrap()
        }

        fn ways_out(&self, application: &str, user: i64) -> Vec<Change> {
            let viewer = self.role(VIEWER);
            let off = Change::EditUser { id: user, edit: UserEdit::active(false) };
            let assign =
                |roles: &[i64]| Change::Assign { user, folder: None, roles: roles.iter().copied().collect() };
            let take = Change::SetRole { user, role: self.role(ADMINISTRATOR), has: false };
            vec![Change::RemoveClient(application.to_owned()), off, assign(&[]), assign(&[viewer]), take]
        }
    }

    #[test]
    fn the_last_administrator_stays() {
        let mut tried = Simulation(Directory::new(Uuid::nil(), Uuid::nil()));
        let first = tried.application("first", ADMINISTRATOR, "OrchestratorApiUserAccess");
        // None of these users could replace the administrator.
        tried.application("viewer", VIEWER, "OrchestratorApiUserAccess");
        tried.application("narrow", ADMINISTRATOR, "OR.Queues OR.Users.Read");
        tried.person("without a password", None);
        let inactive = tried.person("inactive", Some("hash"));
        let off = Change::EditUser { id: inactive, edit: UserEdit::active(false) };
        tried.0.change(off, NOW).unwrap();
        for change in tried.ways_out("first", first) {
            let mut copy = tried.0.clone();
            let refusal = copy.change(change.clone(), NOW).unwrap_err();
            assert_eq!(refusal.code().number(), 1013, "{change:?}: {refusal}");
            assert!(copy.client("first").is_some() && copy.user(first) == tried.0.user(first), "{change:?}");
        }
        // If there is another administrator, each of these changes is allowed; then the other one is the last.
        let ann = tried.person("ann", Some("hash"));
        for change in tried.ways_out("first", first) {
            let mut copy = tried.0.clone();
            copy.change(change.clone(), NOW).unwrap();
            let last = Change::RemoveUser(ann);
            assert_eq!(copy.change(last, NOW).unwrap_err().code().number(), 1013, "after {change:?}");
        }
        // Changes that do not affect it are allowed: a role in a folder, another name.
        let shared = Some(performer_core::model::key::FolderId::SHARED);
        let in_folder = Change::Assign { user: first, folder: shared, roles: BTreeSet::new() };
        tried.0.change(in_folder, NOW).unwrap();
        let other_role = Change::SetRole { user: first, role: tried.role(VIEWER), has: false };
        tried.0.change(other_role, NOW).unwrap();
        let renamed = UserEdit { name: "First".to_owned().into(), ..UserEdit::default() };
        tried.0.change(Change::EditUser { id: first, edit: renamed }, NOW).unwrap();
        tried.0.change(Change::RemoveUser(inactive), NOW).unwrap();
    }

    #[test]
    fn a_directory_that_has_none_can_be_changed() {
        let mut tried = Simulation(Directory::new(Uuid::nil(), Uuid::nil()));
        let viewer = tried.application("viewer", VIEWER, "OrchestratorApiUserAccess");
        for change in tried.ways_out("viewer", viewer) {
            tried.0.clone().change(change, NOW).unwrap();
        }
    }
}
