//! Adds invoices to a queue, and posts them.
//!
//! | file | what it contains |
//! |---|---|
//! | `invoice.rs` | the content of an item, and the output of its transaction |
//! | `transaction.rs` | what is done with one item |
//! | `erp.rs` | the system that invoices are posted to |
//! | `dispatcher.rs` | how items come into the queue |
//! | `settings.rs`, `logging.rs` | settings from a file and the environment; the log |

mod dispatcher;
mod erp;
mod invoice;
mod logging;
mod settings;
mod transaction;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use performer::JobState;
use performer::prelude::*;

use crate::settings::Settings;
use crate::transaction::PostInvoices;

const NAME: &str = env!("CARGO_PKG_NAME");

const HELP: &str = "
Commands:
  dispatch               Add the invoices of the data file to the queue
  perform                Post the invoices of the queue until SIGTERM or Ctrl-C
  perform --until-empty  Post the invoices of the queue until no more are handed out

Settings are read from settings.toml, or the file that PERFORMER_SETTINGS names, and from the
environment.

Exit codes: 0 success, 1 failure, 2 invalid usage, 3 success except for some items or rows,
4 stopped before the queue was empty.";

/// The exit code if rows were left out.
const SOME_LEFT_OUT: u8 = 3;
/// The exit code of `perform --until-empty` if it was stopped: its supervisor should start it again.
const NOT_EMPTY: u8 = 4;

#[derive(Clone, Copy)]
enum Command {
    Dispatch,
    Perform { until_empty: bool },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let command = match arguments[..] {
        ["dispatch"] => Command::Dispatch,
        ["perform"] => Command::Perform { until_empty: false },
        ["perform", "--until-empty"] => Command::Perform { until_empty: true },
        ["help" | "--help" | "-h"] => {
            println!("Usage: {NAME} COMMAND\n{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("Usage: {NAME} COMMAND\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(command).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{NAME}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<ExitCode, Box<dyn Error>> {
    let settings = Settings::load()?;
    logging::start(settings.log_format)?;
    let orchestrator = connect(&settings.url).await?;
    orchestrator.ensure_queue(queue(&settings)).await?;
    let until_empty = match command {
        Command::Dispatch => {
            let all_added = dispatcher::dispatch(&*orchestrator, &settings).await?;
            let code = if all_added { 0 } else { SOME_LEFT_OUT };
            return Ok(ExitCode::from(code));
        }
        Command::Perform { until_empty } => until_empty,
    };
    let performer = Performer::new(&settings.queue, PostInvoices::default)
        .robots(settings.robots)
        .max_consecutive_exceptions(settings.max_consecutive_exceptions)
        .grace_period(Duration::from_secs(settings.grace_period_seconds));
    let summary = if until_empty {
        performer.run_until_empty(orchestrator).await?
    } else {
        performer.run(orchestrator).await?
    };
    println!("{summary}");
    if until_empty && summary.state == JobState::Stopped {
        return Ok(ExitCode::from(NOT_EMPTY));
    }
    Ok(summary.exit_code())
}

/// The queue, which the first start creates.
fn queue(settings: &Settings) -> NewQueueDefinition {
    let policy = QueuePolicy::default()
        .enforce_unique_reference(true) // an invoice that is dispatched again is not added again
        .max_number_of_retries(2)
        .retry_abandoned_items(true); // items of an instance that died; a transaction may run twice
    NewQueueDefinition::new(&settings.queue).policy(policy)
}
