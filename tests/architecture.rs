//! The house keeps its floors: who may know whom, who touches what, how long a file is; and the pages that describe it name
//! what exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file under `src`, with its path from there.
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
    let src = root().join("src");
    let mut paths = Vec::new();
    walk(&src, &mut paths);
    paths.sort();
    let name = |path: &Path| path.strip_prefix(&src).unwrap().to_string_lossy().replace('\\', "/");
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The code of a file: without comments, and without its unit tests.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The room of a file, and the floor it is on.
fn room(file: &str) -> (&str, u8) {
    let room = file.split(['/', '.']).next().unwrap();
    let floor = match room {
        "model" | "crash_point" => 0,
        "exception" | "wire" | "backoff" => 1,
        "orchestrator" => 2,
        "performer" | "server" | "testing" => 3,
        "cli" => 4,
        "lib" | "main" | "guide" => 5,
        _ => panic!("{file} is in no room of the house: ARCHITECTURE.md says where things go"),
    };
    (room, floor)
}

/// The rooms that a file names: `crate::room`, alone or in braces.
fn rooms_named(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let list = rest.strip_prefix('{').and_then(|rest| rest.split('}').next());
        for path in list.unwrap_or(rest).split(',') {
            let word: String = path.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            named.insert(word);
            if list.is_none() {
                break;
            }
        }
    }
    named
}

#[test]
fn nobody_looks_up_or_sideways() {
    const ROOMS: [&str; 8] =
        ["model", "exception", "wire", "backoff", "orchestrator", "performer", "server", "cli"];
    let mut looked = 0;
    for (file, text) in sources() {
        let (own, floor) = room(&file);
        for named in rooms_named(&code(&text)) {
            if !ROOMS.contains(&named.as_str()) || named == own {
                continue;
            }
            looked += 1;
            let (_, below) = room(&named);
            // A user's unit test runs a transaction with the real runtime around it: `testing` uses `performer`
            // as a user does.
            let allowed = below < floor || (own == "testing" && named == "performer");
            assert!(allowed, "{file} (floor {floor}) names {named} (floor {below})");
        }
    }
    assert!(looked > 30, "the test looks at something: {looked}");
}

#[test]
fn the_lower_floors_know_no_runtime_no_sql_and_no_http() {
    for (file, text) in sources().iter().filter(|(file, _)| room(file).1 <= 1) {
        for word in ["tokio", "rusqlite", "SELECT ", "reqwest", "axum", "async fn"] {
            assert!(!code(text).contains(word), "{file} knows {word}");
        }
    }
}

#[test]
fn what_is_delicate_is_touched_in_one_place() {
    for (file, text) in sources() {
        let code = code(&text);
        let only_in = |what: &str, places: &[&str]| {
            let allowed = places.iter().any(|place| file.starts_with(place));
            assert!(allowed || !code.contains(what), "{file} touches {what}; only {places:?} may");
        };
        only_in("rusqlite", &["orchestrator/store/sqlite"]);
        // It is handed on, for users who bring a transaction of their own.
        let handed_on = |line: &&str| line.starts_with("pub use ") && line.ends_with("tokio_postgres;");
        let named = code.lines().filter(|line| !handed_on(line)).any(|line| line.contains("tokio_postgres"));
        assert!(!named || file.starts_with("orchestrator/store/postgres"), "{file} touches tokio_postgres");
        let stores = ["orchestrator/store/sqlite", "orchestrator/store/postgres"];
        only_in("SELECT ", &stores);
        only_in("UPDATE ", &stores);
        only_in("reqwest", &["orchestrator/uipath"]);
        only_in("expose_secret", &["orchestrator/uipath"]);
        only_in("@odata", &["wire"]);
        only_in("use backoff", &["backoff.rs"]);
        only_in("ExponentialBackoff", &["backoff.rs"]);
        only_in("Timestamp::now", &["model/clock.rs"]);
        only_in("SystemTime", &["model/clock.rs"]);
        only_in("std::time::Instant", &["model/clock.rs"]);
        only_in("lifecycle::transition", &["orchestrator/store/apply", "model/lifecycle.rs"]);
        only_in("thread::sleep", &["orchestrator/store/sqlite/file.rs"]);
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

/// Every dependency has a line above it that says why it is there.
#[test]
fn every_dependency_says_why() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut section = "";
    let mut before = "";
    let mut looked = 0;
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]") && line.contains('=') && !line.starts_with('#') {
            looked += 1;
            assert!(before.starts_with('#'), "why is there {line:?}?");
        }
        before = line;
    }
    assert!(looked > 15);
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
    assert!(rooms_named("use crate::{model::key, performer};").contains("performer"));
    assert!(rooms_named("use crate::orchestrator::store;").contains("orchestrator"));
    assert!(code("let a = 1; // SELECT \n/// tokio").find("SELECT").is_none());
    assert!(code("x\n#[cfg(test)]\nmod tests {\n SystemTime }").find("SystemTime").is_none());
    assert_eq!(room("orchestrator/store/apply.rs"), ("orchestrator", 2));
}
