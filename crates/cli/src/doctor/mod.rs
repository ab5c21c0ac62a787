//! `performer doctor`: checks whether the queues can be reached and used as they should, and names the command that helps.
//!
//! | file | what it contains |
//! |---|---|
//! | `mod.rs` | the options, and which checks are made |
//! | `report.rs` | what was found, as text, JSON, for Nagios and for Prometheus |
//! | `store.rs` | checks of a file or a database |
//! | `server.rs` | checks of a server, and of the caller's rights on it |
//! | `queues.rs` | checks of queues and jobs, wherever they are |

mod queues;
mod report;
mod server;
mod store;

use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use performer_core::model::clock::{Clock as _, SystemClock};
use performer_store::inspection::StoreInspector;

use self::report::{CheckName, Finding, Format, Level, Report};
use super::GlobalArgs;
use super::output::{self, CliError, CommandResult};

/// Check whether the queues can be reached and used as they should be; changes nothing
#[derive(Args)]
#[command(after_help = "\
A check is good (✓), a warning (!) or bad (✗), and names a command that helps. The exit code is 0 if none is bad, otherwise 1; with --strict a\n\
warning is bad too. With -o nagios it is 0, 1 for a warning and 2 for bad, as Nagios expects. Checks that do not apply are left out.\n\n\
Examples:\n  \
performer doctor --url sqlite:invoices.db\n  \
performer doctor --check reach --check queues\n  \
performer doctor --strict --json\n  \
performer doctor -o nagios\n  \
performer doctor -o prometheus > /var/lib/node_exporter/performer.prom")]
pub(super) struct Doctor {
    /// Make only this check; can be repeated
    #[arg(long, value_enum, value_name = "NAME")]
    check: Vec<CheckName>,
    /// Exit with 1 for warnings too
    #[arg(long)]
    strict: bool,
    /// Print text, json, nagios or prometheus; --json is short for --output json
    #[arg(long, short, value_enum, value_name = "FORMAT", hide_possible_values = true)]
    output: Option<Format>,
    #[command(flatten)]
    global: GlobalArgs,
}

impl Doctor {
    pub(super) async fn run(self) -> CommandResult {
        let format = match (self.output, output::is_json()) {
            (None | Some(Format::Json), true) => Format::Json,
            (Some(_), true) => {
                return Err(CliError::usage("--json and --output say different formats; use one of them"));
            }
            (format, false) => format.unwrap_or(Format::Text),
        };
        if format == Format::Json {
            output::print_errors_as_json();
        }
        let target = self.global.target()?;
        let url = target.url().to_owned();
        let mut report = Report::new(self.check);
        let scheme = url.split(':').next().unwrap_or_default().to_ascii_lowercase();
        match &*scheme {
            "http" | "https" | "uipath" => server::check(&target, &mut report).await?,
            "memory" => {
                return Err(CliError::usage(
                    "memory: is a new store in this process; there is nothing to check",
                ));
            }
            _ => {
                let inspector = StoreInspector::new(&url).map_err(|error| match error.is_invalid() {
                    true => CliError::usage(error.to_string()),
                    false => error.into(),
                })?;
                let clock = store::check(&inspector, &url, &mut report).await;
                // Opening a store would migrate it.
                if let Some(ahead) = clock {
                    match target.connect().await {
                        Ok(orchestrator) => queues::check(&*orchestrator, ahead, &mut report).await,
                        Err(error) => report.add(Finding::bad(CheckName::Reach, error.to_string())),
                    }
                }
            }
        }
        report.print(format)?;
        Ok(report.exit_code(format, self.strict))
    }
}

fn now() -> Timestamp {
    SystemClock::new().now()
}

/// How long something took, as people read it.
fn took(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "less than 1 ms".to_owned(),
        millis @ ..10_000 => format!("{millis} ms"),
        millis => format!("{} s", millis / 1_000),
    }
}

/// A length of time by its largest units.
fn length(seconds: i64) -> String {
    format!("{:#}", SignedDuration::from_secs(seconds))
}

/// The reply time above which a store or a server is slow.
const SLOW: Duration = Duration::from_secs(1);

/// The finding about a reply.
fn reached(what: &str, duration: Duration) -> Finding {
    let text = format!("{what} answered within {}", took(duration));
    if duration > SLOW {
        return Finding::warning(CheckName::Reach, format!("{text}, which is slow"));
    }
    Finding::good(CheckName::Reach, text)
}

/// The finding about a clock that is ahead of the one of this machine by so much, give or take `tolerance`.
fn skew(what: &str, ahead: SignedDuration, tolerance: SignedDuration) -> Finding {
    const NOTICED: SignedDuration = SignedDuration::from_secs(2);
    const WRONG: SignedDuration = SignedDuration::from_secs(60);
    let apart = ahead.abs().saturating_sub(tolerance);
    if apart < NOTICED {
        return Finding::good(
            CheckName::Clock,
            format!("the clock of {what} agrees with the one of this machine"),
        );
    }
    let direction = if ahead.is_positive() { "ahead of" } else { "behind" };
    let text =
        format!("the clock of {what} is {} {direction} the one of this machine", length(apart.as_secs()));
    let level = if apart < WRONG { Level::Warning } else { Level::Bad };
    Finding::new(CheckName::Clock, level, text).help("timedatectl timesync-status")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_judged_with_the_time_that_the_answer_took() {
        let seconds = SignedDuration::from_secs;
        for (ahead, tolerance, level) in
            [(1, 0, Level::Good), (5, 4, Level::Good), (-5, 0, Level::Warning), (300, 1, Level::Bad)]
        {
            assert_eq!(skew("the database", seconds(ahead), seconds(tolerance)).level, level, "{ahead}");
        }
        let text = skew("the server", seconds(-90), seconds(0)).message;
        assert_eq!(text, "the clock of the server is 1m 30s behind the one of this machine");
    }

    #[test]
    fn a_slow_answer_is_a_warning() {
        assert_eq!(reached("the store", Duration::from_millis(3)).level, Level::Good);
        assert_eq!(reached("the store", Duration::from_secs(3)).level, Level::Warning);
    }
}
