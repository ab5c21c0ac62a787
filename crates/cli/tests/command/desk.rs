//! The desk in a real browser, before the real server: the tests in `tests/browser`, which are JavaScript. This file makes the items,
//! starts the server, and runs Node.js.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use performer::jiff::Timestamp;
use performer::jiff::civil::time;
use performer::jiff::tz::TimeZone;
use performer::model::{Clock as _, ManualClock, NewJob, SystemClock, TransactionResult};
use performer::orchestrator::store::Store;
use performer::orchestrator::{ClaimRequest, Report};
use performer::prelude::*;
use performer::{ExceptionType, JobEnd, JobFigures, JobState, LimitsEdit, Output, ProcessingException};
use serde_json::{Value, json};

use super::{CLIENT, SECRET, Server, command, done, text};

const USER: &str = "ann";
const PASSWORD: &str = "correct horse battery staple";

/// The tests need what this version of Node.js has.
const NODE: u32 = 20;

/// The folder of the tests.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/browser")
}

/// A program of the path by one of its names.
fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut places = std::env::split_paths(&path);
    places.find_map(|folder| names.iter().map(|name| folder.join(name)).find(|file| file.is_file()))
}

/// The path of Chromium.
fn chromium() -> PathBuf {
    let found = find(&["chromium", "chromium-browser", "google-chrome"]);
    found.expect("Chromium is missing, which the tests of the desk need: scripts/test installs it, or your package manager")
}

/// Fails unless Node.js is there, and new enough.
fn check_node() {
    let missing =
        "is missing, which the tests of the desk need: scripts/test installs it, or your package manager";
    for name in ["node", "npm"] {
        assert!(find(&[name]).is_some(), "{name} {missing}");
    }
    let version = done({
        let mut node = Command::new("node");
        node.arg("--version");
        node
    });
    let major: Option<u32> =
        version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    assert!(major.is_some_and(|major| major >= NODE), "Node.js {NODE} or later {missing}; this is {version}");
}

/// Copies the tests to a folder beside the build, with their packages. Returns the folder.
fn installed() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    fs::create_dir_all(&folder).unwrap();
    let lock = fs::read(sources().join("package-lock.json")).unwrap();
    let stamp = folder.join("node_modules/installed.json");
    for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
        if entry.path().is_file() {
            fs::remove_file(entry.path()).unwrap(); // of an earlier version
        }
    }
    for entry in fs::read_dir(sources()).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    if fs::read(&stamp).ok().as_ref() != Some(&lock) {
        let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
        let status = Command::new("npm").args(arguments).current_dir(&folder).status().unwrap();
        assert!(
            status.success(),
            "npm could not install the packages of tests/browser: is there a way to its registry?"
        );
        fs::write(&stamp, lock).unwrap();
    }
    folder
}

/// An invoice of the file of the examples, or of the file that PERFORMER_INVOICES names.
struct Invoice {
    number: String,
    date: String,
    customer: u64,
    total: String,
}

fn invoices() -> Vec<Invoice> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/invoices.csv");
    let file = std::env::var_os("PERFORMER_INVOICES").map_or(ours, PathBuf::from);
    let text = fs::read_to_string(&file).unwrap();
    let invoice = |line: &str| {
        let mut cells = line.split(',').map(str::to_owned);
        let mut next = || cells.next().unwrap_or_default();
        let (number, date, customer, total) = (next(), next(), next(), next());
        Invoice { number, date, customer: customer.parse().unwrap_or_default(), total }
    };
    text.lines().skip(1).map(invoice).collect()
}

/// How an attempt at the invoice at this place ends; `attempt` is 0 for the first.
fn result(at: usize, invoice: &Value, attempt: u32, now: Timestamp) -> TransactionResult {
    let exception = |kind, reason: String, details: Option<&str>| {
        let exception = ProcessingException::new(kind, reason, now).details(details.map(str::to_owned));
        TransactionResult::Failed { exception: Some(exception), defer_date: None }
    };
    let (customer, total) = (&invoice["CustomerID"], &invoice["TotalPrice"]);
    match at {
        at if at % 7 == 3 && (attempt == 0 || at % 3 != 0) => {
            let details =
                "LedgerError: timeout\n  at Ledger.post (ledger.ts:118)\n  at Invoice.book (invoice.ts:42)";
            let reason = format!("the ledger did not answer within 30 s (request {})", 40_000 + at);
            exception(ExceptionType::ApplicationException, reason, Some(details))
        }
        at if at % 9 == 4 => {
            let reason = format!("customer {customer} is not in the ledger");
            exception(ExceptionType::BusinessException, reason, None)
        }
        at if at % 23 == 5 => {
            let reason = format!("the total {total} is over the limit of this customer");
            exception(ExceptionType::BusinessException, reason, None)
        }
        _ => {
            let output = json!({"Document": 900_000 + at, "BookedBy": format!("robot {}", at % 3 + 1)});
            TransactionResult::Successful { output: Some(Output::new(&output).unwrap()) }
        }
    }
}

/// How many times a day invoices come in. Each time the retries of the last ones are done first.
const DELIVERIES: usize = 10;
/// How many items are left New.
const LEFT: usize = 12;

/// Fills a file with invoices that were processed from yesterday morning until now.
async fn fill(file: &Path) {
    let (invoices, now) = (invoices(), SystemClock::new().now());
    let yesterday = now.to_zoned(TimeZone::UTC).date().yesterday().unwrap();
    let begin = yesterday.to_datetime(time(6, 0, 0, 0)).to_zoned(TimeZone::UTC).unwrap().timestamp();
    let clock = Arc::new(ManualClock::new(begin));
    let store = Store::sqlite_with_clock(file, clock.clone()).await.unwrap();
    for name in ["Invoices", "Payments", "Letters"] {
        let mut queue = NewQueueDefinition::new(name);
        queue.policy.max_number_of_retries = 1;
        queue.description =
            (name == "Invoices").then(|| "Invoices of all shops, booked into the ledger".to_owned());
        store.create_queue(queue).await.unwrap();
    }
    for at in 0..5 {
        let payment = NewQueueItem::new(json!({"Amount": 10 * at})).reference(format!("PAY-{at}"));
        store.add_queue_item("Payments", payment).await.unwrap();
    }
    store.edit_queue_limits("Payments", LimitsEdit::default().paused(true)).await.unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    let job =
        || NewJob::new("Invoices").machine("robots-1").process_id(4711).version("1.4.2").robots(3).lease(day);
    let faulted = store.start_job(job()).await.unwrap();
    let why = JobEnd::new(JobState::Faulted).info("cannot open the ledger: no route to the host");
    store.end_job(faulted, why).await.unwrap();
    let worker = store.start_job(job()).await.unwrap();
    let retries = (0..invoices.len()).filter(|at| at % 7 == 3).count();
    let span = Duration::try_from(now.duration_since(begin)).unwrap();
    let step = span / u32::try_from(invoices.len() + retries).unwrap();
    let places: HashMap<&str, usize> =
        invoices.iter().enumerate().map(|(at, invoice)| (invoice.number.as_str(), at)).collect();
    for delivery in invoices.chunks(invoices.len().div_ceil(DELIVERIES)) {
        for Invoice { number, date, customer, total } in delivery {
            let total: f64 = total.parse().unwrap_or_default();
            let content = json!({"InvoiceNo": number, "InvoiceDate": date, "CustomerID": customer, "TotalPrice": total});
            let item = NewQueueItem::new(content).reference(number.clone());
            store.add_queue_item("Invoices", item).await.unwrap();
        }
        let is_last = delivery.last().is_some_and(|last| places[last.number.as_str()] + 1 == invoices.len());
        for turn in 0.. {
            let waiting = store.queue_statistics("Invoices").await.unwrap().new;
            if waiting <= if is_last { i64::try_from(LEFT).unwrap() } else { 0 } {
                break;
            }
            let claim = ClaimRequest::new("Invoices", worker, 1).robot(turn % 3 + 1);
            let claimed = store.report_and_claim(Vec::new(), Some(claim)).await.claimed.unwrap();
            let taken = claimed.items.into_iter().next().expect("an invoice is left");
            let took = step.min(Duration::from_millis(700 + 137 * u64::from(turn % 41)));
            clock.advance(took);
            let content: Value = serde_json::from_str(taken.item.specific_content.as_json()).unwrap();
            let at = places[content["InvoiceNo"].as_str().unwrap()];
            let result = result(at, &content, taken.item.retry_number, clock.now());
            let answer = store.report_and_claim(vec![Report::new(taken.claim, result)], None).await;
            assert!(answer.reports.iter().all(Result::is_ok), "{answer:?}");
            clock.advance(step - took);
        }
    }
    let mut figures = JobFigures::default();
    (figures.successful, figures.retried, figures.busy) = (invoices.len() as u64, retries as u64, span / 3);
    store.end_job(worker, JobEnd::new(JobState::Successful).figures(figures)).await.unwrap();
}

/// A server over a store with items, and who signs in.
struct Desk {
    server: Server,
    user: String,
    password: String,
    _folder: tempfile::TempDir,
}

impl Desk {
    /// Over a new file with invoices.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(fill(&folder.path().join("desk.db")));
        let server = Server::known(folder.path(), &["--store", "sqlite:desk.db", "--listen", "127.0.0.1:0"]);
        let add = ["access", "add-user", USER, "--role", "Administrator", "--password-stdin"];
        let mut add = command(folder.path(), &[&add[..], &["--store", "sqlite:desk.db"]].concat());
        let mut add = add.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        std::io::Write::write_all(&mut add.stdin.take().unwrap(), PASSWORD.as_bytes()).unwrap();
        assert!(add.wait().unwrap().success());
        Self { server, user: USER.to_owned(), password: PASSWORD.to_owned(), _folder: folder }
    }

    /// Over a store that is there.
    fn over(store: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::known(folder.path(), &["--store", store, "--listen", "127.0.0.1:0"]);
        let setting = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
        let (user, password) = (setting("PERFORMER_DESK_USER"), setting("PERFORMER_DESK_PASSWORD"));
        Self { server, user, password, _folder: folder }
    }

    /// A script of the folder of tests, with what it needs to know.
    fn npm(&self, folder: &Path, script: &str) -> Command {
        let mut npm = Command::new("npm");
        npm.args(["run", "--silent", script]).current_dir(folder);
        npm.env("PERFORMER_DESK_URL", &self.server.url).env("PERFORMER_DESK_CHROMIUM", chromium());
        npm.env("PERFORMER_DESK_USER", &self.user).env("PERFORMER_DESK_PASSWORD", &self.password);
        npm.env("PERFORMER_DESK_CLIENT", CLIENT).env("PERFORMER_DESK_SECRET", SECRET);
        npm
    }
}

#[test]
fn the_desk_works_in_a_browser() {
    check_node();
    chromium();
    let (folder, desk) = (installed(), Desk::start());
    let output = desk.npm(&folder, "test").output().unwrap();
    let told = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{told}");
    assert!(told.contains("pass ") && !told.contains("pass 0"), "a test ran: {told}");
}

/// Pictures of the pages, into the folder that PERFORMER_SCREENSHOTS names: for scripts/screenshots.
#[test]
#[ignore = "it makes pictures for people"]
fn screenshots() {
    let into = std::env::var_os("PERFORMER_SCREENSHOTS").expect("PERFORMER_SCREENSHOTS names a folder");
    check_node();
    let store = std::env::var("PERFORMER_SCREENSHOTS_STORE");
    let (folder, desk) = (installed(), store.map_or_else(|_| Desk::start(), |store| Desk::over(&store)));
    let status = desk.npm(&folder, "screenshots").env("PERFORMER_SCREENSHOTS", into).status().unwrap();
    assert!(status.success());
}
