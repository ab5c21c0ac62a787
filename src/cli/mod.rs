//! Floor 4: the command line.
//!
//! | file | what it does |
//! |---|---|
//! | `serve.rs` | `performer serve`: an Orchestrator in a box |
//! | `queue.rs`, `item.rs`, `import/`, `stats.rs` | queues, items, files of items, figures: over any URL |
//! | `job.rs` | the fleet: performers that run, and what they did |
//! | `access.rs` | who may do what on a server: applications, users, tokens, robots |
//! | `time.rs` | times as people and files write them |
//! | `output.rs` | tables, JSON, and what goes where |
//! | `log.rs` | the log of the server, written without making a request wait |

mod access;
mod import;
mod item;
mod job;
mod log;
mod output;
mod queue;
mod serve;
mod stats;
mod time;

use std::process::ExitCode;
use std::sync::Arc;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand};

use self::output::Problem;
use crate::orchestrator::{Administration, connect};

/// Durable queues of transactions for robots in code: look at them, fill them, serve them.
#[derive(Parser)]
#[command(
    name = "performer",
    version,
    max_term_width = 110,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Where the queues are is told by --url or PERFORMER_URL:\n  \
        sqlite:invoices.db                 a file on this machine\n  \
        postgres://user@host/database      a PostgreSQL database\n  \
        http://127.0.0.1:8095              a performer serve\n  \
        https://cloud.uipath.com/a/b/orchestrator_   a UiPath Orchestrator\n\
        Over HTTP the caller is told by UIPATH_CLIENT_ID and UIPATH_CLIENT_SECRET (or UIPATH_PAT), the folder by\n\
        UIPATH_FOLDER_PATH. A secret may stand in a file: UIPATH_CLIENT_SECRET_FILE, UIPATH_PAT_FILE, and PGPASSFILE\n\
        for PostgreSQL.\n\n\
        Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but for some items that were refused."
)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Serve(Box<serve::Serve>),
    #[command(subcommand)]
    Queue(queue::Queue),
    #[command(subcommand)]
    Item(item::Item),
    #[command(subcommand)]
    Job(job::Jobs),
    Stats(stats::Stats),
    #[command(subcommand)]
    Access(access::Access),
}

/// Where the queues are, and how answers are shown.
#[derive(Args)]
struct Place {
    /// Where the queues are, as in sqlite:invoices.db or http://127.0.0.1:8095
    #[arg(long, env = "PERFORMER_URL", global = true, value_name = "URL", hide_env_values = true)]
    url: Option<String>,
    /// Answers in JSON, for programs
    #[arg(long, global = true)]
    json: bool,
}

impl Place {
    async fn connect(&self) -> Result<Arc<dyn Administration>, Problem> {
        let url = self.url.as_deref().ok_or_else(|| {
            Problem::usage(
                "where are the queues? Say --url sqlite:FILE or --url http://HOST:PORT, or set PERFORMER_URL",
            )
        })?;
        Ok(connect(url).await?)
    }
}

/// A number from 1 up to a limit.
fn up_to(most: usize) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most as u64)
}

/// Runs the command that was given.
pub fn main() -> ExitCode {
    let command = Command::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return output::failed(&Problem::failed(format!("the runtime cannot be started: {error}")));
        }
    };
    let done = runtime.block_on(async {
        match command.what {
            What::Serve(serve) => serve.run().await,
            What::Queue(queue) => queue.run().await,
            What::Item(item) => item.run().await,
            What::Job(job) => job.run().await,
            What::Stats(stats) => stats.run().await,
            What::Access(access) => access.run().await,
        }
    });
    match done {
        Ok(code) => code,
        Err(problem) => output::failed(&problem),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_is_put_together_as_it_should_be() {
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
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let pages = std::fs::read_dir(root.join("docs/guide")).unwrap().map(|page| page.unwrap().path());
        let mut seen = 0;
        for page in pages.chain([root.join("README.md")]) {
            let text = std::fs::read_to_string(&page).unwrap();
            let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
            for line in blocks.flat_map(str::lines) {
                let line = line.rsplit(" | ").next().unwrap_or(line);
                let words = words(line);
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
    fn every_level_has_a_help_that_says_something() {
        fn look(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} has no help");
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{path}: {} has no help", argument.get_id());
            }
            command.get_subcommands().for_each(|inner| look(inner, &path));
        }
        look(&Command::command(), "");
    }
}
