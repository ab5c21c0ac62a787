//! `performer asset` on a file and over HTTP, and `performer store rotate-key`. What is secret is never an argument, and never printed.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::{Server, command, done, json, text};

/// The output of a command that reads this from stdin.
fn with_stdin(mut command: Command, input: &str) -> Output {
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.unwrap();
    // A command that does not read it ends before.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// The exit code, and what was printed to stderr.
fn refused(mut command: Command) -> (i32, String) {
    let output = command.output().unwrap();
    (output.status.code().unwrap(), text(&output.stderr))
}

fn lives(with: &impl Fn(&[&str]) -> Command) {
    let set = |arguments: &[&str]| done(with(&[&["asset", "set"], arguments].concat()));
    assert_eq!(
        set(&["Threshold", "--integer", "-500", "--description", "d"]),
        "asset \"Threshold\" was created\n"
    );
    assert_eq!(set(&["threshold", "--integer", "5"]), "asset \"Threshold\" was set\n");
    set(&["Address", "--text", "https://erp.example.com"]);
    set(&["Enabled", "--bool", "true"]);
    set(&["Mapping", "--pair", "DE=Germany", "--pair", "FR=a=b"]);
    let typed = with_stdin(with(&["asset", "set", "SAP", "--credential", "ann"]), "hunter2\r\n");
    assert!(typed.status.success(), "{}", text(&typed.stderr));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "hunter3\n").unwrap();
    set(&["Token", "--secret", "--from", file.to_str().unwrap()]);
    let listed = done(with(&["asset", "list"]));
    let rows: Vec<Vec<&str>> =
        listed.lines().skip(1).map(|line| line.split('\t').skip(1).collect()).collect();
    assert_eq!(rows[0][..3], ["Address", "Text", "https://erp.example.com"]);
    assert_eq!(rows[2], ["Mapping", "KeyValueList", "DE=Germany, FR=a=b", "1", ""]);
    assert_eq!(rows[3], ["SAP", "Credential", "ann, with a password", "1", ""]);
    assert_eq!(rows[4], ["Threshold", "Integer", "5", "1", "d"]);
    assert_eq!(rows[5][..3], ["Token", "Secret", "a secret"]);
    let all = json(with(&["asset", "list", "--json"]));
    assert_eq!(all.as_array().unwrap().len(), 6);
    assert_eq!((&all[4]["IntValue"], &all[4]["ValueType"]), (&json!(5), &json!("Integer")));
    let csv = done(with(&["asset", "list", "-o", "csv"]));
    assert!(csv.starts_with("ID,NAME,TYPE,VALUE,VALUES,DESCRIPTION\r\n"), "{csv}");
    let shown = done(with(&["asset", "show", "sap"]));
    assert!(shown.contains("Value of everybody  ann, with a password"), "{shown}");
    let of_sap = json(with(&["asset", "show", "SAP", "--json"]));
    assert_eq!((&of_sap["CredentialUsername"], &of_sap["CredentialPassword"]), (&json!("ann"), &json!("")));
    for printed in [&listed, &csv, &shown, &all.to_string(), &of_sap.to_string()] {
        assert!(!printed.contains("hunter"), "{printed}");
    }
    // The description alone, which keeps the password.
    set(&["SAP", "--no-value", "--description", "production"]);
    assert_eq!(json(with(&["asset", "show", "SAP", "--json"]))["Description"], "production");
    set(&["Address", "--text", "x", "--machine", "3"]);
    let shown = done(with(&["asset", "show", "Address"]));
    assert!(shown.contains("Value of machine 3  x") && shown.contains("PerRobot"), "{shown}");
    let deleted = done(with(&["asset", "delete", "Address", "--machine", "3"]));
    assert_eq!(deleted, "the value of machine 3 of the asset \"Address\" was deleted\n");
    for (arguments, code, said) in [
        (&["asset", "set", "SAP", "--text", "x"][..], 1, "1502"),
        (&["asset", "show", "Nope"], 5, "1504"),
        (&["asset", "delete", "Address", "--machine", "3"], 5, "1503"),
        (&["asset", "set", "Nope", "--no-value", "--description", "x"], 5, "does not exist"),
        (&["asset", "set", "X"], 2, "required"),
        (&["asset", "set", "X", "--text", "a", "--integer", "1"], 2, "cannot be used"),
        (&["asset", "set", "X", "--pair", "a"], 2, "KEY=VALUE"),
        (&["asset", "set", "X", "--text", "a", "--from", "f"], 2, "--from is for"),
        (&["asset", "set", "X", "--credential", "ann"], 2, "the password is empty"),
        (&["asset", "set", "X", "--secret", "--from", "nowhere"], 1, "nowhere"),
        (&["asset", "set", "X", "--password", "p"], 2, "unexpected argument"),
        (&["asset", "share", "SAP"], 2, "required"),
    ] {
        let (found, error) = refused(with(arguments));
        assert!(found == code && error.contains(said), "{arguments:?}: {found} {error}");
    }
    assert_eq!(done(with(&["asset", "delete", "Token"])), "asset \"Token\" was deleted\n");
    assert_eq!(refused(with(&["asset", "delete", "Token", "--json"])).0, 5);
}

#[test]
fn assets_have_a_life_on_a_file() {
    let folder = tempfile::tempdir().unwrap();
    lives(&|arguments| {
        let mut command = command(folder.path(), arguments);
        command.env("PERFORMER_URL", "sqlite:a.db");
        command
    });
}

#[test]
fn assets_have_a_life_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::known(folder.path(), &["--listen", "127.0.0.1:0"]);
    let with = |arguments: &[&str]| {
        let mut command = server.command(folder.path(), arguments);
        command.env("UIPATH_SCOPE", "OR.Queues OR.Assets");
        command
    };
    lives(&with);
    done(command(folder.path(), &["access", "add-folder", "Finance"]));
    let found = refused(with(&["asset", "share", "SAP", "--add", "999"]));
    assert_eq!(found.0, 4, "{}", found.1);
}

#[test]
fn the_key_of_a_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let with = |arguments: &[&str]| {
        let mut command = command(folder.path(), arguments);
        command.env("PERFORMER_URL", "sqlite:a.db");
        command
    };
    done(with(&["asset", "set", "Threshold", "--integer", "5"]));
    let (code, error) = refused(with(&["store", "rotate-key"]));
    assert!(code == 1 && error.contains("no secrets"), "{error}");
    assert!(with_stdin(with(&["asset", "set", "SAP", "--credential", "ann"]), "hunter2").status.success());
    let key = || std::fs::read_to_string(folder.path().join("a.db.key")).unwrap();
    let before = key();
    let rotated = with(&["store", "rotate-key"]).output().unwrap();
    let (printed, remarks) = (text(&rotated.stdout), text(&rotated.stderr));
    assert!(
        printed.starts_with("1 secrets were encrypted with the key ") && remarks.contains("a.db.key"),
        "{printed}{remarks}"
    );
    assert!(key() != before && key().lines().count() == 1);
    for printed in [printed, remarks] {
        assert!(!printed.contains(before.trim()) && !printed.contains(key().trim()));
    }
    let rotated: Value = json(with(&["store", "rotate-key", "--json"]));
    assert_eq!((&rotated["Encrypted"], &rotated["Left"]), (&json!(1), &json!([])));
    // From the environment, the new one before the old one.
    let old = key().trim().to_owned();
    let new = "00".repeat(31) + "07";
    let mut both = with(&["store", "rotate-key"]);
    both.env("PERFORMER_ENCRYPTION_KEY", format!("{new},{old}"));
    assert!(done(both).starts_with("1 secrets"));
    let file = folder.path().join("keys");
    std::fs::write(&file, format!("{new}\n")).unwrap();
    let mut of_file = with(&["store", "rotate-key"]);
    of_file.env("PERFORMER_ENCRYPTION_KEY_FILE", &file);
    let (code, error) = refused(of_file);
    assert!(code == 1 && error.contains("put a new one before it"), "{error}");
    // The key beside the file is not the one that is used now.
    let wrong = with_stdin(with(&["asset", "set", "SAP", "--credential", "ann"]), "x");
    assert!(!wrong.status.success() && text(&wrong.stderr).contains("1800"), "{}", text(&wrong.stderr));
    let mut malformed = with(&["store", "rotate-key"]);
    malformed.env("PERFORMER_ENCRYPTION_KEY", "hunter2");
    let (code, error) = refused(malformed);
    assert!(code == 1 && error.contains("1801") && !error.contains("hunter2"), "{error}");
}
