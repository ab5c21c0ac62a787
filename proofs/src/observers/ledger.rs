//! The ledger: an append-only record of what happened outside the store.
//!
//! In a file, each record is one line and one write with `O_APPEND`: lines of several processes stand in the order in
//! which they were written, and a killed process leaves whole lines. In a simulation it is a vector that no
//! simulated crash touches.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use performer::jiff::Timestamp;
use performer::{ItemId, QueueItem, TransactionOutcome};

/// The outcome of a call, as its caller knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    Yes,
    No,
    /// The answer was lost: the call may have been executed or not.
    Unknown,
}

/// How a run of a handler ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    Successful,
    BusinessException,
    ApplicationException,
    Postponed,
    /// Dropped at an await point.
    Interrupted,
}

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An item with this reference was to be added, with this outcome.
    Added { reference: String, told: CallOutcome },
    /// A process started; its runs carry its name.
    Born { process: String },
    /// A process has ended, and with it all of its runs.
    Died { process: String },
    /// A handler started.
    Started {
        process: String,
        run: u64,
        item: ItemId,
        key: String,
        retry_number: u32,
        job: String,
        start_processing: Timestamp,
        defer_date: Option<Timestamp>,
    },
    /// A handler ended.
    Ended { process: String, run: u64, end: RunEnd },
    /// A performer learned whether a result was recorded.
    Reported { process: String, item: ItemId, outcome: String },
    /// A claim returned an item although these items come before it.
    OutOfOrder { item: ItemId, ahead: Vec<ItemId> },
}

/// The place where records are written.
#[derive(Clone, Debug)]
pub enum Ledger {
    File(Arc<File>),
    Memory(Memory),
}

/// Records in the order in which they were written.
pub type Memory = Arc<Mutex<Vec<Record>>>;

impl Ledger {
    pub fn memory() -> (Self, Memory) {
        let memory = Memory::default();
        (Self::Memory(memory.clone()), memory)
    }

    pub fn file(path: &Path) -> Self {
        Self::File(Arc::new(OpenOptions::new().create(true).append(true).open(path).unwrap()))
    }

    pub fn write(&self, record: Record) {
        match self {
            Self::File(file) => {
                let mut file: &File = file;
                file.write_all(format!("{record}\n").as_bytes()).unwrap();
            }
            Self::Memory(memory) => memory.lock().unwrap().push(record),
        }
    }

    /// Records that a handler starts to process an item.
    pub fn started(&self, process: &str, run: u64, item: &QueueItem) {
        self.write(Record::Started {
            process: process.to_owned(),
            run,
            item: item.id,
            key: item.key.to_string(),
            retry_number: item.retry_number,
            job: item.executor_job.map(|job| job.to_string()).unwrap_or_default(),
            start_processing: item.start_processing.expect("it is InProgress"),
            defer_date: item.defer_date,
        });
    }

    pub fn reported(&self, process: &str, item: ItemId, outcome: TransactionOutcome) {
        self.write(Record::Reported { process: process.to_owned(), item, outcome: format!("{outcome:?}") });
    }
}

/// All records of a file.
pub fn read(path: &Path) -> Vec<Record> {
    records(&std::fs::read_to_string(path).unwrap_or_default())
}

/// The records of a file that is still being written: its last line may be incomplete.
pub fn read_so_far(path: &Path) -> Vec<Record> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    records(text.rsplit_once('\n').map_or("", |(whole, _)| whole))
}

fn records(text: &str) -> Vec<Record> {
    text.lines().map(|line| line.parse().unwrap_or_else(|()| panic!("the ledger has {line:?}"))).collect()
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { reference, told } => write!(f, "added {reference} {told:?}"),
            Self::Born { process } => write!(f, "born {process}"),
            Self::Died { process } => write!(f, "died {process}"),
            Self::Started { process, run, item, key, retry_number, job, start_processing, defer_date } => {
                let defer_date = defer_date.map_or("-".to_owned(), |date| date.to_string());
                write!(
                    f,
                    "started {process} {run} {item} {key} {retry_number} {job} {start_processing} {defer_date}"
                )
            }
            Self::Ended { process, run, end } => write!(f, "ended {process} {run} {end:?}"),
            Self::Reported { process, item, outcome } => write!(f, "reported {process} {item} {outcome}"),
            Self::OutOfOrder { item, ahead } => write!(f, "out-of-order {item} {ahead:?}"),
        }
    }
}

impl FromStr for Record {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let words: Vec<&str> = line.split(' ').collect();
        let text = |at: usize| words.get(at).map(|word| (*word).to_owned()).ok_or(());
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok()).ok_or(());
        let item = |at: usize| words.get(at).and_then(|word| word.parse().ok()).map(ItemId).ok_or(());
        let told = |at: usize| match words.get(at).copied() {
            Some("Yes") => Ok(CallOutcome::Yes),
            Some("No") => Ok(CallOutcome::No),
            Some("Unknown") => Ok(CallOutcome::Unknown),
            _ => Err(()),
        };
        Ok(match words[0] {
            "added" => Self::Added { reference: text(1)?, told: told(2)? },
            "born" => Self::Born { process: text(1)? },
            "died" => Self::Died { process: text(1)? },
            "started" => Self::Started {
                process: text(1)?,
                run: number(2)?,
                item: item(3)?,
                key: text(4)?,
                retry_number: u32::try_from(number(5)?).map_err(drop)?,
                job: text(6)?,
                start_processing: text(7)?.parse().map_err(drop)?,
                defer_date: match text(8)?.as_str() {
                    "-" => None,
                    date => Some(date.parse().map_err(drop)?),
                },
            },
            "ended" => {
                let ends = [
                    RunEnd::Successful,
                    RunEnd::BusinessException,
                    RunEnd::ApplicationException,
                    RunEnd::Postponed,
                    RunEnd::Interrupted,
                ];
                let word = text(3)?;
                let end = ends.into_iter().find(|end| format!("{end:?}") == word).ok_or(())?;
                Self::Ended { process: text(1)?, run: number(2)?, end }
            }
            "reported" => Self::Reported { process: text(1)?, item: item(2)?, outcome: text(3)? },
            _ => return Err(()),
        })
    }
}
