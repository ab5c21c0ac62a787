//! Posts the invoices of a CSV file to an ERP.
//!
//! `cargo run --release --example invoices [-- FILE.csv] [--url URL] [--robots N] [--stay]`
//!
//! Each row becomes a queue item whose reference is the number of the invoice; the queue accepts each reference once, so a
//! second run adds nothing twice. Invalid rows are reported and skipped. Invalid invoices end as BusinessExceptions. The ERP
//! is flaky: it refuses some calls (the queue's policy retries them), and some ledgers are locked for a moment (the items are
//! postponed). Stop the run with Ctrl-C or `kill -9` and start it again: nothing is lost, and nothing is recorded twice.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use performer::prelude::*;
use performer::progress::Progress;
use performer::{ExceptionType, ItemFilter, JobState, JobSummary, Page, PerformerError, RefusedValue};
use serde::{Deserialize, Serialize};

const QUEUE: &str = "Invoices";
const USAGE: &str = "usage: invoices [FILE.csv] [--url URL] [--robots N] [--stay]

  FILE.csv    columns InvoiceNo, InvoiceDate, CustomerID, TotalPrice
              (default: the 200 invoices beside the example)
  --url URL   where the queue is (default: sqlite:invoices.db, in this folder)
  --robots N  how many robots post side by side (default: 8)
  --stay      goes on when the queue is empty, until it is stopped";

type Error = Box<dyn std::error::Error>;

/// An invoice, the SpecificContent of an item.
#[derive(Serialize, Deserialize)]
struct Invoice {
    #[serde(rename = "InvoiceNo")]
    number: String,
    #[serde(rename = "InvoiceDate")]
    date: String,
    #[serde(rename = "CustomerID")]
    customer: String,
    #[serde(rename = "TotalPence")]
    pence: i64,
}

/// The answer of the ERP, which is stored as the output of the item.
#[derive(Serialize)]
struct Posted {
    document: String,
}

/// The transaction of one robot, which stays logged in to the ERP.
#[derive(Default)]
struct PostInvoices {
    erp: Option<Erp>,
}

#[async_trait]
impl Transaction for PostInvoices {
    type Content = Invoice;
    type Output = Posted;

    async fn open_applications(&mut self) -> Result<(), Exception> {
        self.erp = Some(Erp);
        Ok(())
    }

    async fn process(&mut self, invoice: Invoice, item: &TransactionItem) -> Result<Posted, Exception> {
        let customer: u32 =
            invoice.customer.parse().or_business(format!("no such customer: {:?}", invoice.customer))?;
        if invoice.pence <= 0 {
            return Err(BusinessException::new(format!("nothing to pay: {}", pounds(invoice.pence))).into());
        }
        let erp = self.erp.as_ref().ok_or_else(|| ApplicationException::new("not logged in"))?;
        erp.find_ledger(customer, item).await?;
        Ok(Posted { document: erp.post(&invoice, item).await? })
    }

    async fn close_applications(&mut self) -> Result<(), Exception> {
        self.erp = None;
        Ok(())
    }
}

/// A simulated system that is slow, sometimes busy and sometimes down, but reproducibly in every run.
struct Erp;

#[derive(Debug)]
struct ErpError(&'static str);

impl std::fmt::Display for ErpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ErpError {}

impl Erp {
    async fn find_ledger(&self, customer: u32, item: &TransactionItem) -> Result<(), Exception> {
        let came_back = item.queue_item().defer_date.is_some();
        if customer % 50 == 7 && !came_back {
            return Err(Exception::postpone_for(Duration::from_millis(500))); // somebody else has it open
        }
        Ok(())
    }

    async fn post(&self, invoice: &Invoice, item: &TransactionItem) -> Result<String, ErpError> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mood =
            invoice.number.bytes().fold(7_u32, |mood, byte| mood.wrapping_mul(31).wrapping_add(byte.into()));
        match mood % 100 {
            0 => Err(ErpError("the ERP does not take this invoice, however often it is asked")),
            1..=6 if item.retry_number() == 0 => Err(ErpError("the ERP closed the connection")),
            _ => Ok(format!("ERP-{}", invoice.number)),
        }
    }
}

#[tokio::main]
async fn main() {
    if let Err(error) = run().await {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

async fn run() -> Result<(), Error> {
    let Some(arguments) = Arguments::read()? else {
        println!("{USAGE}");
        return Ok(());
    };
    let invoices = read_csv(&arguments.file)?;
    let orchestrator = connect(&arguments.url).await?;
    define_queue(&*orchestrator).await?;
    add(&*orchestrator, invoices).await?;
    let mut totals = Totals::default();
    let ended = perform(orchestrator.clone(), &arguments, &mut totals).await;
    totals.print();
    add_up(&*orchestrator).await?;
    ended
}

struct Arguments {
    file: PathBuf,
    url: String,
    robots: u32,
    stay: bool,
}

impl Arguments {
    fn read() -> Result<Option<Self>, Error> {
        let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/invoices.csv"));
        let mut arguments =
            Self { file: beside, url: "sqlite:invoices.db".to_owned(), robots: 8, stay: false };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value\n\n{USAGE}"));
            match word.as_str() {
                "--help" | "-h" => return Ok(None),
                "--url" => arguments.url = value()?,
                "--robots" => arguments.robots = value()?.parse().map_err(|e| format!("--robots: {e}"))?,
                "--stay" => arguments.stay = true,
                option if option.starts_with('-') => Err(format!("unknown option {option}\n\n{USAGE}"))?,
                file => arguments.file = PathBuf::from(file),
            }
        }
        Ok(Some(arguments))
    }
}

/// Parses a row. `columns` are the indices of its number, date, customer and price.
fn parse_invoice(
    record: &csv::StringRecord,
    header: &csv::StringRecord,
    columns: [usize; 4],
) -> Result<Invoice, String> {
    if record.len() > header.len() {
        return Err(format!("there are {} values for {} columns", record.len(), header.len()));
    }
    let field = |at: usize| {
        record.get(at).map(str::trim).ok_or_else(|| format!("column {}: there is no value", &header[at]))
    };
    let [number, date, customer, price] = columns;
    let (number, date, customer) = (field(number)?, field(date)?, field(customer)?);
    if number.is_empty() {
        return Err("column InvoiceNo: there is no value".to_owned());
    }
    let text = field(price)?;
    let pounds: f64 = text.parse().map_err(|_| format!("column TotalPrice: {text:?} is not a number"))?;
    let pence = (pounds * 100.0).round();
    if !pence.is_finite() || pence.abs() > 1e15 {
        return Err(format!("column TotalPrice: {text:?} is out of range"));
    }
    let pence = pence as i64;
    Ok(Invoice { number: number.to_owned(), date: date.to_owned(), customer: customer.to_owned(), pence })
}

/// Reads the invoices of a file. Invalid rows are reported with their lines and columns, and skipped.
fn read_csv(path: &std::path::Path) -> Result<Vec<Invoice>, Error> {
    let shown = path.display();
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).from_path(path).map_err(|e| format!("{shown}: {e}"))?;
    let header = reader.headers().map_err(|e| format!("{shown}: {e}"))?.clone();
    if header.is_empty() {
        Err(format!(
            "{shown} is empty: a header with InvoiceNo, InvoiceDate, CustomerID and TotalPrice is needed"
        ))?;
    }
    let column = |name: &str| {
        let at = header.iter().position(|column| column.trim_start_matches('\u{feff}').trim() == name);
        at.ok_or_else(|| {
            format!(
                "{shown}: the column {name} is missing (there are: {})",
                header.iter().collect::<Vec<_>>().join(", ")
            )
        })
    };
    let columns =
        [column("InvoiceNo")?, column("InvoiceDate")?, column("CustomerID")?, column("TotalPrice")?];
    let mut invoices = Vec::new();
    let mut left_out = 0;
    for (row, record) in (1..).zip(reader.records()) {
        let invoice = record
            .map_err(|error| format!("cannot be read: {error}"))
            .and_then(|record| parse_invoice(&record, &header, columns));
        match invoice {
            Ok(invoice) => invoices.push(invoice),
            Err(error) => {
                left_out += 1;
                eprintln!("{shown}: row {row}: {error}; the row is left out");
            }
        }
    }
    let pence = invoices.iter().map(|invoice| invoice.pence).sum();
    println!("{shown}: {} invoices read ({}), {left_out} rows left out", invoices.len(), pounds(pence));
    Ok(invoices)
}

async fn define_queue(orchestrator: &dyn Administration) -> Result<(), Error> {
    let policy = QueuePolicy::default()
        .max_number_of_retries(2)
        .retry_abandoned_items(true) // posting an invoice twice is harmless: the ERP knows its number
        .enforce_unique_reference(true);
    let queue = NewQueueDefinition::new(QUEUE).description("Invoices to be posted to the ERP").policy(policy);
    orchestrator.ensure_queue(queue).await?;
    Ok(())
}

async fn add(orchestrator: &dyn Administration, invoices: Vec<Invoice>) -> Result<(), Error> {
    let dispatcher = Dispatcher::new(QUEUE).reference(|invoice: &Invoice| invoice.number.clone());
    let summary = dispatcher.dispatch(orchestrator, invoices).await?;
    for RefusedValue { value, refusal, .. } in &summary.refused {
        let number = value.as_ref().map_or("?", |invoice| &invoice.number);
        eprintln!("invoice {number}: {refusal}; it is left out");
    }
    println!("queue {QUEUE}: {} added, {} were there already", summary.added, summary.already_there);
    Ok(())
}

/// Runs the performer until no invoice is waiting, including postponed ones.
async fn perform(
    orchestrator: Arc<dyn Administration>,
    arguments: &Arguments,
    totals: &mut Totals,
) -> Result<(), Error> {
    let progress = Progress::start(orchestrator.clone(), QUEUE).await?;
    loop {
        let performer = Performer::new(QUEUE, PostInvoices::default)
            .robots(arguments.robots)
            .on_event(progress.on_event());
        let ended = if arguments.stay {
            performer.run(orchestrator.clone()).await
        } else {
            performer.run_until_empty(orchestrator.clone()).await
        };
        let stopped = match ended {
            Ok(summary) => {
                totals.add(&summary);
                summary.state == JobState::Stopped
            }
            Err(PerformerError::Faulted(summary)) => {
                totals.add(&summary);
                progress.finish();
                return Err(PerformerError::Faulted(summary))?;
            }
            Err(error) => return Err(error)?,
        };
        if stopped || orchestrator.queue_statistics(QUEUE).await?.new == 0 {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(100)) => {} // postponed ones wait for their time
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    progress.finish();
    Ok(())
}

/// The totals of this run, over one or more performers.
struct Totals {
    started: Instant,
    rows: [(&'static str, u64); 6],
}

impl Default for Totals {
    #[expect(clippy::disallowed_methods, reason = "a program may read the clock")]
    fn default() -> Self {
        let names = [
            "successful",
            "business exceptions",
            "application exceptions",
            "retried",
            "postponed",
            "abandoned",
        ];
        Self { started: Instant::now(), rows: names.map(|name| (name, 0)) }
    }
}

impl Totals {
    fn add(&mut self, summary: &JobSummary) {
        let counts = [
            summary.successful,
            summary.business_exceptions,
            summary.application_exceptions,
            summary.retried,
            summary.postponed,
            summary.abandoned + summary.abandoned_of_others,
        ];
        self.rows.iter_mut().zip(counts).for_each(|(row, count)| row.1 += count);
    }

    fn print(&self) {
        println!();
        for (name, count) in &self.rows {
            println!("{name:<24}{count:>10}");
        }
        let transactions: u64 = self.rows[..5].iter().map(|(_, count)| count).sum();
        let rate = transactions as f64 / self.started.elapsed().as_secs_f64();
        println!("{:<24}{rate:>10.0}", "items per second");
    }
}

/// Reads the queue, and adds up the invoices and amounts by status.
async fn add_up(orchestrator: &dyn Administration) -> Result<(), Error> {
    let mut sums = ["posted", "refused", "failed", "waiting"].map(|name| (name, 0, 0));
    let mut page = Page::default();
    let filter = ItemFilter::default().queue(QUEUE);
    loop {
        let items = orchestrator.list_queue_items(filter.clone(), page).await?;
        for item in &items.items {
            let sum = match (item.status, item.exception_type()) {
                (Status::Retried | Status::Deleted, _) => continue, // its copy counts
                (Status::Successful, _) => 0,
                (Status::Failed, Some(ExceptionType::BusinessException)) => 1,
                (Status::New | Status::InProgress, _) => 3,
                _ => 2,
            };
            sums[sum].1 += 1;
            sums[sum].2 += item.specific_content.parse::<Invoice>()?.pence;
        }
        let Some(next) = items.next(&filter) else { break };
        page = Page::default().after(next);
    }
    println!();
    for (name, count, pence) in &sums {
        println!("{name:<24}{count:>10}{:>20}", pounds(*pence));
    }
    let (count, pence) = sums.iter().fold((0, 0), |all, sum| (all.0 + sum.1, all.1 + sum.2));
    println!("{:<24}{count:>10}{:>20}", "all in the queue", pounds(pence));
    Ok(())
}

fn pounds(pence: i64) -> String {
    format!("{}{}.{:02} GBP", if pence < 0 { "-" } else { "" }, pence.abs() / 100, pence.abs() % 100)
}
