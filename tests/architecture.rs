//! What the compiler cannot hold: which crate may use which, who touches what, how long a file is; and the pages that describe
//! the house name what exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file of the crates, with its path from the root.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    for folder in crates() {
        walk(&root().join(folder).join("src"), &mut paths);
    }
    paths.sort();
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The folders of the crates that are published: the root, and those in `crates`.
fn crates() -> Vec<String> {
    let members = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut folders: Vec<String> = members.map(|name| format!("crates/{}", name.to_string_lossy())).collect();
    folders.push(String::new());
    folders.sort();
    folders
}

/// The manifest of a crate or of another package of the workspace.
fn manifest(folder: &str) -> String {
    fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap()
}

/// The lines of the sections of a manifest whose names end like this.
fn section<'a>(manifest: &'a str, ending: &'a str) -> impl Iterator<Item = &'a str> {
    let mut inside = false;
    manifest.lines().filter(move |line| {
        if line.starts_with('[') {
            inside = line.trim_matches(['[', ']']) == ending;
            return false;
        }
        inside && !line.is_empty()
    })
}

/// The code of a file: without comments, and without its unit tests.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The crates from below. A crate uses those of lower floors.
const FLOORS: [&[&str]; 6] = [
    &["performer-core"],
    &["performer-wire", "performer-store"],
    &["performer-tables"],
    &["performer-uipath", "performer-server"],
    &["performer"],
    &["performer-cli", "performer-conformance"],
];

/// The compiler holds what a crate uses; this holds what a manifest may say.
#[test]
fn a_crate_uses_lower_floors() {
    let floor = |name: &str| {
        let floor = FLOORS.iter().position(|names| names.contains(&name));
        floor.unwrap_or_else(|| panic!("{name} is on no floor: ARCHITECTURE.md says where things go"))
    };
    let mut looked = 0;
    for folder in crates() {
        let text = manifest(&folder);
        let name = section(&text, "package").find_map(|line| line.strip_prefix("name = ")).unwrap();
        let own = name.trim_matches('"');
        for line in section(&text, "dependencies").filter(|line| line.starts_with("performer")) {
            let used = line.split(['.', ' ']).next().unwrap();
            assert!(
                floor(used) < floor(own),
                "{own} (floor {}) uses {used} (floor {})",
                floor(own),
                floor(used)
            );
            looked += 1;
        }
    }
    assert!(looked > 10, "the test looks at something: {looked}");
}

/// The runtime works with any back end: no module of the facade but `orchestrator`, which has `connect`, and `testing`, which
/// needs a store in memory, names one.
#[test]
fn the_runtime_knows_no_back_end() {
    for (file, text) in sources().iter().filter(|(file, _)| file.starts_with("src/runtime")) {
        for word in ["performer_store", "performer_uipath", "orchestrator::store", "orchestrator::uipath"] {
            assert!(!code(text).contains(word), "{file} names {word}");
        }
    }
}

#[test]
fn the_lower_floors_know_no_runtime_no_sql_and_no_http() {
    let (mut wrong, low) = (Vec::new(), ["crates/core/src/model", "crates/wire/src"]);
    for (file, text) in sources().iter().filter(|(file, _)| low.iter().any(|low| file.starts_with(low))) {
        for word in ["tokio", "rusqlite", "SELECT ", "reqwest", "axum", "async fn"] {
            if code(text).contains(word) {
                wrong.push(format!("{file} knows {word}"));
            }
        }
    }
    for folder in ["crates/core", "crates/wire"] {
        let text = manifest(folder);
        let heavy = ["tokio", "rusqlite", "reqwest", "axum"];
        let used =
            section(&text, "dependencies").filter(|line| heavy.iter().any(|word| line.starts_with(word)));
        wrong.extend(used.map(|line| format!("{folder} depends on {line}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_delicate_is_touched_in_one_place() {
    for (file, text) in sources() {
        let code = code(&text);
        let only_in = |what: &str, places: &[&str]| {
            let allowed = places.iter().any(|place| file.starts_with(place));
            // A name in quotes is the target of a log line.
            let is_touched = || code.replace(&format!("\"{what}\""), "").contains(what);
            assert!(allowed || !is_touched(), "{file} touches {what}; only {places:?} may");
        };
        only_in("rusqlite", &["crates/store/src/sqlite"]);
        // It is handed on, for users who bring a transaction of their own.
        let handed_on = |line: &&str| line.starts_with("pub use ") && line.ends_with("tokio_postgres;");
        let is_named = |line: &str| line.replace("\"tokio_postgres\"", "").contains("tokio_postgres");
        let named = code.lines().filter(|line| !handed_on(line)).any(is_named);
        assert!(!named || file.starts_with("crates/store/src/postgres"), "{file} touches tokio_postgres");
        let sql = ["crates/store/src/sqlite", "crates/store/src/postgres", "crates/store/src/sql/"];
        only_in("SELECT ", &sql);
        only_in("UPDATE ", &sql);
        only_in(
            "reqwest",
            &["crates/uipath", "crates/server/src/webhooks", "crates/store/src/files/cloud.rs"],
        );
        only_in(
            "expose_secret",
            &[
                "crates/uipath",
                "crates/core/src/model/asset.rs",
                "crates/core/src/model/webhook.rs",
                "crates/server/src/webhooks",
                "crates/store/src/encryption",
                "crates/wire/src/asset.rs",
                "crates/wire/src/webhook.rs",
            ],
        );
        only_in("@odata", &["crates/wire"]);
        only_in("use backoff", &["crates/core/src/backoff.rs"]);
        only_in("ExponentialBackoff", &["crates/core/src/backoff.rs"]);
        only_in("Timestamp::now", &["crates/core/src/model/clock.rs"]);
        only_in("SystemTime", &["crates/core/src/model/clock.rs"]);
        only_in("std::time::Instant", &["crates/core/src/model/clock.rs"]);
        only_in("lifecycle::transition", &["crates/store/src/apply", "crates/core/src/model/lifecycle.rs"]);
        only_in("thread::sleep", &["crates/store/src/sqlite/file.rs"]);
        only_in("todo!", &[]);
        only_in("unimplemented!", &[]);
    }
}

/// A macro that is used as an expression answers with a `Result`. A question mark in it would leave the function that uses
/// it, and with it a loop, where the error was to be looked at.
#[test]
fn no_macro_returns_from_the_function_that_uses_it() {
    for (file, text) in sources() {
        let code = code(&text);
        for (at, _) in code.match_indices('$') {
            let argument: &str = &code[at + 1..];
            let end = argument.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(argument.len());
            let behind = argument[end..].strip_prefix(".await").unwrap_or(&argument[end..]);
            assert!(end == 0 || !behind.starts_with('?'), "{file}: a macro ends ${}?", &argument[..end]);
        }
    }
}

#[test]
fn a_long_file_says_why() {
    const LIMIT: usize = 500;
    for (file, text) in sources() {
        let lines = text.lines().count();
        let reason = text.lines().take(6).any(|line| line.starts_with("//") && line.contains("500 lines"));
        assert!(lines <= LIMIT || reason, "{file} has {lines} lines; cut it by idea, or say why at its top");
    }
}

#[test]
fn no_room_is_a_lumber_room() {
    for (file, _) in sources() {
        for name in ["utils", "util", "common", "helpers", "misc"] {
            assert!(
                !file.split(['/', '.']).any(|part| part == name),
                "{file}: a file is named after a thing of the field"
            );
        }
    }
}

/// Every dependency has a line above it, in the manifest of the workspace, that says why it is there; and the packages take
/// their dependencies from there.
#[test]
fn every_dependency_says_why() {
    let workspace = manifest("");
    let (mut before, mut looked) = ("", 0);
    for line in section(&workspace, "workspace.dependencies") {
        if !line.starts_with('#') && !line.starts_with("performer") {
            looked += 1;
            assert!(before.starts_with('#'), "why is there {line:?}?");
        }
        before = line;
    }
    assert!(looked > 15);
    let private = ["benches".to_owned(), "proofs".to_owned()];
    for folder in crates().into_iter().chain(private) {
        let text = manifest(&folder);
        for line in section(&text, "dependencies").chain(section(&text, "dev-dependencies")) {
            // Without a version: a published package does not need what only tests of ours use.
            let is_own =
                line.starts_with("performer") && line.contains("path = ") && !line.contains("version");
            assert!(is_own || line.contains("workspace = true"), "{folder}/Cargo.toml: {line}");
        }
    }
}

/// The first code in the README is the program that runs.
#[test]
fn the_readme_shows_the_hello_example() {
    let hello = fs::read_to_string(root().join("examples/hello.rs")).unwrap();
    let (_, program) = hello.split_once("\n\n").unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains(program.trim()), "README.md and examples/hello.rs differ");
}

/// ARCHITECTURE.md and the pages of docs/decisions, with their paths from the root.
fn described() -> Vec<(String, String)> {
    let folder = fs::read_dir(root().join(DECISIONS)).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut pages: Vec<String> = names.map(|name| format!("{DECISIONS}/{name}")).collect();
    pages.push("ARCHITECTURE.md".to_owned());
    pages.sort();
    let read = |page: String| {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        (page, text)
    };
    pages.into_iter().map(read).collect()
}

const DECISIONS: &str = "docs/decisions";

#[test]
fn every_decision_is_listed_and_complete() {
    const PARTS: [&str; 4] = ["**Context.**", "**Decision.**", "**Consequences.**", "**Code:** `"];
    let list = format!("{DECISIONS}/README.md");
    let contents = fs::read_to_string(root().join(&list)).unwrap();
    let mut numbers = BTreeSet::new();
    let pages = described();
    for (page, text) in pages.iter().filter(|(page, _)| page.starts_with(DECISIONS) && *page != list) {
        let name = page.rsplit('/').next().unwrap();
        let (number, _) = name.split_once('-').unwrap();
        assert!(number.len() == 4 && number.parse::<u16>().is_ok(), "{page} has no number of four digits");
        assert!(numbers.insert(number), "{page}: the number is taken");
        let title = text.strip_prefix(&format!("# {number}. ")).and_then(|rest| rest.lines().next());
        let title = title.unwrap_or_else(|| panic!("{page} does not begin with its number and a title"));
        let entry = format!("* [{number}]({name}) **{title}.** ");
        assert_eq!(contents.matches(&entry).count(), 1, "{list} has no line that begins {entry:?}");
        for part in PARTS {
            assert_eq!(text.matches(part).count(), 1, "{page}: {part}");
        }
    }
    assert!(numbers.len() > 50, "the test looks at something: {}", numbers.len());
}

/// The README is short; what it leaves out is in the guide.
#[test]
fn the_readme_is_short() {
    const LIMIT: usize = 120;
    let lines = fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines <= LIMIT, "README.md has {lines} lines; move what a newcomer does not need to docs/guide");
}

/// Every page of the guide is shown on docs.rs and named in the README and in the guide's own list, and a
/// reference such as [running] leads to the same page on docs.rs.
#[test]
fn the_guide_is_whole() {
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let folder = root().join("docs/guide");
    let (readme, index) = (read(&root().join("README.md")), read(&folder.join("README.md")));
    let (guide, library) = (read(&root().join("src/guide.rs")), read(&root().join("src/lib.rs")));
    let mut pages = 0;
    for page in fs::read_dir(&folder).unwrap() {
        let path = page.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "README.md" {
            continue;
        }
        pages += 1;
        assert!(guide.contains(&format!("\"{name}\"")), "src/guide.rs does not show {name}");
        assert!(readme.contains(&format!("]: docs/guide/{name}")), "README.md does not name {name}");
        let label = index.lines().find_map(|line| line.strip_suffix(&format!("]: {name}")));
        let label = label.unwrap_or_else(|| panic!("docs/guide/README.md does not name {name}"));
        let module = name.trim_end_matches(".md").replace('-', "_");
        let definition = format!("{label}]: crate::guide::{module}");
        for (text, times, file) in [(&guide, 2, "guide.rs"), (&library, 1, "lib.rs")] {
            let found = text.matches(&definition).count();
            assert_eq!(found, times, "src/{file} defines {definition} {found} times");
        }
    }
    assert!(pages >= 14, "{pages} pages");
}

/// The checks above can fail.
#[test]
fn a_violation_is_seen() {
    let lines: Vec<&str> =
        section("[a]\nb = 1\n\n[dependencies]\nc = 2\n[d]\ne = 3", "dependencies").collect();
    assert_eq!(lines, ["c = 2"]);
    assert!(code("let a = 1; // SELECT \n/// tokio").find("SELECT").is_none());
    assert!(code("x\n#[cfg(test)]\nmod tests {\n SystemTime }").find("SystemTime").is_none());
}
