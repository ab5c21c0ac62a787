//! Files that only their owner may access: databases, keys, secrets.

use std::fs;
use std::path::Path;

use crate::orchestrator::{ErrorKind, OrchestratorError, Result};

/// The maximum length of a secret, in bytes.
const LONGEST_SECRET: u64 = 64 * 1024;

/// The access that other users have to a file, as a participle; `None` if they have none or it cannot be determined.
#[cfg(unix)]
fn open_to_others(path: &Path) -> Option<&'static str> {
    use std::os::unix::fs::PermissionsExt as _;
    match fs::metadata(path).ok()?.permissions().mode() & 0o006 {
        0 => None,
        0o004 => Some("read"),
        0o002 => Some("written"),
        _ => Some("read and written"),
    }
}

#[cfg(not(unix))]
fn open_to_others(_path: &Path) -> Option<&'static str> {
    None
}

/// Whether the group or other users may read or write a file.
#[cfg(unix)]
pub fn is_open_to_group_or_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o066 != 0)
}

/// Whether the group or other users may read or write a file. Unknown on this system: no.
#[cfg(not(unix))]
pub fn is_open_to_group_or_others(_path: &Path) -> bool {
    false
}

/// Logs a warning if other users may read or write a file. `what` describes the file.
pub fn warn_if_open_to_others(path: &Path, what: &'static str) {
    if let Some(may) = open_to_others(path) {
        let path = path.display();
        tracing::warn!(%path, "{what} may be {may} by every user of this machine; restrict it with chmod 600");
    }
}

/// Reads the secret in the file that an environment variable names, without the line break at its end.
///
/// # Errors
///
/// Invalid, with the name of the variable, if the file cannot be read, is empty, or is too long.
pub fn read_secret(variable: &str, path: &str) -> Result<String> {
    let failed = |why: &str| {
        OrchestratorError::new(ErrorKind::Invalid, format!("{variable}: the file {path:?} {why}"))
    };
    let path = Path::new(path);
    let length = fs::metadata(path).map_err(|error| failed("cannot be read").with_source(error))?.len();
    if length > LONGEST_SECRET {
        return Err(failed("is too long for a secret"));
    }
    let text = fs::read_to_string(path).map_err(|error| failed("cannot be read").with_source(error))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(failed("is empty"));
    }
    warn_if_open_to_others(path, "a file with a secret");
    Ok(secret.to_owned())
}
