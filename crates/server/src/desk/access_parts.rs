//! What the pages of access show of the directory: rows of rights, roles, tokens and sessions.

use super::call::DeskCall;
use super::html::{self, Html};
use super::session::{began, digest_of_request};
use crate::api_error::ApiError;
use crate::directory::{Directory, User};
use crate::permission::{Area, Permission, Scopes};
use performer_core::model::key::FolderId;
use performer_store::Token;

/// The most rows of a list on these pages.
pub(super) const ROWS: usize = 200;

/// What somebody may do in a place.
pub(super) struct RightsRow {
    pub(super) place: String,
    pub(super) href: Option<String>,
    pub(super) roles: String,
    /// By area, such as "Queues: View, Edit".
    pub(super) rights: Vec<String>,
}

/// A role, as a choice or as a row.
pub(super) struct RoleChoice {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) is_chosen: bool,
}

/// A personal access token.
pub(super) struct TokenRow {
    pub(super) name: String,
    /// As it is named in a form.
    pub(super) value: String,
    pub(super) scopes: String,
    pub(super) expires: Html,
}

/// A session of the desk.
pub(super) struct SessionRow {
    /// The beginning of its digest, which names it in a form and tells nothing.
    pub(super) handle: String,
    pub(super) is_this: bool,
    pub(super) began: Html,
    pub(super) used: String,
    pub(super) ends: Html,
}

/// The tokens and sessions of a user.
pub(super) struct TokensPart {
    pub(super) tokens: Vec<TokenRow>,
    pub(super) sessions: Vec<SessionRow>,
    /// How many programs are logged in as the user.
    pub(super) logins: usize,
}

/// How much of a digest names a session.
const HANDLE: usize = 16;

pub(super) fn handle_of(digest: &str) -> &str {
    digest.get(..HANDLE).unwrap_or(digest)
}

/// The tokens of a user that are still good, with their digests.
pub(super) async fn good_tokens(call: &DeskCall, user: i64) -> Result<Vec<(String, Token)>, ApiError> {
    let now = call.now();
    let all = call.server.access.tokens_of(user).await?;
    Ok(all.into_iter().filter(|(_, token)| token.expires > now).collect())
}

/// Whether a token is that of a session of the desk.
pub(super) fn is_session(token: &Token) -> bool {
    Scopes::from(token.scopes.clone()).are_of_desk()
}

impl TokensPart {
    pub(super) async fn of(call: &DeskCall, user: i64) -> Result<Self, ApiError> {
        let own = digest_of_request(&call.server, &call.headers, call.is_secure);
        let mut part = Self { tokens: Vec::new(), sessions: Vec::new(), logins: 0 };
        for (digest, token) in good_tokens(call, user).await? {
            match &token.name {
                Some(name) => part.tokens.push(TokenRow {
                    name: html::line(name, 120),
                    value: name.clone(),
                    scopes: Scopes::from(token.scopes.clone()).to_string(),
                    expires: html::time(token.expires),
                }),
                None if is_session(&token) => {
                    let used = call.server.desk_sessions.idle_for(&digest, call.server.elapsed());
                    part.sessions.push(SessionRow {
                        handle: handle_of(&digest).to_owned(),
                        is_this: own.as_deref() == Some(&*digest),
                        began: html::time(began(token.expires)),
                        used: used.map_or_else(
                            || "not known here".to_owned(),
                            |ago| format!("{} ago", html::duration(ago)),
                        ),
                        ends: html::time(token.expires),
                    });
                }
                None => part.logins += 1,
            }
        }
        Ok(part)
    }
}

/// Names of roles, in one line.
pub(super) fn role_names<'a>(directory: &Directory, roles: impl IntoIterator<Item = &'a i64>) -> String {
    let names = roles.into_iter().filter_map(|id| directory.role(*id)).map(|role| html::line(&role.name, 60));
    names.collect::<Vec<_>>().join(", ")
}

/// Permissions by area.
pub(super) fn by_area(permissions: impl IntoIterator<Item = Permission>) -> Vec<String> {
    let mut lines: Vec<(Area, Vec<&str>)> = Vec::new();
    for Permission(area, action) in permissions {
        match lines.last_mut() {
            Some((last, actions)) if *last == area => actions.push(action.name()),
            _ => lines.push((area, vec![action.name()])),
        }
    }
    lines.into_iter().map(|(area, actions)| format!("{area}: {}", actions.join(", "))).collect()
}

/// What a user may do: in the tenant, and in each folder where it has other roles, or that `is_listed`.
pub(super) fn rights(
    directory: &Directory,
    user: &User,
    is_linked: impl Fn(FolderId) -> bool,
) -> Vec<RightsRow> {
    let tenant = RightsRow {
        place: "The whole tenant".to_owned(),
        href: None,
        roles: role_names(directory, &user.tenant_roles),
        rights: by_area(directory.permissions(user, None)),
    };
    let folders = directory.folders().filter(|folder| directory.is_assigned(user, folder.id));
    let row = |id: FolderId| {
        let own = user.folder_roles.get(&id.0);
        let inherited = own.is_none().then(|| "as above it, or as in the tenant".to_owned());
        RightsRow {
            place: html::line(&directory.full_name(id), 120),
            href: is_linked(id).then(|| format!("/desk/access/folders/{id}")),
            roles: inherited.unwrap_or_else(|| role_names(directory, own.into_iter().flatten())),
            rights: by_area(directory.permissions(user, Some(id))),
        }
    };
    std::iter::once(tenant).chain(folders.take(ROWS).map(|folder| row(folder.id))).collect()
}

/// All roles as choices.
pub(super) fn role_choices(directory: &Directory, is_chosen: impl Fn(i64) -> bool) -> Vec<RoleChoice> {
    let choice = |role: &crate::directory::Role| RoleChoice {
        id: role.id,
        name: html::line(&role.name, 60),
        is_chosen: is_chosen(role.id),
    };
    directory.roles().map(choice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_told_by_area() {
        let of = |texts: &[&str]| {
            texts.iter().map(|text| text.parse().unwrap()).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(
            by_area(of(&["Transactions.Reveal", "Queues.View", "Queues.Edit"])),
            ["Queues: View, Edit", "Transactions: Reveal"]
        );
        assert_eq!((handle_of("0123456789abcdef0123"), handle_of("short")), ("0123456789abcdef", "short"));
    }
}
