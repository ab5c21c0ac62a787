//! `performer watch`: queues, rates, robots and the newest failures, again and again.
//!
//! | file | what it contains |
//! |---|---|
//! | `mod.rs` | the options, and the loop of ticks and keys |
//! | `snapshot.rs` | what is read with each tick |
//! | `view.rs` | what a key does, and the lines of the screen |
//! | `terminal.rs` | the screen of a terminal, and its keys |

mod snapshot;
mod terminal;
mod view;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use performer::Administration;
use performer_core::model::clock::{Clock as _, SystemClock};
use performer_core::model::limits::LimitsEdit;
use tokio::time::{Instant, MissedTickBehavior};

use self::snapshot::{Rates, Snapshot};
use self::terminal::Screen;
use self::view::{Act, View};
use super::GlobalArgs;
use super::output::{self, CliError, CommandResult};
use super::queue::duration;
use super::queue_why;
use super::signals::Interrupts;

/// Show queues, rates, robots and the newest failures, again and again
#[derive(Args)]
#[command(after_help = "\
On a terminal the screen is drawn anew once a second. Keys: q ends; space stops and goes on; ↑ and ↓ choose a queue; Enter shows its settings\n\
and what holds claims back; p, pressed twice, pauses or resumes it. Elsewhere, or with --json, a JSON object is printed as a line each second.\n\n\
Examples:\n  \
performer watch\n  \
performer watch Invoices Orders --every 5s\n  \
performer watch --json --ticks 1\n  \
performer watch --json | jq -c .Queues")]
pub(super) struct Watch {
    /// Show only these queues
    #[arg(value_name = "QUEUE")]
    queues: Vec<String>,
    /// How often to look, at least 1s. A UiPath Orchestrator is asked nine times for each queue: use 10s or more there
    #[arg(long, default_value = "1s", value_name = "TIME")]
    every: String,
    /// End after so many looks
    #[arg(long, value_name = "N")]
    ticks: Option<u64>,
    #[command(flatten)]
    global: GlobalArgs,
}

impl Watch {
    pub(super) async fn run(self) -> CommandResult {
        let every = duration(&self.every)?;
        if every < Duration::from_secs(1) {
            return Err(CliError::usage("--every is at least 1s"));
        }
        let orchestrator = self.global.connect().await?;
        // Before anything is drawn: a queue that is not there is an error, and no empty screen.
        for name in &self.queues {
            orchestrator.get_queue(name).await?;
        }
        let watched = Watched { orchestrator: &*orchestrator, queues: &self.queues, rates: Rates::default() };
        let is_drawn =
            !output::is_json() && std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
        if is_drawn {
            draw(watched, every, self.ticks).await
        } else {
            print(watched, every, self.ticks).await
        }
    }
}

/// What is looked at, and what was seen last.
struct Watched<'a> {
    orchestrator: &'a dyn Administration,
    queues: &'a [String],
    rates: Rates,
}

impl Watched<'_> {
    /// Looks once. An error that may be over soon is shown, and does not end the command.
    async fn look(&mut self) -> Result<Snapshot, CliError> {
        let at = SystemClock::new().now();
        match Snapshot::read(self.orchestrator, self.queues, at).await {
            Ok(mut snapshot) => {
                self.rates.apply(&mut snapshot, Instant::now());
                Ok(snapshot)
            }
            Err(error) if error.is_temporary() => Ok(Snapshot::failed(at, &error)),
            Err(error) => Err(error.into()),
        }
    }
}

async fn print(mut watched: Watched<'_>, every: Duration, ticks: Option<u64>) -> CommandResult {
    let mut interrupts = Interrupts::new()?;
    let mut timer = tokio::time::interval(every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut left = ticks.unwrap_or(u64::MAX);
    while left > 0 {
        let look = async {
            timer.tick().await;
            watched.look().await
        };
        // Also while a server does not answer.
        let snapshot = tokio::select! {
            snapshot = look => snapshot?,
            () = interrupts.next() => return Ok(ExitCode::from(output::INTERRUPTED)),
        };
        output::json_line(&snapshot)?;
        left -= 1;
    }
    Ok(ExitCode::SUCCESS)
}

async fn draw(mut watched: Watched<'_>, every: Duration, ticks: Option<u64>) -> CommandResult {
    let mut interrupts = Interrupts::new()?;
    let mut screen = Screen::open()?;
    let mut view = View::default();
    let mut timer = tokio::time::interval(every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut left = ticks.unwrap_or(u64::MAX);
    let mut snapshot = Snapshot::default();
    loop {
        let mut ended = false;
        let mut pause = None;
        let mut looks = false;
        tokio::select! {
            _ = timer.tick(), if left > 0 && !view.is_frozen => {
                looks = true;
                left -= 1;
                ended = left == 0;
            }
            key = screen.key() => match view.key(&key?, &snapshot) {
                Some(Act::Quit) => return Ok(ExitCode::SUCCESS),
                Some(Act::Pause(queue, paused)) => pause = Some((queue, paused)),
                None => {}
            },
            () = interrupts.next() => return Ok(ExitCode::from(output::INTERRUPTED)),
        }
        let work = async {
            if let Some((queue, paused)) = pause {
                let edit = LimitsEdit::default().paused(paused);
                let edited = watched.orchestrator.edit_queue_limits(&queue, edit).await;
                view.message = edited.err().map(|error| error.to_string());
                looks = true;
            }
            if looks {
                snapshot = watched.look().await?;
            }
            if let Some(queue) = view.wants_details(&snapshot) {
                view.details = details(watched.orchestrator, &queue).await;
            }
            Ok::<(), CliError>(())
        };
        // Also while a server does not answer.
        tokio::select! {
            done = work => done?,
            () = interrupts.next() => return Ok(ExitCode::from(output::INTERRUPTED)),
        }
        let (height, width) = screen.size();
        screen.show(&view.lines(&snapshot, width, height))?;
        if ended {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// The settings of a queue, and what holds claims on it back.
async fn details(orchestrator: &dyn Administration, name: &str) -> Vec<String> {
    let lines = async {
        let queue = orchestrator.get_queue(name).await?;
        let mut lines = vec![super::queue::describe_limits(&queue.limits)];
        let found = queue_why::of_queue(orchestrator, &queue).await?;
        lines.extend(found.iter().map(ToString::to_string));
        Ok::<_, CliError>(lines)
    };
    lines.await.unwrap_or_else(|error| vec![error.to_string()])
}
