//! The parent of a program. The agent holds the other end of its stdin: a letter asks for a signal, and the end of the pipe means that the
//! agent is gone, however it ended. So no program outlives its agent, and only its own parent sends it signals.

use std::io::Read;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use clap::Args;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::super::output::{self, CliError, CommandResult};

/// Asks the program to stop.
pub(super) const STOP: u8 = b's';
/// Kills it.
pub(super) const KILL: u8 = b'k';

/// The exit code for a program that cannot be started, as of a shell.
pub(super) const NOT_STARTED: u8 = 127;

/// Run the program of a job for `performer robot`, which starts this by itself
#[derive(Args)]
pub(crate) struct RobotGuard {
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl RobotGuard {
    pub(crate) fn run(self) -> CommandResult {
        let mut words = self.command.into_iter();
        let program = words.next().ok_or_else(|| CliError::usage("no program is named"))?;
        // A group of its own, so that all that it starts is reached, and no signal of the terminal.
        let started = Command::new(&program).args(words).stdin(Stdio::null()).process_group(0).spawn();
        let child = match started {
            Ok(child) => child,
            Err(error) => {
                output::warning(format!("{program} cannot be started: {error}"));
                return Ok(ExitCode::from(NOT_STARTED));
            }
        };
        let status = watch(child).map_err(|error| CliError::failed(format!("{program}: {error}")))?;
        Ok(ExitCode::from(code_of(status)))
    }
}

/// The exit code, or 128 and the number of the signal, as of a shell.
fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Passes signals on until the program ends, and then kills what is left of its group.
fn watch(mut child: Child) -> std::io::Result<ExitStatus> {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let group = group.ok_or_else(|| std::io::Error::other("its number is out of range"))?;
    // As long as the program was not waited for, its number belongs to it and its group.
    let is_there = std::sync::Arc::new(Mutex::new(true));
    let pass_on = {
        let is_there = is_there.clone();
        move |signal| {
            let there = is_there.lock().unwrap_or_else(PoisonError::into_inner);
            if *there {
                let _ = kill_process_group(group, signal); // it may have ended
            }
        }
    };
    let asked = pass_on.clone();
    std::thread::spawn(move || {
        for letter in std::io::stdin().lock().bytes() {
            match letter {
                Ok(STOP) => asked(Signal::TERM),
                Ok(KILL) => asked(Signal::KILL),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        asked(Signal::KILL); // the agent is gone
    });
    loop {
        match waitid(WaitId::Pid(group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Err(rustix::io::Errno::INTR) => {}
            waited => {
                waited?;
                break;
            }
        }
    }
    pass_on(Signal::KILL);
    *is_there.lock().unwrap_or_else(PoisonError::into_inner) = false;
    child.wait()
}
