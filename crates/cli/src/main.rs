//! The command `performer`.
//!
//! | file | what it contains |
//! |---|---|
//! | `serve.rs`, `signals.rs` | `performer serve`: runs an Orchestrator server; the signals of commands |
//! | `desk.rs` | `performer desk`: the pages alone over a store, or a link to those of a server |
//! | `filter.rs` | the options that select items |
//! | `queue.rs`, `item/`, `reason.rs`, `import/`, `stats.rs` | `performer queue`, `item`, `reason`, `item import` and `stats`, for any URL |
//! | `deadline.rs` | `performer deadline`: whether what waits will be done in time |
//! | `task.rs` | `performer task`: what people are asked |
//! | `asset.rs` | `performer asset`: named values for transactions |
//! | `operation.rs` | `performer operation`: acts on many items at once, which a store or a server keeps |
//! | `webhook.rs` | `performer webhook`: addresses that are told what happens in a store |
//! | `process.rs` | `performer process` and `performer machine`: command lines that machines run, and the machines |
//! | `robot/` | `performer robot`: the agent of a machine |
//! | `job.rs` | `performer job`: the running performers and their results |
//! | `audit.rs` | `performer audit`: what people changed in a store or on a server |
//! | `watch/` | `performer watch`: queues, rates, robots and failures, again and again |
//! | `doctor/` | `performer doctor`: checks whether the queues can be reached and used as they should |
//! | `store.rs` | `performer store`: what a store is, whether it is sound, a copy of it |
//! | `access.rs`, `whoami.rs` | `performer access`: the applications, users, tokens and robots of a server |
//! | `profile/` | profiles, and `performer profile` |
//! | `new.rs` | `performer new`: writes a project from the files in `templates/new` |
//! | `store_url.rs` | the URL of a server's store, as an argument, in the environment or in a file |
//! | `help.rs`, `help/` | `performer` alone, `help`, `completions` and `man` |
//! | `environment.rs` | reads variables of the environment |
//! | `output/` | prints tables, JSON, CSV and errors |
//! | `log.rs` | writes the log of the server without blocking a request |

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used)]

mod access;
mod alert;
mod asset;
mod audit;
mod bucket;
mod deadline;
mod desk;
mod doctor;
mod environment;
mod filter;
mod help;
mod import;
mod item;
mod job;
mod log;
mod log_lines;
mod new;
mod operation;
mod output;
mod process;
mod profile;
mod queue;
mod queue_removal;
mod queue_schema;
mod queue_why;
mod reason;
#[cfg(unix)]
mod robot;
mod secret_input;
mod serve;
mod signals;
mod stats;
mod store;
mod store_url;
mod task;
mod watch;
mod webhook;
mod whoami;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand};

use self::output::{CliError, OutputArgs};
use self::profile::Target;
use performer::Administration;

/// Manage and serve durable queues of transactions
#[derive(Parser)]
#[command(
    name = "performer",
    version,
    max_term_width = 110,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "The location of the queues, in --url or PERFORMER_URL:\n  \
        sqlite:invoices.db                 a file on this machine\n  \
        postgres://user@host/database      a PostgreSQL database\n  \
        http://127.0.0.1:8095              a server started with performer serve\n  \
        https://cloud.uipath.com/a/b/orchestrator_   a UiPath Orchestrator\n\
        Over HTTP, set the credentials with UIPATH_CLIENT_ID and UIPATH_CLIENT_SECRET (or UIPATH_PAT), and the folder with\n\
        UIPATH_FOLDER_PATH. Secrets can be read from files: UIPATH_CLIENT_SECRET_FILE, UIPATH_PAT_FILE,\n\
        UIPATH_ACCESS_TOKEN_FILE, and PGPASSFILE for PostgreSQL.\n\n\
        Exit codes: 0 success, 1 failure, 2 invalid usage, 3 success except for some refused items, 4 not allowed, 5 not found,\n\
        6 the queues cannot be reached, 130 interrupted."
)]
struct Command {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Subcommand)]
enum Action {
    New(new::New),
    Serve(Box<serve::Serve>),
    Desk(desk::Desk),
    #[command(subcommand)]
    Queue(queue::Queue),
    #[command(subcommand)]
    Item(item::Item),
    #[command(subcommand)]
    Reason(reason::Reasons),
    #[command(subcommand)]
    Deadline(deadline::Deadlines),
    #[command(subcommand)]
    Asset(asset::Assets),
    #[command(subcommand)]
    Bucket(bucket::Buckets),
    #[command(subcommand)]
    Task(task::Tasks),
    #[command(subcommand)]
    Webhook(webhook::Webhooks),
    #[command(subcommand)]
    Alert(alert::Alerts),
    #[command(subcommand)]
    Log(log_lines::Logs),
    #[command(subcommand)]
    Operation(operation::Operations),
    #[command(subcommand)]
    Job(job::Jobs),
    #[command(subcommand)]
    Process(process::Processes),
    #[command(subcommand)]
    Machine(process::Machines),
    #[cfg(unix)]
    Robot(robot::Robot),
    #[cfg(unix)]
    #[command(hide = true)]
    RobotGuard(robot::RobotGuard),
    Stats(stats::Stats),
    Watch(watch::Watch),
    Doctor(doctor::Doctor),
    #[command(subcommand)]
    Audit(audit::Audit),
    #[command(subcommand)]
    Store(store::Store),
    #[command(subcommand)]
    Access(access::Access),
    #[command(subcommand)]
    Profile(profile::Profiles),
    Help(help::Help),
    Completions(help::Completions),
    Man(help::Man),
}

/// The options of all commands that work on queues.
#[derive(Args)]
struct GlobalArgs {
    /// The location of the queues, such as sqlite:invoices.db or http://127.0.0.1:8095 [env: PERFORMER_URL]
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// The profile with the location of the queues: performer profile [env: PERFORMER_PROFILE]
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
}

impl GlobalArgs {
    /// Where the queues are.
    fn target(&self) -> Result<Target, CliError> {
        Target::of(self.url.as_deref(), self.profile.as_deref())
    }

    async fn connect(&self) -> Result<Arc<dyn Administration>, CliError> {
        self.target()?.connect().await
    }

    /// Whether the URL is of an Orchestrator over HTTP.
    fn is_http(&self) -> Result<bool, CliError> {
        let target = self.target()?;
        let scheme = target.url().split(':').next().unwrap_or_default().to_ascii_lowercase();
        Ok(["http", "https", "uipath"].contains(&scheme.as_str()))
    }
}

/// A parser of numbers from 1 to a maximum.
fn up_to(max: usize) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=max as u64)
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = match parse(std::env::args_os()) {
        Ok(command) => command,
        Err(code) => return code,
    };
    output::set_options(command.output);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return output::report_error(&CliError::failed(format!(
                "the runtime cannot be started: {error}"
            )));
        }
    };
    let done = runtime.block_on(async {
        match command.action {
            Action::New(new) => new.run(),
            Action::Serve(serve) => serve.run().await,
            Action::Desk(desk) => desk.run().await,
            Action::Queue(queue) => queue.run().await,
            Action::Item(item) => item.run().await,
            Action::Reason(reason) => reason.run().await,
            Action::Deadline(deadline) => deadline.run().await,
            Action::Asset(asset) => asset.run().await,
            Action::Bucket(bucket) => bucket.run().await,
            Action::Task(task) => task.run().await,
            Action::Webhook(webhook) => webhook.run().await,
            Action::Alert(alert) => alert.run().await,
            Action::Log(log) => log.run().await,
            Action::Operation(operation) => operation.run().await,
            Action::Job(job) => job.run().await,
            Action::Process(process) => process.run().await,
            Action::Machine(machine) => machine.run().await,
            #[cfg(unix)]
            Action::Robot(robot) => robot.run().await,
            #[cfg(unix)]
            Action::RobotGuard(guard) => guard.run(),
            Action::Stats(stats) => stats.run().await,
            Action::Audit(audit) => audit.run().await,
            Action::Watch(watch) => watch.run().await,
            Action::Doctor(doctor) => doctor.run().await,
            Action::Store(store) => store.run().await,
            Action::Access(access) => access.run().await,
            Action::Profile(profile) => profile.run(),
            Action::Help(help) => help.run(),
            Action::Completions(completions) => completions.run(),
            Action::Man(man) => man.run(),
        }
    });
    match done {
        Ok(code) => code,
        Err(problem) => output::report_error(&problem),
    }
}

/// Parses the arguments, or prints what is wrong with them, or the help that they ask for.
fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, ExitCode> {
    let arguments: Vec<OsString> = arguments.collect();
    if help::wants_first_steps(arguments.len()) {
        return Err(help::print_first_steps().unwrap_or_else(|error| output::report_error(&error)));
    }
    Command::try_parse_from(&arguments).map_err(|error| {
        if error.use_stderr() && arguments.iter().any(|argument| argument == "--json") {
            output::print_errors_as_json();
            let message = error.to_string();
            return output::report_error(&CliError::usage(message.trim_start_matches("error: ").trim_end()));
        }
        let _ = error.print(); // stdout or stderr may be closed
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_is_consistent() {
        Command::command().debug_assert();
    }

    /// The words of a line of a shell, without its comment.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote): (Vec<String>, Option<String>, Option<char>) =
            (Vec::new(), None, None);
        for c in line.chars() {
            match (quote, c) {
                (Some(open), _) if c == open => quote = None,
                (None, '\'' | '"') => {
                    quote = Some(c);
                    word.get_or_insert_default();
                }
                (None, ' ') => words.extend(word.take()),
                (None, '#') if word.is_none() => break,
                _ => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
        words
    }

    #[test]
    fn every_command_of_the_readme_and_the_guide_is_understood() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let pages = std::fs::read_dir(root.join("docs/guide")).unwrap().map(|page| page.unwrap().path());
        let mut seen = 0;
        for page in pages.chain([root.join("README.md")]) {
            let text = std::fs::read_to_string(&page).unwrap();
            let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
            for line in blocks.flat_map(str::lines) {
                let line = line.rsplit(" | ").next().unwrap_or(line);
                let mut words = words(line);
                words.truncate(words.iter().position(|word| word == ">").unwrap_or(words.len()));
                if words.first().is_some_and(|word| word == "performer") {
                    seen += 1;
                    if let Err(error) = Command::try_parse_from(&words) {
                        panic!("{}: {line}\n{error}", page.display());
                    }
                }
            }
        }
        assert!(seen > 30, "the test reads something: {seen}");
        assert!(
            Command::try_parse_from(words("performer queue limit 'A b' --max-start 5 # no such option"))
                .is_err()
        );
    }

    #[test]
    fn every_example_of_a_help_is_understood() {
        fn check(command: &clap::Command, seen: &mut usize) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines().map(str::trim).filter(|line| line.starts_with("performer ")) {
                let line = line.split(" && ").next().unwrap_or(line);
                let mut words = words(line.split(" | ").next().unwrap_or(line));
                words.truncate(
                    words
                        .iter()
                        .position(|word| word.starts_with('>') || word.starts_with("2>"))
                        .unwrap_or(words.len()),
                );
                *seen += 1;
                if let Err(error) = Command::try_parse_from(&words) {
                    assert!(
                        error.kind() == clap::error::ErrorKind::DisplayHelp,
                        "{}: {line}\n{error}",
                        command.get_name()
                    );
                }
            }
            command.get_subcommands().for_each(|inner| check(inner, seen));
        }
        let mut seen = 0;
        check(&Command::command(), &mut seen);
        assert!(seen > 60, "the test reads something: {seen}");
    }

    #[test]
    fn every_command_and_argument_has_a_help_text() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} has no help");
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{path}: {} has no help", argument.get_id());
            }
            command.get_subcommands().for_each(|inner| check(inner, &path));
        }
        check(&Command::command(), "");
    }
}
