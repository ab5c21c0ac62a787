//! `performer deadline`: what will be late.

use super::{Server, command, done, json, text};

#[test]
fn queues_with_due_items_are_listed_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let on = |arguments: &[&str]| {
        let mut command = command(here, arguments);
        command.args(["--url", "sqlite:queue.db"]);
        command
    };
    done(on(&["queue", "create", "Invoices"]));
    done(on(&["queue", "create", "Empty"]));
    done(on(&["deadline", "list", "--check"]));
    assert_eq!(json(on(&["deadline", "list", "--json"])), serde_json::json!([]));
    done(on(&["item", "add", "Invoices", "--reference", "late", "--due", "2020-01-01T00:00:00Z"]));
    done(on(&["item", "add", "Invoices", "--reference", "in time", "--due", "2999-01-01T00:00:00Z"]));
    let listed = json(on(&["deadline", "list", "--json"]));
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let invoices = &listed[0];
    assert_eq!(
        (&invoices["Name"], &invoices["Waiting"], &invoices["Overdue"]),
        (&"Invoices".into(), &2.into(), &1.into())
    );
    // Nothing has ended yet, so there is no rate to forecast from.
    assert_eq!((&invoices["Late"], &invoices["Done"]), (&1.into(), &serde_json::Value::Null));
    let checked = on(&["deadline", "list", "--check"]).output().unwrap();
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked.stderr));
    let unknown = on(&["deadline", "list", "--queue", "None"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(5), "{}", text(&unknown.stderr));
    let server = Server::known(here, &["--listen", "127.0.0.1:0", "--store", "sqlite:queue.db"]);
    assert_eq!(json(server.command(here, &["deadline", "list", "--json"])), listed);
    let checked = server.command(here, &["deadline", "list", "--check"]).output().unwrap();
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked.stderr));
}
