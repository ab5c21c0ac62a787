//! `performer stats`: the number of items by status, once or until a queue is empty.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::GlobalArgs;
use super::output::{self, CliError, Column, CommandResult, INTERRUPTED};
use super::signals::Interrupts;
use performer::Administration;
use performer::progress::Progress;
use performer_core::model::statistics::QueueStatistics;

/// The shortest pause between two reads of a queue that is followed.
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// The longest one.
const LONGEST_READ_INTERVAL: Duration = Duration::from_secs(30);
/// A pause is so many times as long as the read before it, so that reading is no load; the nine calls of a read at a UiPath
/// Orchestrator then stay below its limit of 100 a minute.
const PAUSE_PER_READ: u32 = 20;

/// Show the number of items by queue and status
#[derive(Args)]
#[command(after_help = "\
With --follow, the progress goes to stderr: a bar if that is a terminal, otherwise a line every ten seconds. It ends when no item waits\n\
or is in progress (postponed items wait, too), or with Ctrl-C, and the numbers of then are the result:\n\n  \
performer stats Invoices --follow\n  \
performer stats Invoices --follow --json 2>progress.log")]
pub(super) struct Stats {
    /// Show only this queue
    queue: Option<String>,
    /// Show how far the queue is, whichever process works on it, until it is empty; the exit code after Ctrl-C is 130
    #[arg(long, requires = "queue")]
    follow: bool,
    #[command(flatten)]
    global: GlobalArgs,
}

impl Stats {
    pub(super) async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let names = match self.queue {
            Some(name) => vec![orchestrator.get_queue(&name).await?.name],
            None => orchestrator.list_queues().await?.into_iter().map(|queue| queue.name).collect(),
        };
        let (mut rows, mut code) = (Vec::new(), ExitCode::SUCCESS);
        for name in names {
            let figures = if self.follow {
                let (figures, is_interrupted) = follow(&*orchestrator, &name).await?;
                if is_interrupted {
                    code = ExitCode::from(INTERRUPTED);
                }
                figures
            } else {
                orchestrator.queue_statistics(&name).await?
            };
            rows.push((name, figures));
        }
        if output::is_json() {
            let all: BTreeMap<_, _> = rows.iter().map(|(name, figures)| (name, figures)).collect();
            output::json(&all)?;
        } else {
            table(&rows)?;
        }
        Ok(code)
    }
}

/// Shows how far a queue is until it is empty or Ctrl-C is pressed. Returns the last figures, and whether it was interrupted.
async fn follow(orchestrator: &dyn Administration, queue: &str) -> Result<(QueueStatistics, bool), CliError> {
    let mut began = Instant::now();
    let mut figures = orchestrator.queue_statistics(queue).await?;
    // Before the first line, so that from then on a signal does not end the program without its result.
    let mut interrupts = Interrupts::new()?;
    let progress = (!output::is_quiet()).then(|| Progress::of_queue(&figures));
    let mut is_away = false;
    let is_interrupted = loop {
        if figures.new + figures.in_progress == 0 {
            break false;
        }
        let pause = (began.elapsed() * PAUSE_PER_READ).clamp(READ_INTERVAL, LONGEST_READ_INTERVAL);
        let read = async {
            tokio::time::sleep(pause).await;
            began = Instant::now();
            orchestrator.queue_statistics(queue).await
        };
        let read = tokio::select! {
            read = read => read,
            () = interrupts.next() => break true,
        };
        match read {
            Ok(now) => {
                figures = now;
                is_away = false;
                if let Some(progress) = &progress {
                    progress.show_queue(&figures);
                }
            }
            // Such as a server that is started again.
            Err(error) if error.is_temporary() => {
                if let Some(progress) = progress.as_ref().filter(|_| !is_away) {
                    progress.println(output::printable(&format!("the queue cannot be read: {error}")));
                }
                is_away = true;
            }
            Err(error) => {
                progress.inspect(Progress::finish);
                return Err(error.into());
            }
        }
    };
    progress.inspect(Progress::finish);
    Ok((figures, is_interrupted))
}

pub(super) fn table(rows: &[(String, QueueStatistics)]) -> Result<(), CliError> {
    let columns = [
        Column::text("QUEUE"),
        Column::plain("NEW"),
        Column::plain("IN PROGRESS"),
        Column::plain("SUCCESSFUL"),
        Column::plain("BUSINESS EXC."),
        Column::plain("APPLICATION EXC."),
        Column::plain("RETRIED"),
        Column::plain("ABANDONED"),
        Column::plain("DELETED"),
        Column::plain("ALL"),
    ];
    let cells = |(name, figures): &(String, QueueStatistics)| {
        let numbers = [
            figures.new,
            figures.in_progress,
            figures.successful,
            figures.business_exceptions,
            figures.application_exceptions,
            figures.retried,
            figures.abandoned,
            figures.deleted,
            figures.total(),
        ];
        std::iter::once(name.clone()).chain(numbers.iter().map(i64::to_string)).collect()
    };
    output::table(&columns, &rows.iter().map(cells).collect::<Vec<_>>())
}
