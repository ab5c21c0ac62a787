//! Output: results go to stdout; errors, notes and progress go to stderr.
//!
//! | file | what it contains |
//! |---|---|
//! | `mod.rs` | the global options, errors, lines and notes |
//! | `list.rs` | lists as a table, JSON, JSONL or CSV |
//! | `table.rs`, `colour.rs`, `time.rs` | the cells of tables |

mod colour;
mod list;
mod table;
mod time;

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use performer_core::model::Refusal;
use performer_core::model::clock::{Clock as _, SystemClock};
use performer_core::model::code::ErrorCode;
use performer_core::orchestrator::{ErrorKind, OrchestratorError};
use performer_tables::TableError;

use self::colour::ColourChoice;
pub(super) use self::list::{ListFormat, ListOutput};
pub(super) use self::table::Column;
use self::time::TimeStyle;

/// How results, errors and notes are written, with each command.
#[derive(Args, Clone, Copy, Debug, Default)]
#[command(next_help_heading = "Output")]
pub(super) struct OutputArgs {
    /// Print the result as JSON, and an error as one object with code and message
    #[arg(long, global = true)]
    json: bool,
    /// Print no remarks and no progress; errors and refused items are printed
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Colour the statuses of tables
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        hide_possible_values = true
    )]
    color: ColourChoice,
    /// How tables show times: relative, iso or unix
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "STYLE",
        hide_possible_values = true
    )]
    time: TimeStyle,
}

static OPTIONS: OnceLock<OutputArgs> = OnceLock::new();

/// Whether an error is printed as JSON.
static HAS_JSON_ERRORS: AtomicBool = AtomicBool::new(false);

/// Sets the options, once and before anything is printed.
pub(super) fn set_options(options: OutputArgs) {
    if options.json {
        print_errors_as_json();
    }
    let _ = OPTIONS.set(options); // main sets them once
}

/// Prints the error of this process, if there will be one, as JSON.
pub(super) fn print_errors_as_json() {
    HAS_JSON_ERRORS.store(true, Ordering::Relaxed);
}

fn options() -> OutputArgs {
    OPTIONS.get().copied().unwrap_or_default()
}

/// Whether the result is printed as JSON.
pub(super) fn is_json() -> bool {
    options().json
}

/// Whether remarks and progress are left out.
pub(super) fn is_quiet() -> bool {
    options().quiet
}

/// Whether bars of progress are drawn on stderr.
pub(super) fn has_bars() -> bool {
    !is_quiet() && !is_json() && io::stderr().is_terminal()
}

/// A time of a table, as `--time` says.
pub(super) fn time(at: Timestamp) -> String {
    time::shown(options().time, at, SystemClock::new().now())
}

/// A time of a table; an empty text for none.
pub(super) fn time_or_empty(at: Option<Timestamp>) -> String {
    at.map(time).unwrap_or_default()
}

/// The error of a command, with its exit code.
#[derive(Debug)]
pub(super) struct CliError {
    message: String,
    exit_code: u8,
    code: Option<ErrorCode>,
}

/// The exit code if some items were refused.
pub(super) const SOME_REFUSED: u8 = 3;

/// The exit code of a command that Ctrl-C ended.
pub(super) const INTERRUPTED: u8 = 130;

/// The exit codes of errors that a script may want to tell apart.
const NOT_ALLOWED: u8 = 4;
const NOT_FOUND: u8 = 5;
const UNREACHABLE: u8 = 6;

impl CliError {
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: 2, code: None }
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: 1, code: None }
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: NOT_FOUND, code: None }
    }

    /// Whether the command was used wrongly.
    pub(super) fn is_usage(&self) -> bool {
        self.exit_code == 2
    }

    /// Whether the caller is not known, or lacks a right.
    pub(super) fn is_not_allowed(&self) -> bool {
        self.exit_code == NOT_ALLOWED
    }

    /// The error with another message.
    pub(super) fn with_message(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }

    /// The error of a call that an application may make only with a scope that is not asked for by itself.
    pub(super) fn with_scope(error: OrchestratorError, scope: &str) -> Self {
        let is_refused = error.is_unauthorized();
        let shown = Self::from(error);
        let message = format!("{} (an application needs the scope {scope}, in UIPATH_SCOPE)", shown.message);
        if is_refused { shown.with_message(message) } else { shown }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.code.map_or(Ok(()), |code| write!(f, " (code {code})"))
    }
}

impl From<OrchestratorError> for CliError {
    fn from(error: OrchestratorError) -> Self {
        let exit_code = match error.kind() {
            ErrorKind::Unauthorized => NOT_ALLOWED,
            ErrorKind::NotFound => NOT_FOUND,
            ErrorKind::Unavailable => UNREACHABLE,
            _ => 1,
        };
        let message = format!("{}", error.with_causes());
        Self { message, exit_code, code: error.code() }
    }
}

/// Tables are read before anything is added.
impl From<TableError> for CliError {
    fn from(error: TableError) -> Self {
        if error.is_usage() {
            return Self::usage(error.to_string());
        }
        Self::failed(format!("{error}; nothing was added"))
    }
}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> Self {
        Self { code: Some(refusal.code()), ..Self::failed(refusal.to_string()) }
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

pub(super) type CommandResult = Result<ExitCode, CliError>;

/// Prints an error to stderr.
pub(super) fn report_error(error: &CliError) -> ExitCode {
    let text = if HAS_JSON_ERRORS.load(Ordering::Relaxed) {
        let code = error.code.map(ErrorCode::number);
        serde_json::json!({ "code": code, "message": error.message }).to_string()
    } else {
        format!("performer: {}", printable(&error.to_string()))
    };
    let _ = writeln!(io::stderr(), "{text}"); // stderr may be closed
    ExitCode::from(error.exit_code)
}

/// Prints a line of the result.
pub(super) fn line(text: impl AsRef<str>) -> Result<(), CliError> {
    ignore_broken_pipe(writeln!(io::stdout(), "{}", text.as_ref()))
}

/// Prints a part of the result that ends its own lines.
fn text(text: impl AsRef<str>) -> Result<(), CliError> {
    ignore_broken_pipe(write!(io::stdout(), "{}", text.as_ref()))
}

/// Prints a note to stderr, unless notes are unwanted.
pub(super) fn remark(text: impl AsRef<str>) {
    if !is_quiet() {
        warning(text);
    }
}

/// Prints to stderr what was refused or left out.
pub(super) fn warning(text: impl AsRef<str>) {
    let _ = writeln!(io::stderr(), "{}", printable(text.as_ref())); // stderr may be closed
}

/// Prints the result as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), CliError> {
    let json = serde_json::to_string_pretty(value);
    line(json.map_err(|error| CliError::failed(format!("the answer cannot be written as JSON: {error}")))?)
}

/// Prints a value as one line of JSON.
pub(super) fn json_line(value: &impl Serialize) -> Result<(), CliError> {
    let json = serde_json::to_string(value);
    line(json.map_err(|error| CliError::failed(format!("the answer cannot be written as JSON: {error}")))?)
}

/// Prints a table: on a terminal as wide as it is, elsewhere whole and separated by tabs.
pub(super) fn table(columns: &[Column], rows: &[Vec<String>]) -> Result<(), CliError> {
    let terminal = console::Term::stdout();
    let is_terminal = terminal.is_term();
    let is_coloured = options().color.is_coloured(is_terminal, |name| std::env::var(name).ok());
    let lines = if is_terminal {
        let width = terminal.size_checked().map_or(80, |(_, width)| usize::from(width));
        table::for_terminal(columns, rows, width, is_coloured)
    } else {
        table::for_pipe(columns, rows, is_coloured)
    };
    lines.iter().try_for_each(line)
}

/// The lines of a table for a terminal of this width, with colours as `--color` says.
pub(super) fn table_lines(columns: &[Column], rows: &[Vec<String>], width: usize) -> Vec<String> {
    let is_coloured = options().color.is_coloured(true, |name| std::env::var(name).ok());
    table::for_terminal(columns, rows, width, is_coloured)
}

/// Prints names and values, one pair per line.
pub(super) fn list(pairs: &[(&str, String)]) -> Result<(), CliError> {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs.iter().try_for_each(|(name, value)| line(format!("{name:width$}  {}", printable(value))))
}

/// Replaces control characters, because untrusted text must not control the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Exits with success if the reader has closed stdout, as `| head` does.
fn ignore_broken_pipe(result: io::Result<()>) -> Result<(), CliError> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}
