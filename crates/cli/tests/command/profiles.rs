//! `performer profile`, and what a profile stands for.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{CLIENT, SECRET, Server, command, done, json, text};

/// The exit code, and what was printed to stdout and stderr.
fn said(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn add(folder: &Path, words: &[&str]) -> (i32, String, String) {
    said(command(folder, &[&["profile", "add"], words].concat()))
}

#[test]
fn profiles_are_added_chosen_shown_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let of = |words: &[&str]| said(command(folder, words));
    assert_eq!(json(command(folder, &["profile", "list", "--json"])), json!([]));
    let (code, _, error) = of(&["queue", "list"]);
    assert!(code == 2 && error.contains("add a profile"), "{error}");
    assert_eq!(add(folder, &["one", "--at", "sqlite:one.db", "--default"]).0, 0);
    assert_eq!(add(folder, &["two", "--at", "sqlite:two.db", "--folder", "Shared"]).0, 0);
    let (code, _, error) = add(folder, &["two", "--at", "sqlite:2.db"]);
    assert!(code == 1 && error.contains("--force replaces it"), "{error}");
    let table = done(command(folder, &["profile", "list"]));
    assert_eq!(
        table,
        "PROFILE\tDEFAULT\tURL\tFOLDER\none\tyes\tsqlite:one.db\t\ntwo\t\tsqlite:two.db\tShared\n"
    );
    let shown = json(command(folder, &["profile", "show", "two", "--json"]));
    let expected = json!({ "Name": "two", "IsDefault": false, "Url": "sqlite:two.db", "Settings": { "folder": "Shared" } });
    assert_eq!(shown, expected);
    assert!(done(command(folder, &["profile", "show"])).contains("sqlite:one.db"));

    // A location that is given comes before the default profile.
    done(command(folder, &["queue", "create", "InOne"]));
    done(command(folder, &["queue", "create", "InTwo", "--profile", "two"]));
    let queues = |change: &dyn Fn(&mut Command)| {
        let mut command = command(folder, &["queue", "list", "--json"]);
        change(&mut command);
        json(command)[0]["Name"].as_str().unwrap().to_owned()
    };
    assert_eq!(queues(&|_| ()), "InOne");
    assert_eq!(queues(&|command| _ = command.env("PERFORMER_PROFILE", "two")), "InTwo");
    assert_eq!(queues(&|command| _ = command.env("PERFORMER_URL", "sqlite:two.db")), "InTwo");
    assert_eq!(
        queues(&|command| _ = command.env("PERFORMER_PROFILE", "one").args(["--url", "sqlite:two.db"])),
        "InTwo"
    );
    assert_eq!(
        queues(&|command| _ = command.env("PERFORMER_URL", "sqlite:one.db").args(["--profile", "two"])),
        "InTwo"
    );
    let mut both = command(folder, &["queue", "list"]);
    both.env("PERFORMER_URL", "sqlite:one.db").env("PERFORMER_PROFILE", "two");
    let (code, _, error) = said(both);
    assert!(code == 2 && error.contains("set PERFORMER_URL or PERFORMER_PROFILE, not both"), "{error}");
    let (code, _, error) = of(&["queue", "list", "--profile", "two", "--url", "sqlite:one.db"]);
    assert!(code == 2 && error.contains("not both"), "{error}");

    done(command(folder, &["profile", "use", "two"]));
    assert_eq!(queues(&|_| ()), "InTwo");
    done(command(folder, &["profile", "use", "--none"]));
    assert_eq!(of(&["queue", "list"]).0, 2);
    assert_eq!(json(command(folder, &["profile", "remove", "two", "--json"])), json!({ "Removed": "two" }));
    for words in [
        &["profile", "remove", "two"][..],
        &["profile", "use", "two"],
        &["queue", "list", "--profile", "two"],
    ] {
        let (code, _, error) = of(words);
        assert!(
            code == 5 && error.contains("there is no profile \"two\"; profiles are one"),
            "{words:?}: {error}"
        );
    }
}

#[test]
fn a_profile_has_no_secret_and_names_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (words, says) in [
        (&["db", "--at", "postgres://ann:secret@db/queues"][..], "a profile has no secrets"),
        (&["a b", "--at", "sqlite:a.db"], "is not a name"),
        (&["a", "--at", "a.db"], "is not a URL"),
        (&["a", "--at", "https://x", "--pat-env", "A", "--pat-file", "b"], "cannot be used with"),
    ] {
        let (code, _, error) = add(folder, words);
        assert!(code == 2 && error.contains(says), "{words:?}: {error}");
    }
    assert!(!folder.join("profiles.toml").exists());

    let server = Server::known(folder, &["--listen", "127.0.0.1:0"]);
    let at = [
        "server",
        "--at",
        &server.url,
        "--folder",
        "Shared",
        "--client-id",
        CLIENT,
        "--client-secret-env",
        "OUR_SECRET",
    ];
    assert_eq!(add(folder, &at).0, 0);
    let with = |words: &[&str], secret: Option<&str>| {
        let mut command = command(folder, words);
        command.env("PERFORMER_PROFILE", "server").env("UIPATH_PAT", "of another server");
        secret.map(|secret| command.env("OUR_SECRET", secret));
        command
    };
    done(with(&["queue", "create", "Invoices"], Some(SECRET)));
    assert_eq!(json(with(&["queue", "list", "--json"], Some(SECRET)))[0]["Name"], "Invoices");
    assert_eq!(json(with(&["doctor", "--check", "reach", "--json"], Some(SECRET)))["Bad"], 0);
    assert_eq!(said(with(&["queue", "list"], Some("wrong"))).0, 4);
    let (code, _, error) = said(with(&["queue", "list"], None));
    assert!(
        code == 2 && error.contains("the variable OUR_SECRET, which has its client_secret, is not set"),
        "{error}"
    );
    std::fs::write(folder.join("secret"), format!("{SECRET}\n")).unwrap();
    let file = folder.join("secret").to_str().unwrap().to_owned();
    let from_file = [
        "server",
        "--at",
        &server.url,
        "--folder",
        "Shared",
        "--client-id",
        CLIENT,
        "--client-secret-file",
        &file,
        "--force",
    ];
    assert_eq!(add(folder, &from_file).0, 0);
    assert_eq!(json(with(&["queue", "list", "--json"], None))[0]["Name"], "Invoices");
    let stored = std::fs::read_to_string(folder.join("profiles.toml")).unwrap();
    assert!(!stored.contains(SECRET) && stored.contains("client_secret_file"), "{stored}");
    assert_eq!(server.stop(), 0);
    std::fs::write(folder.join("profiles.toml"), "[profiles.a]\nurl = \"https://x\"\npat = \"secret\"\n")
        .unwrap();
    let (code, _, error) = said(command(folder, &["profile", "list"]));
    assert!(code == 2 && error.contains("name a variable in pat_env"), "{error}");
}
