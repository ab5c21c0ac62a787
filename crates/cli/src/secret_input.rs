//! Secrets that a person types, pipes, or names a file of: they are never an argument.

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use performer::secrecy::SecretString;
use performer::secrecy::zeroize::Zeroizing;

use super::output::CliError;

/// The most bytes of a secret that are read.
const LONGEST_SECRET: u64 = 4 * performer_core::model::asset::SECRET_LIMIT as u64;

/// Reads a secret from a file or from stdin; on a terminal it is asked for and not shown.
pub(super) fn read_secret(what: &str, from: Option<&Path>) -> Result<SecretString, CliError> {
    let terminal = console::Term::stderr();
    let is_typed = from.is_none() && std::io::stdin().is_terminal() && terminal.is_term();
    let text = if is_typed {
        terminal.write_str(&format!("{what}: "))?;
        Zeroizing::new(terminal.read_secure_line()?)
    } else {
        read_text(from)?
    };
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() {
        return Err(CliError::usage(format!("the {what} is empty")));
    }
    Ok(SecretString::from(text))
}

fn read_text(from: Option<&Path>) -> Result<Zeroizing<String>, CliError> {
    let from = from.filter(|path| *path != Path::new("-"));
    let shown = from.map_or_else(|| "stdin".to_owned(), |path| path.display().to_string());
    let failed = |why: &dyn std::fmt::Display| CliError::failed(format!("{shown}: {why}"));
    let limit = LONGEST_SECRET + 1; // a byte more, so that what is too long is refused and not cut
    let mut text = Zeroizing::new(String::new());
    let read = match from {
        None => std::io::stdin().take(limit).read_to_string(&mut text),
        Some(path) => std::fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text)),
    };
    read.map_err(|error| failed(&error))?;
    if text.len() as u64 > LONGEST_SECRET {
        return Err(failed(&"it is too long for a secret"));
    }
    Ok(text)
}
