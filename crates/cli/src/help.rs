//! What the command says about itself: the first steps, help about topics, completions of shells and man pages.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser as _};
use clap_complete::Shell;

use super::Command;
use super::output::{self, CliError, CommandResult};

/// What `performer` alone prints on a terminal.
const FIRST_STEPS: &str = "\
performer manages durable queues of transactions: in a file, in PostgreSQL, on a server, or in a UiPath Orchestrator. To begin:
  export PERFORMER_URL=sqlite:invoices.db                          # where the queues are
  performer queue create Invoices                                  # then: performer item add Invoices amount=10.5
  performer new post-invoices                                      # a project that processes the items
  performer --help                                                 # all commands; performer help filters explains a topic
";

/// Whether only the name of the command was given, on a terminal.
pub(super) fn wants_first_steps(arguments: usize) -> bool {
    arguments <= 1 && io::stdout().is_terminal()
}

pub(super) fn print_first_steps() -> CommandResult {
    print(FIRST_STEPS)
}

/// Show the help of a command, or about exit-codes, filters, environment or formats
#[derive(Args)]
#[command(after_help = "\
performer help item retry\n  \
performer help exit-codes\n  \
performer help filters\n  \
performer help environment\n  \
performer help formats")]
pub(super) struct Help {
    /// The words of a command, or a topic: exit-codes, filters, environment, formats
    #[arg(value_name = "COMMAND|TOPIC")]
    words: Vec<String>,
}

const TOPICS: [(&str, &str); 4] = [
    ("exit-codes", include_str!("help/exit-codes.txt")),
    ("filters", include_str!("help/filters.txt")),
    ("environment", include_str!("help/environment.txt")),
    ("formats", include_str!("help/formats.txt")),
];

impl Help {
    pub(super) fn run(&self) -> CommandResult {
        if let [word] = &self.words[..]
            && let Some((_, text)) = TOPICS.iter().find(|(topic, _)| topic == word)
        {
            return print(text);
        }
        let words = self.words.iter().map(String::as_str);
        let asked = Command::try_parse_from(["performer"].into_iter().chain(words).chain(["--help"]));
        match asked {
            Err(help) if help.kind() == ErrorKind::DisplayHelp => {
                help.print()?;
                Ok(ExitCode::SUCCESS)
            }
            _ => {
                let (words, topics) = (self.words.join(" "), TOPICS.map(|(topic, _)| topic).join(", "));
                let message = format!("{words:?} is neither a command nor a topic; topics are {topics}");
                Err(CliError::usage(message))
            }
        }
    }
}

/// Print completions of a shell: bash, zsh, fish, elvish or powershell
#[derive(Args)]
#[command(after_help = "\
performer completions bash > ~/.local/share/bash-completion/completions/performer\n  \
performer completions zsh > ~/.zfunc/_performer\n  \
performer completions fish > ~/.config/fish/completions/performer.fish\n  \
performer completions elvish >> ~/.config/elvish/rc.elv\n  \
performer completions powershell >> $PROFILE")]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self) -> CommandResult {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Command::command(), "performer", &mut script);
        print(&String::from_utf8_lossy(&script))
    }
}

/// Write a man page of each command
#[derive(Args)]
#[command(after_help = "\
performer man --out /usr/local/share/man/man1\n  \
performer man --out . && man ./performer-item-retry.1")]
pub(super) struct Man {
    /// The folder of the pages, which is created if it is missing; pages in it are replaced
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Man {
    pub(super) fn run(&self) -> CommandResult {
        let failed = |error: io::Error| CliError::failed(format!("{}: {error}", self.out.display()));
        fs::create_dir_all(&self.out).map_err(failed)?;
        clap_mangen::generate_to(Command::command(), &self.out).map_err(failed)?;
        output::remark(format!("the man pages are in {}", self.out.display()));
        Ok(ExitCode::SUCCESS)
    }
}

fn print(text: &str) -> CommandResult {
    output::line(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::super::filter::FilterArgs;
    use super::*;

    fn topic(name: &str) -> &'static str {
        TOPICS.iter().find(|(topic, _)| *topic == name).unwrap().1
    }

    #[test]
    fn the_first_steps_are_five_lines_with_commands_that_are_understood() {
        assert_eq!(FIRST_STEPS.lines().count(), 5);
        let mut seen = 0;
        for line in FIRST_STEPS.lines().skip(1).map(|line| line.split('#').next().unwrap().trim()) {
            if line.starts_with("performer") {
                seen += 1;
                let parsed = Command::try_parse_from(line.split_whitespace());
                assert!(parsed.is_ok() || line.ends_with("--help"), "{line}");
            }
        }
        assert_eq!(seen, 3);
    }

    #[test]
    fn the_topic_names_every_filter() {
        let command = FilterArgs::augment_args(clap::Command::new("filters"));
        let filters: Vec<_> = command.get_arguments().collect();
        assert!(filters.len() > 10);
        for filter in filters {
            let flag = format!("--{}", filter.get_long().unwrap());
            assert!(
                topic("filters").split_whitespace().any(|word| word.trim_end_matches(',') == flag),
                "{flag}"
            );
        }
    }

    /// Every file of Rust below a folder.
    fn sources(folder: &Path, texts: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, texts);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                texts.push(fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn the_topic_names_every_variable_that_is_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut texts = Vec::new();
        for folder in ["crates/cli/src", "crates/uipath/src"] {
            sources(&root.join(folder), &mut texts);
        }
        let mut names = BTreeSet::new();
        for text in &texts {
            let code = text.split("#[cfg(test)]").next().unwrap();
            for quoted in code.split('"').skip(1).step_by(2) {
                let is_name = |text: &str| {
                    text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
                };
                let is_ours = quoted.starts_with("PERFORMER_") || quoted.starts_with("UIPATH_");
                if is_ours && is_name(quoted) && !quoted.ends_with('_') {
                    names.insert(quoted.to_owned());
                }
            }
        }
        assert!(names.contains("UIPATH_PAT") && names.contains("PERFORMER_STORE_FILE"), "{names:?}");
        let missing: Vec<_> =
            names.iter().filter(|name| !topic("environment").contains(name.as_str())).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
