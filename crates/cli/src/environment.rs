//! Variables of the environment.

use std::ffi::OsString;

use super::output::CliError;
use performer_core::model::audit::{ActSource, Actor};
use performer_core::model::review::Person;

/// Returns the text of a variable; `None` if it is not set, or empty.
///
/// # Errors
///
/// If it is not valid UTF-8: a variable that is set must not count as unset.
pub(super) fn text_of(name: &str, value: Option<OsString>) -> Result<Option<String>, CliError> {
    let text = value.filter(|value| !value.is_empty()).map(OsString::into_string).transpose();
    text.map_err(|_| CliError::usage(format!("{name} is not valid UTF-8")))
}

/// The user who runs this command, as the audit names them: by the name that the operating system has given the session.
pub(super) fn actor() -> Actor {
    let name = ["USER", "LOGNAME", "USERNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let actor = Actor::new(ActSource::Command);
    match name {
        Some(name) => actor.user_name(name),
        None => actor,
    }
}

/// The user of this machine, as the author of comments.
pub(super) fn user_of_machine() -> Person {
    Person { user_id: None, user_name: actor().user_name }
}
