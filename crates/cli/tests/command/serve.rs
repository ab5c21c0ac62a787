//! `performer serve`: its first start, its refusals, TLS, and `performer access` beside it.

use std::fs;
use std::process::Command;

use super::{CLIENT, SECRET, Server, command, done, json, run, text};

#[test]
fn the_printed_curl_command_works() {
    let folder = tempfile::tempdir().unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--log", "warn"];
    let server = Server::start(command(folder.path(), &serve));
    let greeting = server.greeting.clone();
    let pasted: Vec<&str> = greeting
        .lines()
        .skip_while(|line| !line.starts_with("Try it"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .collect();
    assert_eq!(pasted.len(), 2, "{greeting}");
    // The secret is printed once, and goes into the environment from there.
    let secret = greeting.split("client secret").nth(1).unwrap().split_whitespace().next().unwrap();
    assert!(secret.starts_with("pf_"), "{greeting}");
    assert_eq!(greeting.matches(secret).count(), 1, "{greeting}");
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", &pasted.join("\n")]).env("UIPATH_CLIENT_SECRET", secret).output().unwrap();
    let answer = text(&output.stdout);
    assert!(
        answer.contains("@odata.context") && answer.contains("\"value\":[]"),
        "{answer} {}",
        text(&output.stderr)
    );
    let url = server.url.clone();
    assert_eq!(server.stop(), 0);
    // The secret is shown once, and is nowhere in the files.
    for file in fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{}", path.display());
        }
    }
    let listen = url.strip_prefix("http://").unwrap();
    let again = Server::start(command(folder.path(), &["serve", "--listen", listen, "--log", "warn"]));
    let lines: Vec<&str> = again.greeting.lines().collect();
    assert_eq!(lines.len(), 2, "{}", again.greeting);
    assert!(lines[1].starts_with(&format!("The desk: {url}/desk (")), "{}", again.greeting);
    // A port that is taken is found out before anything is made.
    let other = tempfile::tempdir().unwrap();
    let taken = run(other.path(), &["serve", "--listen", listen]);
    assert_eq!(taken.status.code(), Some(1));
    assert!(text(&taken.stderr).contains("cannot listen"), "{}", text(&taken.stderr));
    assert!(!other.path().join("orchestrator.db").exists());
}

#[test]
fn unencrypted_serving_of_other_machines_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = run(folder.path(), &["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("--tls-cert"), "{}", text(&refused.stderr));

    // A proxy that ends TLS is somewhere; where, has to be said.
    let behind = tempfile::tempdir().unwrap();
    drop(Server::known(behind.path(), &["--listen", "0.0.0.0:0", "--trusted-proxy", "10.0.0.0/8"]));

    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let bad = run(
        folder.path(),
        &["serve", "--listen", "127.0.0.1:0", "--tls-cert", "key.pem", "--tls-key", "key.pem"],
    );
    assert!(!bad.status.success() && text(&bad.stderr).contains("key.pem"), "{}", text(&bad.stderr));
    let tls = ["--listen", "0.0.0.0:0", "--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let server = Server::known(folder.path(), &tls);
    let url = format!("https://localhost:{}", server.url.rsplit(':').next().unwrap());
    let with = |arguments: &[&str]| {
        let mut command = server.command(folder.path(), arguments);
        command.env("PERFORMER_URL", &url);
        command
    };
    let mut trusted = with(&["queue", "create", "Invoices"]);
    trusted.env("SSL_CERT_FILE", folder.path().join("cert.pem"));
    assert!(done(trusted).contains("Invoices"));
    let strangers = with(&["queue", "list"]).output().unwrap();
    assert!(!strangers.status.success(), "a certificate that nobody vouches for");
    assert!(!text(&strangers.stderr).contains(SECRET));
}

/// Somebody who has lost every secret gets in again, and access is set while the server runs.
#[test]
fn access_commands_work_beside_a_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::known(folder.path(), &["--listen", "127.0.0.1:0"]);
    let access = |arguments: &[&str]| {
        let mut words = vec!["access"];
        words.extend(arguments);
        command(folder.path(), &words)
    };
    done(access(&["add-folder", "Finance"]));
    let added = done(access(&["add-client", "robots", "--folder", "Finance"]));
    let word_after = |label: &str| {
        let line =
            added.lines().find(|line| line.contains(label)).unwrap_or_else(|| panic!("{label}: {added}"));
        line.split(label).nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
    };
    let (id, secret) = (word_after("client id"), word_after("client secret"));
    let as_robots = |folder_path: &str| {
        let mut command = server.command(folder.path(), &["queue", "list", "--json"]);
        command.env("UIPATH_CLIENT_ID", &id).env("UIPATH_CLIENT_SECRET", &secret);
        command.env("UIPATH_FOLDER_PATH", folder_path);
        command
    };
    assert_eq!(json(as_robots("Finance")), serde_json::json!([]));
    assert!(!as_robots("Shared").output().unwrap().status.success());
    assert!(done(access(&["list"])).contains(CLIENT));
    done(access(&["remove-client", &id]));
    assert!(!as_robots("Finance").output().unwrap().status.success());
    // Somebody who can log in is left.
    let last = access(&["remove-client", CLIENT]).output().unwrap();
    assert!(!last.status.success() && text(&last.stderr).contains("last administrator"), "{last:?}");
    assert!(done(access(&["list"])).contains(CLIENT));
}

/// The example is the same program everywhere: only the address changes, and the credentials come from the environment.
#[test]
fn the_invoices_example_works_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::known(folder.path(), &["--listen", "127.0.0.1:0"]);
    let test = std::env::current_exe().unwrap();
    let example = test.parent().unwrap().parent().unwrap().join("examples/invoices");
    assert!(example.exists(), "{} is built by cargo test without a filter on targets", example.display());
    let invoices = || {
        let mut command = Command::new(&example);
        command.current_dir(folder.path()).args(["--url", &server.url]);
        command.env("UIPATH_CLIENT_ID", CLIENT).env("UIPATH_CLIENT_SECRET", SECRET);
        command.env("UIPATH_FOLDER_PATH", "Shared");
        done(command)
    };
    let first = invoices();
    assert!(first.contains("200 added, 0 were there already"), "{first}");
    let all = |printed: &str, what: &str| {
        let line = printed
            .lines()
            .find(|line| line.starts_with(what))
            .unwrap_or_else(|| panic!("{what}: {printed}"));
        line.split_whitespace().find_map(|word| word.parse::<u64>().ok()).unwrap()
    };
    assert_eq!(all(&first, "waiting"), 0, "{first}");
    assert!(all(&first, "posted") > 150, "{first}");
    assert!(invoices().contains("0 added, 200 were there already"));
    assert!(!folder.path().join("invoices.db").exists(), "nothing is kept here");
    let stats = server.command(folder.path(), &["stats", "--json"]);
    assert!(json(stats).to_string().contains("Invoices"));
}
