//! `performer new`: writes a project.
//!
//! Its files are those of `templates/new`, a project that is named `my-performer`. Some have other names there: cargo leaves a
//! folder with a `Cargo.toml` out of a package, and git reads every `.gitignore`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::output::{self, CliError, CommandResult};

/// Write a new project: a transaction, its dispatcher, tests, and what runs it as a service
///
/// The project compiles and passes its tests as it is, and runs on a SQLite file. It has a Dockerfile, a unit of systemd, and
/// Kubernetes manifests with a KEDA ScaledObject.
#[derive(Args)]
pub(super) struct New {
    /// The name of the project, and of the folder that is created for it
    #[arg(value_parser = project_name)]
    name: String,
    /// Depend on the sources of performer in this folder instead of the published version
    #[arg(long, value_name = "DIR")]
    performer_path: Option<PathBuf>,
}

/// The name of the project in the templates.
const TEMPLATE_NAME: &str = "my-performer";

/// The dependency in the templates.
const PUBLISHED: &str = "performer = { version = \"0.1\", ";

macro_rules! template {
    ($file:literal) => {
        include_str!(concat!("../templates/new/", $file))
    };
}

/// The paths of the files in the project, and their contents.
const FILES: [(&str, &str); 21] = [
    (".dockerignore", template!("dockerignore")),
    (".gitignore", template!("gitignore")),
    ("Cargo.toml", template!("manifest.toml")),
    ("Dockerfile", template!("Dockerfile")),
    ("README.md", template!("README.md")),
    ("data/invoices.csv", template!("data/invoices.csv")),
    ("deploy/kubernetes/deployment.yaml", template!("deploy/kubernetes/deployment.yaml")),
    ("deploy/kubernetes/job.yaml", template!("deploy/kubernetes/job.yaml")),
    ("deploy/kubernetes/kustomization.yaml", template!("deploy/kubernetes/kustomization.yaml")),
    (
        "deploy/kubernetes/scaledobject-postgresql.yaml",
        template!("deploy/kubernetes/scaledobject-postgresql.yaml"),
    ),
    (
        "deploy/kubernetes/scaledobject-prometheus.yaml",
        template!("deploy/kubernetes/scaledobject-prometheus.yaml"),
    ),
    ("deploy/systemd/my-performer.service", template!("deploy/systemd/my-performer.service")),
    ("settings.toml", template!("settings.toml")),
    ("src/dispatcher.rs", template!("src/dispatcher.rs")),
    ("src/erp.rs", template!("src/erp.rs")),
    ("src/invoice.rs", template!("src/invoice.rs")),
    ("src/logging.rs", template!("src/logging.rs")),
    ("src/main.rs", template!("src/main.rs")),
    ("src/settings.rs", template!("src/settings.rs")),
    ("src/transaction.rs", template!("src/transaction.rs")),
    ("tests/local_run.rs", template!("tests/local_run.rs")),
];

impl New {
    pub(super) fn run(&self) -> CommandResult {
        let root = Path::new(&self.name);
        if !is_free(root).map_err(|error| failed(root, &error))? {
            return Err(CliError::failed(format!("{} exists and is not empty", root.display())));
        }
        let texts = FILES.iter().map(|(path, text)| self.filled_in(path, text));
        let texts = texts.collect::<Result<Vec<String>, CliError>>()?;
        for ((path, _), text) in FILES.iter().zip(texts) {
            let path = root.join(path.replace(TEMPLATE_NAME, &self.name));
            write(&path, &text).map_err(|error| failed(&path, &error))?;
        }
        let name = &self.name;
        output::line(format!("created {name} ({} files)", FILES.len()))?;
        output::line(format!("  cd {name}"))?;
        output::line("  cargo test")?;
        output::line("  cargo run -- dispatch")?;
        output::line("  cargo run -- perform --until-empty")?;
        Ok(ExitCode::SUCCESS)
    }

    /// The text of a file of the project.
    fn filled_in(&self, path: &str, text: &str) -> Result<String, CliError> {
        // Names of objects in Kubernetes have no underscore.
        let name = if path.starts_with("deploy/kubernetes") {
            self.name.replace('_', "-")
        } else {
            self.name.clone()
        };
        let mut text = text.replace(TEMPLATE_NAME, &name);
        if let Some(folder) = self.performer_path.as_ref().filter(|_| path == "Cargo.toml") {
            let folder = fs::canonicalize(folder).map_err(|error| failed(folder, &error))?;
            // A JSON string is a TOML string too.
            let folder = serde_json::Value::from(folder.to_string_lossy());
            text = text.replace(PUBLISHED, &format!("performer = {{ path = {folder}, "));
        }
        Ok(text)
    }
}

/// Whether nothing is there, or an empty folder.
fn is_free(folder: &Path) -> io::Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a new file, and the folders that lead to it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = fs::File::create_new(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}

fn failed(path: &Path, error: &io::Error) -> CliError {
    CliError::failed(format!("{}: {error}", path.display()))
}

/// Longer names do not fit where Kubernetes adds to them.
const MAX_NAME: usize = 50;

/// Names that cargo refuses, or that a dependency of the project has.
const RESERVED: [&str; 70] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "csv",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "performer",
    "priv",
    "proc-macro",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "tokio",
    "toml",
    "tracing",
    "tracing-subscriber",
    "tracing_subscriber",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "union",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// A name for a crate that is also good for a file, a service and an image.
fn project_name(name: &str) -> Result<String, String> {
    let is_letter = |c: char| c.is_ascii_lowercase();
    let is_inner = |c: char| is_letter(c) || c.is_ascii_digit() || c == '-' || c == '_';
    if name.len() > MAX_NAME {
        return Err(format!("a name has at most {MAX_NAME} characters"));
    }
    if !name.starts_with(is_letter) || !name.chars().all(is_inner) {
        return Err("a name has small letters, digits, '-' and '_', and begins with a letter".to_owned());
    }
    if name.ends_with(['-', '_']) {
        return Err("a name ends with a letter or a digit".to_owned());
    }
    if RESERVED.contains(&name) {
        return Err("this name is reserved for Rust, for cargo or for a dependency".to_owned());
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_crates_are_accepted() {
        for name in ["a", "post-invoices", "post_invoices", "robot2", &"a".repeat(MAX_NAME)] {
            assert_eq!(project_name(name).as_deref(), Ok(name));
        }
        let long = "a".repeat(MAX_NAME + 1);
        for name in [
            "",
            "2",
            "-a",
            "_a",
            "a-",
            "a_",
            "A",
            "a b",
            "a/b",
            "..",
            "a.b",
            "ä",
            "match",
            "performer",
            &long,
        ] {
            assert!(project_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_templates_depend_on_this_version() {
        let (_, manifest) = FILES.iter().find(|(path, _)| *path == "Cargo.toml").unwrap();
        assert_eq!(manifest.matches(PUBLISHED).count(), 1);
        let version = PUBLISHED.split('"').nth(1).unwrap();
        let own = env!("CARGO_PKG_VERSION");
        assert!(
            own.strip_prefix(version).is_some_and(|rest| rest.starts_with('.')),
            "{own} is not {version}"
        );
    }

    /// Rust is formatted whatever the name is.
    #[test]
    fn the_name_stands_in_no_rust() {
        for (path, text) in FILES.iter().filter(|(path, _)| path.ends_with(".rs")) {
            assert!(!text.contains(TEMPLATE_NAME), "{path}");
        }
    }
}
