//! What the command says about itself: topics, completions of shells, man pages.

use std::collections::BTreeSet;

use super::{command, done, run, text};

/// The commands that a help lists, by the words after `performer`.
fn commands(folder: &std::path::Path, words: &[&str]) -> Vec<Vec<String>> {
    let help = done(command(folder, &[words, &["--help"]].concat()));
    let Some(list) = help.split("\nCommands:\n").nth(1) else { return Vec::new() };
    let mut all = Vec::new();
    for line in list.lines().take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   ")) {
        let name = line.split_whitespace().next().unwrap();
        if words.is_empty() || name != "help" {
            let path: Vec<&str> = words.iter().copied().chain([name]).collect();
            all.push(path.iter().map(|word| (*word).to_owned()).collect());
            all.extend(commands(folder, &path));
        }
    }
    all
}

#[test]
fn each_shell_completes_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let all = commands(folder.path(), &[]);
    assert!(all.len() > 35, "{}", all.len());
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = done(command(folder.path(), &["completions", shell]));
        let words: BTreeSet<&str> =
            script.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).collect();
        for path in &all {
            let name = path.last().unwrap().as_str();
            assert!(words.contains(name), "{shell} does not complete {path:?}");
        }
        assert!(script.contains("max-in-progress"), "{shell} completes options");
    }
    let unknown = run(folder.path(), &["completions", "tcsh"]);
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn every_command_has_a_man_page() {
    let folder = tempfile::tempdir().unwrap();
    let all = commands(folder.path(), &[]);
    done(command(folder.path(), &["man", "--out", "share/man1", "-q"]));
    let read = |name: &str| std::fs::read_to_string(folder.path().join("share/man1").join(name));
    for path in &all {
        let name = format!("performer-{}.1", path.join("-"));
        let page = read(&name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}");
    }
    assert!(read("performer.1").unwrap().contains("performer\\-queue(1)"));
    let is_file = run(folder.path(), &["man", "--out", "share/man1/performer.1"]);
    assert_eq!(is_file.status.code(), Some(1), "{}", text(&is_file.stderr));
}

#[test]
fn help_explains_commands_and_topics() {
    let folder = tempfile::tempdir().unwrap();
    for topic in ["exit-codes", "filters", "environment", "formats"] {
        let explained = done(command(folder.path(), &["help", topic]));
        assert!(explained.lines().count() > 10, "{topic}: {explained}");
        let too_long = explained.lines().find(|line| line.chars().count() > 130);
        assert_eq!(too_long, None, "{topic}");
    }
    let by_help = done(command(folder.path(), &["help", "item", "retry"]));
    assert_eq!(by_help, done(command(folder.path(), &["item", "retry", "--help"])));
    let unknown = run(folder.path(), &["help", "item", "paint"]);
    let said = text(&unknown.stderr);
    assert!(unknown.status.code() == Some(2) && said.contains("exit-codes, filters"), "{said}");
    // A script that has forgotten the command gets an error, and not the first steps.
    let alone = run(folder.path(), &[]);
    assert_eq!((alone.status.code(), text(&alone.stdout).as_str()), (Some(2), ""));
    assert!(text(&alone.stderr).contains("Usage: performer"));
}
