//! `performer desk`: over a file, and of a server.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use super::{Server, command, done, json, text};

/// A desk over a file, which is killed when this is dropped.
struct OwnDesk {
    child: Child,
    link: String,
}

impl OwnDesk {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let Some(first) = BufReader::new(child.stdout.take().unwrap()).lines().next() else {
            let mut why = String::new();
            child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            panic!("the desk did not start: {why}");
        };
        let link = first.unwrap().rsplit(' ').next().unwrap().to_owned();
        Self { child, link }
    }
}

impl Drop for OwnDesk {
    fn drop(&mut self) {
        drop((self.child.kill(), self.child.wait()));
    }
}

/// The head and body of the answer to a GET of a link, with a cookie.
fn get(link: &str, cookie: &str) -> String {
    let (address, path) = link.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Opens a link. Returns the cookie.
fn open(link: &str) -> String {
    let answer = get(link, "");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: "));
    cookie.unwrap_or_else(|| panic!("{answer}")).split(';').next().unwrap().to_owned()
}

#[test]
fn a_file_is_shown_to_whoever_opens_the_link() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let on_file = |words: &[&str]| {
        let mut command = command(here, words);
        command.env("PERFORMER_URL", "sqlite:queue.db").env("USER", "ann");
        command
    };
    done(on_file(&["queue", "create", "Invoices"]));
    let desk = OwnDesk::start(on_file(&["desk"]));
    assert!(desk.link.starts_with("http://127.0.0.1:"), "{}", desk.link);
    let root = desk.link.split("/open").next().unwrap().to_owned();
    assert!(get(&format!("{root}/queues"), "").starts_with("HTTP/1.1 303 "));
    let cookie = open(&desk.link);
    let queues = get(&format!("{root}/queues"), &cookie);
    assert!(
        queues.starts_with("HTTP/1.1 200 ") && queues.contains("Invoices") && queues.contains("ann"),
        "{queues}"
    );
    assert!(get(&desk.link, "").starts_with("HTTP/1.1 403 "), "it works once");
    // What other processes do meanwhile is there.
    done(on_file(&["queue", "create", "Orders"]));
    assert!(get(&format!("{root}/queues"), &cookie).contains("Orders"));
    drop(desk);
    // A server is started on the file later as if there had never been a desk.
    let server = Server::known(here, &["--listen", "127.0.0.1:0", "--store", "sqlite:queue.db"]);
    assert!(server.greeting.contains("The first start created"), "{}", server.greeting);
}

#[test]
fn a_server_gives_a_link_to_its_own_desk() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let server = Server::known(here, &["--listen", "127.0.0.1:0", "--store", "sqlite:queue.db"]);
    done(server.command(here, &["queue", "create", "Invoices"]));
    let printed = json(server.command(here, &["desk", "--json"]));
    let link = printed["Url"].as_str().unwrap();
    assert!(link.starts_with(&format!("{}/desk/open?key=", server.url)), "{link}");
    let queues = get(&format!("{}/desk/queues", server.url), &open(link));
    assert!(queues.contains("Invoices") && queues.contains("first-application"), "{queues}");
    let told = done(server.command(here, &["desk"]));
    assert!(told.starts_with("The desk of the server: http://127.0.0.1:"), "{told}");
    let wrong = server.command(here, &["desk", "--read-only"]).output().unwrap();
    assert!(
        wrong.status.code() == Some(2) && text(&wrong.stderr).contains("--read-only"),
        "{}",
        text(&wrong.stderr)
    );
    let off = Server::known(here, &["--listen", "127.0.0.1:0", "--desk", "off", "--store", "sqlite:off.db"]);
    let none = off.command(here, &["desk"]).output().unwrap();
    assert!(
        none.status.code() == Some(5) && text(&none.stderr).contains("no desk"),
        "{}",
        text(&none.stderr)
    );
}

/// In strict mode a server is like a UiPath Orchestrator.
#[test]
fn the_work_of_an_orchestrator_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let strict = Server::known(here, &["--listen", "127.0.0.1:0", "--strict", "--store", "memory:"]);
    done(strict.command(here, &["queue", "create", "Invoices"]));
    done(strict.command(here, &["item", "add", "Invoices", "Total=1"]));
    let desk = OwnDesk::start(strict.command(here, &["desk"]));
    assert!(
        desk.link.starts_with("http://127.0.0.1:") && !desk.link.starts_with(&strict.url),
        "{}",
        desk.link
    );
    let root = desk.link.split("/open").next().unwrap().to_owned();
    let cookie = open(&desk.link);
    let queues = get(&format!("{root}/queues"), &cookie);
    assert!(queues.starts_with("HTTP/1.1 200 ") && queues.contains("Invoices"), "{queues}");
    let items = get(&format!("{root}/items"), &cookie);
    assert!(items.contains("Items that match: <b>1</b>"), "{items}");
}
