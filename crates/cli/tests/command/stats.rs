//! `performer stats --follow`, on a file and over HTTP.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::Arc;

use performer::orchestrator::store::Store;
use performer::{Performer, TransactionItem};
use serde_json::Value;

use super::{Server, command, done, json, text};

type Lines = std::io::Lines<BufReader<ChildStderr>>;

/// The program, and what it writes to its stderr, which is no terminal.
fn start(mut command: Command) -> (Child, Lines) {
    let mut program = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = BufReader::new(program.stderr.take().unwrap());
    (program, stderr.lines())
}

fn ended(program: Child, lines: Lines) -> (Output, Vec<String>) {
    let lines = lines.map_while(Result::ok).collect();
    (program.wait_with_output().unwrap(), lines)
}

fn figure(output: &Output, name: &str) -> Value {
    let printed: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    printed["Invoices"][name].clone()
}

/// Processes what waits in the file, in this process.
fn process(file: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(Store::sqlite(file).await.unwrap());
        let process = |_: Value, _: TransactionItem| async { Ok(()) };
        let performer = Performer::from_fn("Invoices", process).handle_signals(false);
        assert_eq!(performer.run_until_empty(store).await.unwrap().successful, 1);
    });
}

fn a_queue_is_followed(file: &Path, with: impl Fn(&[&str]) -> Command) {
    done(with(&["queue", "create", "Invoices"]));
    let empty = with(&["stats", "Invoices", "--follow"]).output().unwrap();
    assert!(empty.status.success(), "{}", text(&empty.stderr));
    assert_eq!(text(&empty.stderr), "0 of 0 items, 0 successful\n", "nothing is there");
    assert!(text(&empty.stdout).contains("Invoices"), "{}", text(&empty.stdout));

    // It ends by itself when the queue is empty.
    json(with(&["item", "add", "Invoices", "amount=1", "--json"]));
    let (mut program, mut lines) = start(with(&["stats", "invoices", "--follow", "--json"]));
    assert_eq!(lines.next().unwrap().unwrap(), "0 of 1 items, 0 successful", "it has begun");
    assert!(program.try_wait().unwrap().is_none(), "an item waits");
    process(file);
    let (output, lines) = ended(program, lines);
    assert_eq!(output.status.code(), Some(0), "{lines:?}");
    assert!(lines.last().unwrap().starts_with("1 of 1 items, 1 successful, "), "{lines:?}");
    assert_eq!(figure(&output, "NumberOfSuccessfulTransactions"), 1);

    // Or by Ctrl-C, with the figures of then.
    #[cfg(unix)]
    {
        json(with(&["item", "add", "Invoices", "amount=2", "--json"]));
        let (program, mut lines) = start(with(&["stats", "Invoices", "--follow", "--json"]));
        lines.next().unwrap().unwrap();
        assert!(Command::new("kill").args(["-INT", &program.id().to_string()]).status().unwrap().success());
        let (output, lines) = ended(program, lines);
        assert_eq!(output.status.code(), Some(130), "{lines:?}");
        assert_eq!(figure(&output, "NumberOfRemainingTransactions"), 1);
    }

    let missing = with(&["stats", "Nowhere", "--follow"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(5));
    let all = with(&["stats", "--follow"]).output().unwrap();
    assert_eq!(all.status.code(), Some(2), "{}", text(&all.stderr));
}

#[test]
fn a_queue_in_a_file_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    a_queue_is_followed(&folder.path().join("queues.db"), |arguments| {
        let mut command = command(folder.path(), arguments);
        command.env("PERFORMER_URL", "sqlite:queues.db");
        command
    });
}

#[test]
fn a_queue_of_a_server_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::known(folder.path(), &["--listen", "127.0.0.1:0"]);
    let file = folder.path().join("orchestrator.db");
    a_queue_is_followed(&file, |arguments| server.command(folder.path(), arguments));
    assert_eq!(server.stop(), 0);
}
