//! What all commands have in common: the formats of lists, errors for programs, colours, and silence.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{Server, command, done, json, run, text};

fn of(folder: &Path, words: &[&str]) -> Command {
    let mut command = command(folder, words);
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command.env("PERFORMER_URL", "sqlite:lists.db").env("PERFORMER_STORE", "sqlite:served.db");
    command
}

/// A server in this folder, whose store has a directory of applications and users.
fn server(folder: &Path) -> Server {
    Server::known(folder, &["--listen", "127.0.0.1:0", "--store", "sqlite:served.db"])
}

/// A list command, and the heads of its columns.
const LISTS: [(&[&str], &str); 5] = [
    (&["queue", "list"], "QUEUE,STATE,NEW,IN PROGRESS,ALL,RETRIES,DESCRIPTION"),
    (&["item", "list"], "ITEM,STATUS,REVIEW,PRIORITY,REFERENCE,CREATED,RETRY,NOTE"),
    (&["job", "list"], "JOB,QUEUE,STATE,MACHINE,PROCESS,VERSION,ROBOTS,STARTED,RESULTS"),
    (&["reason", "list"], "REASON,OPEN,TOTAL,QUEUE,TYPE,LAST SEEN,OWNER,EXAMPLE,NOTE"),
    (&["access", "list"], "KIND,ID,NAME,KEY,TYPE,USER,SCOPES,ROLES,EXPIRES"),
];

#[test]
fn every_list_has_the_same_formats() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(server(folder.path()).stop(), 0);
    for (list, heads) in LISTS {
        let printed = |options: &[&str]| done(of(folder.path(), &[list, options].concat()));
        let is_access = list[0] == "access";
        if !is_access {
            assert_eq!(printed(&["--json"]).trim(), "[]", "{list:?}: an empty list is an empty array");
            assert_eq!(printed(&["-o", "jsonl"]), "", "{list:?}");
            assert_eq!(printed(&["-o", "csv"]).trim(), heads, "{list:?}");
            assert_eq!(printed(&[]).trim(), heads.replace(',', "\t"), "{list:?}: separated by tabs");
        }
    }
    done(of(folder.path(), &["queue", "create", "Invoices", "--description", "those of ACME, \"north\""]));
    for n in 0..3 {
        let reference = format!("請求書-{n}-{}", "x".repeat(100));
        done(of(folder.path(), &["item", "add", "Invoices", "--reference", &reference, "n=1"]));
    }
    done(of(folder.path(), &["access", "add-folder", "Shared/North"]));
    for (list, heads) in LISTS {
        let printed = |options: &[&str]| done(of(folder.path(), &[list, options].concat()));
        let array: Value = serde_json::from_str(&printed(&["--json"])).unwrap();
        assert_eq!(array, serde_json::from_str::<Value>(&printed(&["--output", "json"])).unwrap());
        let lines = printed(&["-o", "jsonl"]);
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(array, Value::Array(lines.clone()), "{list:?}");
        let csv = printed(&["-o", "csv"]);
        assert_eq!(csv.lines().next(), Some(heads));
        assert_eq!(csv.lines().count(), 1 + lines.len(), "{list:?}: {csv}");
        if list[0] != "access" {
            let table = printed(&[]);
            let columns = heads.split(',').count();
            assert!(table.lines().all(|line| line.split('\t').count() == columns), "{list:?}: {table}");
        }
    }
    let queues = done(of(folder.path(), &["queue", "list", "-o", "csv"]));
    assert!(queues.contains("Invoices,running,3,0,3,1,\"those of ACME, \"\"north\"\"\""), "{queues}");
    let items = done(of(folder.path(), &["item", "list"]));
    assert!(items.contains(&format!("請求書-2-{}", "x".repeat(100))), "all of it: {items}");
    let both = run(folder.path(), &["queue", "list", "--json", "-o", "csv", "--url", "sqlite:lists.db"]);
    assert_eq!(both.status.code(), Some(2), "{}", text(&both.stderr));
}

#[test]
fn an_error_is_one_object_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    done(of(folder.path(), &["queue", "create", "Invoices", "--unique-reference"]));
    done(of(folder.path(), &["item", "add", "Invoices", "--reference", "R", "n=1"]));
    for (words, exit_code, code) in [
        (&["item", "add", "Invoices", "--reference", "R", "n=1", "--json"][..], 1, json!(1016)),
        (&["queue", "show", "Nothing", "--json"], 5, json!(1002)),
        (&["item", "list", "--queue", "Nothing", "-o", "jsonl"], 5, json!(1002)),
        (&["queue", "list", "--json", "--url", "nowhere:at all"], 1, Value::Null),
        (&["queue", "limit", "Invoices", "--json"], 2, Value::Null),
        (&["queue", "no-such-command", "--json"], 2, Value::Null),
        (&["--json", "queue", "show"], 2, Value::Null),
    ] {
        let output = of(folder.path(), words).output().unwrap();
        let said = text(&output.stderr);
        let error: Value =
            serde_json::from_str(&said).unwrap_or_else(|error| panic!("{words:?}: {error}: {said}"));
        assert_eq!((output.status.code(), &error["code"]), (Some(exit_code), &code), "{words:?}: {said}");
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{said}");
        assert_eq!(error.as_object().unwrap().len(), 2, "{said}");
        assert!(output.stdout.is_empty(), "{words:?}");
    }
    let people = of(folder.path(), &["queue", "show", "Nothing"]).output().unwrap();
    assert_eq!(text(&people.stderr), "performer: queue \"Nothing\" does not exist (code 1002)\n");
}

#[test]
fn statuses_have_colours_if_they_are_wanted() {
    let folder = tempfile::tempdir().unwrap();
    done(of(folder.path(), &["queue", "create", "Invoices"]));
    done(of(folder.path(), &["queue", "pause", "Invoices"]));
    let coloured = "\u{1b}[33mpaused\u{1b}[0m";
    for (options, variables, has_colours) in [
        (&[][..], &[][..], false),
        (&["--color", "always"], &[], true),
        (&["--color", "always"], &[("NO_COLOR", "1")], true),
        (&[], &[("CLICOLOR_FORCE", "1")], true),
        (&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        (&["--color", "never"], &[("CLICOLOR_FORCE", "1")], false),
    ] {
        let mut list = of(folder.path(), &[&["queue", "list"], options].concat());
        list.envs(variables.iter().copied());
        let table = done(list);
        assert_eq!(table.contains(coloured), has_colours, "{options:?} {variables:?}: {table}");
    }
    let csv = done(of(folder.path(), &["queue", "list", "-o", "csv", "--color", "always"]));
    assert!(!csv.contains('\u{1b}'), "a file has no colours: {csv}");
}

#[test]
fn remarks_are_silenced_and_refusals_are_not() {
    let folder = tempfile::tempdir().unwrap();
    done(of(folder.path(), &["queue", "create", "Invoices"]));
    done(of(folder.path(), &["item", "add", "Invoices", "n=1"]));
    done(of(folder.path(), &["item", "add", "Invoices", "n=2"]));
    let said = |words: &[&str]| text(&of(folder.path(), words).output().unwrap().stderr);
    let list = ["item", "list", "--top", "1"];
    assert!(said(&list).contains("1 of 2 items"));
    assert_eq!(said(&[&list[..], &["--quiet"]].concat()), "");
    assert_eq!(said(&[&["-q"], &list[..]].concat()), "");
    assert_eq!(said(&["reason", "list", "-q"]), "");
    assert!(said(&["item", "retry", "1", "-q"]).contains("item 1 is refused"), "it is New");
    assert!(said(&["queue", "show", "Nothing", "-q"]).contains("does not exist"));
}

#[test]
fn times_of_tables_are_shown_as_wanted() {
    let folder = tempfile::tempdir().unwrap();
    done(of(folder.path(), &["queue", "create", "Invoices"]));
    done(of(folder.path(), &["item", "add", "Invoices", "n=1"]));
    let created = |style: &str| {
        let table = done(of(folder.path(), &["item", "list", "--time", style]));
        table.lines().nth(1).unwrap().split('\t').nth(5).unwrap().to_owned()
    };
    let iso = created("iso");
    assert!(iso.len() == 20 && iso.ends_with('Z'), "{iso}");
    assert!(created("unix").parse::<i64>().unwrap() > 1_700_000_000);
    let relative = created("relative");
    assert!(relative == "now" || relative.ends_with(" ago"), "{relative}");
    let exact = json(of(folder.path(), &["item", "list", "--time", "relative", "--json"]));
    assert!(exact[0]["CreationTime"].as_str().unwrap().ends_with('Z'), "JSON is exact: {exact}");
}

/// Whatever is asked of a server, the same answer is printed as for a file.
#[test]
fn lists_of_a_server_have_the_same_formats() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    done(server.command(folder.path(), &["queue", "create", "Invoices"]));
    for (list, heads) in &LISTS[..3] {
        let csv = done(server.command(folder.path(), &[list, &["-o", "csv"][..]].concat()));
        assert_eq!(csv.lines().next(), Some(*heads), "{list:?}");
    }
    let mut refused = server.command(folder.path(), &["queue", "list", "--json"]);
    let refused = refused.env("UIPATH_CLIENT_SECRET", "wrong").output().unwrap();
    let error: Value = serde_json::from_str(&text(&refused.stderr)).unwrap();
    assert_eq!(refused.status.code(), Some(4), "{error}");
}
