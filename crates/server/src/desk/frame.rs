//! What all pages have around them: navigation, folders, the user, the theme, and a note about what was just done.

use super::assets::{ASSETS, Assets};
use super::call::DeskCall;
use super::html::{self, Html};
use super::session::cookie;
use super::{DeskMode, ROOT};

/// A link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) href: String,
    pub(super) text: String,
    pub(super) is_current: bool,
}

/// The parts around a page.
pub(super) struct Frame {
    pub(super) assets: &'static Assets,
    /// `light`, `dark`, or empty for the theme of the system.
    pub(super) theme: &'static str,
    /// The name of the signed-in user.
    pub(super) user: Option<String>,
    pub(super) navigation: Vec<Link>,
    /// The folders to choose from, if there are several.
    pub(super) folders: Vec<Link>,
    /// What was just done.
    pub(super) note: Option<String>,
    /// The address of this page.
    pub(super) address: String,
    /// When the page was made.
    pub(super) now: Option<Html>,
    pub(super) is_read_only: bool,
    /// The pages are of an Orchestrator elsewhere: what only a store of ours has is left out.
    pub(super) is_remote: bool,
    /// The address of the stream of events; empty for a page that has none.
    pub(super) events: String,
    /// After how many seconds a browser without JavaScript loads the page again.
    pub(super) refresh: Option<u32>,
}

/// The sections of the navigation.
const SECTIONS: &[(&str, &str)] = &[
    (ROOT, "Start"),
    ("/desk/review", "Review"),
    ("/desk/items", "Items"),
    ("/desk/queues", "Queues"),
    ("/desk/reasons", "Reasons"),
    ("/desk/operations", "Operations"),
    ("/desk/jobs", "Jobs"),
    ("/desk/alerts", "Alerts"),
    ("/desk/deadlines", "Deadlines"),
    ("/desk/tasks", "Tasks"),
    ("/desk/assets", "Assets"),
    ("/desk/webhooks", "Webhooks"),
    ("/desk/audit", "Audit"),
    ("/desk/access", "Access"),
    ("/desk/health", "Health"),
];

/// Sections that have no folders.
const OF_TENANT: [&str; 5] =
    ["/desk/access", "/desk/alerts", "/desk/audit", "/desk/health", "/desk/webhooks"];

/// The path of the stream of events.
pub(super) const EVENTS: &str = "/desk/events";
/// The cookie that remembers the theme.
pub(super) const THEME_COOKIE: &str = "desk-theme";
/// The cookie with what was just done: a word of [`NOTES`] and a number.
pub(super) const NOTE_COOKIE: &str = "desk-note";

/// What a form can have done. The cookie has only the word, so that no URL or cookie can put a text into a page.
const NOTES: &[(&str, &str)] = &[
    ("verified", "verified"),
    ("in-review", "in review"),
    ("unreviewed", "not in review any more"),
    ("retried", "retried: a copy of each is New"),
    ("assigned", "assigned"),
    ("unassigned", "without a reviewer"),
    ("deleted", "deleted"),
    ("purged", "without its content"),
    ("edited", "changed"),
    ("corrected", "New, with the corrections"),
    ("commented", "commented"),
    ("comment-edited", "with a changed comment"),
    ("comment-deleted", "without the comment"),
    ("paused", "paused"),
    ("resumed", "resumed"),
    ("limited", "with new limits"),
    ("noted", "noted"),
    ("stopping", "asked to stop"),
    ("killing", "asked to stop at once"),
    ("user-added", "the user is added"),
    ("user-enabled", "the user is enabled"),
    ("user-disabled", "the user is disabled"),
    ("user-removed", "the user is removed"),
    ("password-set", "the password is set"),
    ("roles-set", "the roles are set"),
    ("view-saved", "the view is saved"),
    ("view-deleted", "the view is deleted"),
    ("revoked", "revoked"),
    ("session-ended", "the session is ended"),
    ("folder-added", "the folder is added"),
    ("application-removed", "the application is removed"),
    ("robot-added", "the robot is added"),
    ("operation-started", "started"),
    ("operation-stopped", "stopped"),
    ("operation-resumed", "resumed"),
    ("task-saved", "the data of the task was saved"),
    ("task-assigned", "the task was given to its user"),
    ("task-completed", "the task was completed"),
    ("task-deleted", "the task was deleted"),
    ("asset-created", "the asset was made"),
    ("asset-set", "the value was set"),
    ("asset-value-removed", "the value was removed"),
    ("asset-deleted", "the asset was deleted"),
    ("alerts-read", "read"),
    ("webhook-added", "the webhook was added"),
    ("webhook-changed", "the webhook was changed"),
    ("webhook-deleted", "the webhook was deleted"),
    ("webhook-pinged", "a test waits to be sent"),
    ("webhook-retried", "the dead letters wait to be sent again"),
];

impl Frame {
    /// The frame of a page without a user.
    pub(super) fn anonymous() -> Self {
        Self {
            assets: &ASSETS,
            theme: "",
            user: None,
            navigation: Vec::new(),
            folders: Vec::new(),
            note: None,
            address: ROOT.to_owned(),
            now: None,
            is_read_only: false,
            is_remote: false,
            events: String::new(),
            refresh: None,
        }
    }

    /// The frame of a page. `section`: the path of its section.
    pub(super) fn of(call: &DeskCall, section: &str) -> Self {
        let theme = theme_of(cookie(&call.headers, THEME_COOKIE).unwrap_or_default());
        let frame = Self { theme, address: call.address.clone(), ..Self::anonymous() };
        let Some(caller) = &call.caller else { return frame };
        let navigation = SECTIONS.iter().filter(|(path, _)| call.may_open(path)).map(|(path, text)| Link {
            href: if OF_TENANT.contains(path) { (*path).to_owned() } else { call.in_folder(path) },
            text: (*text).to_owned(),
            is_current: *path == section,
        });
        Self {
            user: Some(html::line(&caller.user.user_name, 60)),
            navigation: navigation.collect(),
            folders: folders(call, section),
            note: cookie(&call.headers, NOTE_COOKIE).and_then(note),
            now: Some(html::time(call.now())),
            is_read_only: call.server.config.desk == DeskMode::ReadOnly,
            is_remote: call.is_remote(),
            events: if call.may_open(EVENTS) { call.in_folder(EVENTS) } else { String::new() },
            refresh: call.refresh,
            ..frame
        }
    }
}

/// The folders of the caller as links to the list that is shown, if there are several.
fn folders(call: &DeskCall, section: &str) -> Vec<Link> {
    let (Some(caller), true) = (&call.caller, call.parameters.is_empty()) else { return Vec::new() };
    if OF_TENANT.contains(&section) {
        return Vec::new();
    }
    let all = caller.directory.folders().filter(|folder| caller.is_assigned(folder.id));
    let mut links = vec![Link {
        href: section.to_owned(),
        text: "All folders".to_owned(),
        is_current: call.folder.is_none(),
    }];
    links.extend(all.map(|folder| Link {
        href: html::address(section, &[("folder", &folder.id.to_string())]),
        text: html::line(&caller.directory.full_name(folder.id), 80),
        is_current: call.folder == Some(folder.id),
    }));
    if links.len() > 2 { links } else { Vec::new() }
}

/// A theme by its name; the system's for any other text.
pub(super) fn theme_of(name: &str) -> &'static str {
    ["light", "dark"].into_iter().find(|known| *known == name).unwrap_or_default()
}

/// The text of a note such as `retried.3`.
fn note(cookie: &str) -> Option<String> {
    let (word, count) = cookie.split_once('.')?;
    let (_, text) = NOTES.iter().find(|(known, _)| *known == word)?;
    let count: usize = count.parse().ok()?;
    Some(match count {
        0 => format!("Done: {text}."),
        1 => format!("1 item is {text}."),
        _ => format!("{count} items are {text}."),
    })
}

/// The cookie that says what was done. `count`: of how many items; 0 if it was something else.
pub(super) fn note_cookie(word: &str, count: usize) -> String {
    format!("{NOTE_COOKIE}={word}.{count}; Path=/desk; HttpOnly; SameSite=Lax; Max-Age=8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_has_only_known_words() {
        assert_eq!(note("retried.1").unwrap(), "1 item is retried: a copy of each is New.");
        assert_eq!(note("verified.3").unwrap(), "3 items are verified.");
        assert_eq!(note("paused.0").unwrap(), "Done: paused.");
        for other in ["", "retried", "retried.x", "hacked.1", "<b>.1", "retried.-1"] {
            assert_eq!(note(other), None, "{other}");
        }
        assert_eq!(["dark", "light", "", "x\"y"].map(theme_of), ["dark", "light", "", ""]);
    }
}
