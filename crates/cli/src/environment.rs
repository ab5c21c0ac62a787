//! Variables of the environment.

use std::ffi::OsString;

use super::output::CliError;

/// Returns the text of a variable; `None` if it is not set, or empty.
///
/// # Errors
///
/// If it is not valid UTF-8: a variable that is set must not count as unset.
pub(super) fn text_of(name: &str, value: Option<OsString>) -> Result<Option<String>, CliError> {
    let text = value.filter(|value| !value.is_empty()).map(OsString::into_string).transpose();
    text.map_err(|_| CliError::usage(format!("{name} is not valid UTF-8")))
}
