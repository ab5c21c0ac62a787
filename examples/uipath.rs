//! Processes a queue of a real UiPath Orchestrator.
//!
//! `cargo run --example uipath -- QUEUE [--url URL] [--robots N] [--add N] [--until-empty]`
//!
//! The address comes from `--url` or from `UIPATH_URL`, the credentials from the environment; the guide's page "UiPath
//! Orchestrator" (docs/guide/uipath.md) lists the variables, scopes and roles. The program prints the content of each item, and fails items
//! without a `Name` with a BusinessException, as a stand-in for real work.

use std::process::ExitCode;

use performer::orchestrator::uipath::Uipath;
use performer::prelude::*;
use serde::{Deserialize, Serialize};

const USAGE: &str = "usage: uipath QUEUE [--url URL] [--robots N] [--add N] [--until-empty]

  QUEUE          the queue; it must be there
  --url URL      the Orchestrator, such as https://cloud.uipath.com/acme/Prod/orchestrator_
                 (default: UIPATH_URL, which a job has)
  --robots N     how many robots work side by side (default: 1)
  --add N        first add this many items, each with its number as reference
  --until-empty  end when the queue has nothing more (default: run until stopped)

Who calls comes from the environment: UIPATH_CLIENT_ID and UIPATH_CLIENT_SECRET, or UIPATH_PAT, or in a job
UIPATH_ACCESS_TOKEN; the folder from UIPATH_FOLDER_PATH; the robot from UIPATH_ROBOT_KEY. docs/guide/uipath.md tells more.";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Person {
    name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Greeted {
    greeting: String,
}

struct Greet;

#[async_trait]
impl Transaction for Greet {
    type Content = Person;
    type Output = Greeted;

    async fn process(&mut self, person: Person, item: &TransactionItem) -> Result<Greeted, Exception> {
        let name = person.name.or_business("the item has no Name")?;
        item.progress("greeting");
        let greeting = format!("hello, {name}");
        println!("item {} ({}): {greeting}", item.id(), item.reference().unwrap_or("no reference"));
        Ok(Greeted { greeting })
    }
}

struct Arguments {
    queue: String,
    url: String,
    robots: u32,
    add: u32,
    until_empty: bool,
}

fn arguments() -> Result<Arguments, String> {
    let (mut queue, mut url, mut robots, mut add, mut until_empty) = (None, None, 1, 0, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--help" | "-h" => return Err(String::new()),
            "--url" => url = Some(value()?),
            "--robots" => robots = value()?.parse().map_err(|_| "--robots needs a number".to_owned())?,
            "--add" => add = value()?.parse().map_err(|_| "--add needs a number".to_owned())?,
            "--until-empty" => until_empty = true,
            _ if word.starts_with('-') || queue.is_some() => return Err(format!("what is {word}?")),
            _ => queue = Some(word),
        }
    }
    let url = url.or_else(|| std::env::var("UIPATH_URL").ok());
    let url = url.ok_or("no address: give --url, or set UIPATH_URL")?;
    Ok(Arguments { queue: queue.ok_or("which queue?")?, url, robots, add, until_empty })
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_writer(std::io::stderr).init();
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(wrong) if wrong.is_empty() => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("{wrong}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(arguments).await {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<performer::JobSummary, Box<dyn std::error::Error>> {
    let orchestrator = Uipath::builder(&arguments.url).environment()?.connect().await?;
    let version =
        orchestrator.api_version().map_or_else(|| "unknown".to_owned(), |version| version.to_string());
    eprintln!("connected; the version of the API is {version}");
    for number in 0..arguments.add {
        let item = NewQueueItem::new(Person { name: Some(format!("number {number}")) })
            .reference(format!("person-{number}"));
        let added = orchestrator.add_queue_item(&arguments.queue, item).await?;
        eprintln!("added item {}", added.id);
    }
    let performer = Performer::new(arguments.queue, || Greet).robots(arguments.robots);
    let orchestrator = std::sync::Arc::new(orchestrator);
    let summary = if arguments.until_empty {
        performer.run_until_empty(orchestrator).await?
    } else {
        performer.run(orchestrator).await?
    };
    Ok(summary)
}
