//! `performer item import`: the rows of a file become items.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Place;
use super::output::{self, Done, Problem};
use crate::model::item::{NewQueueItem, Priority};
use crate::orchestrator::{Administration, CommitType};

/// Adds the rows of a file to a queue
#[derive(Args)]
#[command(after_help = "\
CSV has a line with the names of its columns; JSONL one JSON object a line; JSON an array of objects. Each row is the\n\
content of an item, but for the columns Reference, Priority, DeferDate, DueDate and Progress (in any case), which are\n\
fields of the item; --reference, and its like, name other columns. Rows that are refused are told and left out.\n\n\
  performer item import Invoices invoices.csv --reference InvoiceNo\n  \
  zcat rows.jsonl.gz | performer item import Invoices - --format jsonl")]
pub(super) struct Import {
    /// The queue
    queue: String,
    /// The file; - for what comes in
    file: PathBuf,
    /// What the file holds; by default its name tells
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// The column with the reference; it stays in the content too
    #[arg(long, value_name = "COLUMN")]
    reference: Option<String>,
    /// The column with the priority
    #[arg(long, value_name = "COLUMN")]
    priority: Option<String>,
    /// The column with the time before which an item should be handed out
    #[arg(long, value_name = "COLUMN")]
    due: Option<String>,
    /// The column with the time before which an item is not handed out
    #[arg(long, value_name = "COLUMN")]
    defer: Option<String>,
    /// The values of CSV stay texts; by default numbers, true and false are read as what they are
    #[arg(long)]
    texts: bool,
    /// What separates the columns of CSV; by default a comma, and a tab in a file named .tsv
    #[arg(long, value_name = "CHARACTER")]
    separator: Option<char>,
    /// All rows or none, in one transaction
    #[arg(long)]
    all_or_nothing: bool,
    /// Reads and checks the file, and adds nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Jsonl,
    Json,
}

/// How many items are added in one call.
const AT_ONCE: usize = 1_000;

/// How many refused rows are told one by one.
const MOST_TOLD: usize = 20;

/// A row, and its line or place in the file.
type Row = (u64, Result<Map<String, Value>, String>);

impl Import {
    pub(super) async fn run(self) -> Done {
        let format = self.format()?;
        let orchestrator = self.place.connect().await?;
        let queue = orchestrator.get_queue(&self.queue).await?;
        let input: Box<dyn Read> = if self.file == Path::new("-") {
            Box::new(std::io::stdin())
        } else {
            let opened = File::open(&self.file);
            Box::new(opened.map_err(|error| Problem::failed(format!("{}: {error}", self.file.display())))?)
        };
        let bar = self.bar();
        let rows = self.rows(format, bar.wrap_read(input))?;
        let mut sum = Sum { told: 0, added: 0, refused: 0 };
        let mut batch: Vec<(u64, NewQueueItem)> = Vec::new();
        for (line, row) in rows {
            let item = row.and_then(|row| self.item(&row)).and_then(|item| {
                item.validate(&queue).map_err(|refusal| refusal.to_string())?;
                Ok(item)
            });
            match item {
                Ok(item) => batch.push((line, item)),
                Err(why) => sum.refuse(&bar, line, &why),
            }
            if batch.len() >= AT_ONCE && !self.all_or_nothing {
                self.add(&*orchestrator, &mut batch, &mut sum, &bar).await?;
            }
        }
        if self.all_or_nothing && sum.refused > 0 {
            bar.finish_and_clear();
            return Err(Problem::failed(format!("{} rows were refused, so nothing was added", sum.refused)));
        }
        self.add(&*orchestrator, &mut batch, &mut sum, &bar).await?;
        bar.finish_and_clear();
        let verb = if self.dry_run { "could be added" } else { "were added" };
        if self.place.json {
            output::json(&serde_json::json!({ "added": sum.added, "refused": sum.refused }))?;
        } else {
            output::line(format!(
                "{} items {verb} to {:?}, {} rows were refused",
                sum.added, queue.name, sum.refused
            ))?;
        }
        Ok(ExitCode::from(if sum.refused == 0 { 0 } else { output::SOME_REFUSED }))
    }

    fn format(&self) -> Result<Format, Problem> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        let extension = self.file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "csv" | "tsv" | "txt" => Ok(Format::Csv),
            "jsonl" | "ndjson" => Ok(Format::Jsonl),
            "json" => Ok(Format::Json),
            _ => Err(Problem::usage("what does the file hold? Say --format csv, jsonl or json")),
        }
    }

    /// Shows on a terminal how much of the file has been read.
    fn bar(&self) -> ProgressBar {
        let size = std::fs::metadata(&self.file).map_or(0, |metadata| metadata.len());
        if self.place.json || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = if size > 0 { ProgressBar::new(size) } else { ProgressBar::new_spinner() };
        let style =
            ProgressStyle::with_template("{bar:40} {percent:>3} %  {bytes} of {total_bytes}  {eta} left");
        bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }

    fn rows<'a>(
        &self,
        format: Format,
        input: impl Read + 'a,
    ) -> Result<Box<dyn Iterator<Item = Row> + 'a>, Problem> {
        match format {
            Format::Csv => self.csv(input),
            Format::Jsonl => Ok(Box::new(jsonl(input))),
            Format::Json => json(input),
        }
    }

    fn csv<'a>(&self, input: impl Read + 'a) -> Result<Box<dyn Iterator<Item = Row> + 'a>, Problem> {
        let is_tsv = self.file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
        let separator = self.separator.unwrap_or(if is_tsv { '\t' } else { ',' });
        let separator = u8::try_from(separator)
            .map_err(|_| Problem::usage("--separator is one plain character; for a tab write $'\\t'"))?;
        let mut reader = csv::ReaderBuilder::new().delimiter(separator).from_reader(input);
        let heads = reader.headers().map_err(|error| Problem::failed(format!("the first line: {error}")))?;
        let heads: Vec<String> =
            heads.iter().map(|head| head.trim_start_matches(MARK).trim().to_owned()).collect();
        self.check_heads(&heads)?;
        let texts = self.texts;
        let rows = reader.into_records().map(move |record| {
            let line_of = |position: Option<&csv::Position>| position.map_or(0, csv::Position::line);
            match record {
                Ok(record) => {
                    let line = line_of(record.position());
                    let pairs = heads.iter().cloned().zip(record.iter());
                    (line, Ok(pairs.map(|(head, cell)| (head, value(cell, texts))).collect()))
                }
                Err(error) => (line_of(error.position()), Err(error.to_string())),
            }
        });
        Ok(Box::new(rows))
    }

    /// Columns without a name, or two with one, would lose what is in them; so would a column that is not there.
    fn check_heads(&self, heads: &[String]) -> Result<(), Problem> {
        for (at, head) in heads.iter().enumerate() {
            if head.is_empty() {
                return Err(Problem::failed(format!("column {} has no name", at + 1)));
            }
            if heads[..at].contains(head) {
                return Err(Problem::failed(format!("there are two columns {head:?}")));
            }
        }
        for wanted in [&self.reference, &self.priority, &self.due, &self.defer].into_iter().flatten() {
            if !heads.iter().any(|head| head.eq_ignore_ascii_case(wanted)) {
                return Err(Problem::usage(format!(
                    "there is no column {wanted:?}; there are {}",
                    heads.join(", ")
                )));
            }
        }
        Ok(())
    }

    /// The item that a row is.
    fn item(&self, row: &Map<String, Value>) -> Result<NewQueueItem, String> {
        let named = |given: Option<&String>, usual: &str| -> Option<(String, bool)> {
            let wanted = given.map_or(usual, String::as_str);
            let found = row.keys().find(|key| key.eq_ignore_ascii_case(wanted)).cloned();
            found.map(|key| (key, given.is_none()))
        };
        let fields = [
            named(self.reference.as_ref(), "Reference"),
            named(self.priority.as_ref(), "Priority"),
            named(self.due.as_ref(), "DueDate"),
            named(self.defer.as_ref(), "DeferDate"),
            named(None, "Progress"),
        ];
        let text = |at: usize| -> Option<String> {
            match row.get(&fields[at].as_ref()?.0)? {
                Value::Null => None,
                Value::String(text) if text.trim().is_empty() => None,
                Value::String(text) => Some(text.trim().to_owned()),
                other => Some(other.to_string()),
            }
        };
        let time = |at: usize, what: &str| -> Result<Option<Timestamp>, String> {
            let Some(text) = text(at) else { return Ok(None) };
            let parsed = text.parse::<Timestamp>();
            let parsed = parsed.or_else(|error| match text.parse::<jiff::civil::DateTime>() {
                Ok(civil) => civil.to_zoned(jiff::tz::TimeZone::UTC).map(|zoned| zoned.timestamp()),
                Err(_) => Err(error),
            });
            parsed.map(Some).map_err(|_| format!("{what}: {text:?} is no time"))
        };
        let (reference, progress) = (text(0), text(4));
        let priority =
            text(1).map(|text| text.parse::<Priority>().map_err(|error| error.to_string())).transpose()?;
        let (due, defer) = (time(2, "the due date")?, time(3, "the defer date")?);
        if self.reference.is_some() && reference.is_none() {
            return Err("it has no reference".to_owned());
        }
        let mut content = row.clone();
        for (key, usual) in fields.iter().flatten() {
            if *usual {
                content.remove(key);
            }
        }
        let mut item = NewQueueItem::new(Value::Object(content));
        item.reference = reference;
        item.progress = progress;
        item.priority = priority.unwrap_or(Priority::Normal);
        if let Some(due) = due {
            item = item.due_date(due);
        }
        if let Some(defer) = defer {
            item = item.defer_date(defer);
        }
        Ok(item)
    }

    /// Adds what has been read.
    async fn add(
        &self,
        orchestrator: &dyn Administration,
        batch: &mut Vec<(u64, NewQueueItem)>,
        sum: &mut Sum,
        bar: &ProgressBar,
    ) -> Result<(), Problem> {
        if batch.is_empty() {
            return Ok(());
        }
        let (lines, items): (Vec<u64>, Vec<NewQueueItem>) = std::mem::take(batch).into_iter().unzip();
        if self.dry_run {
            sum.added += items.len() as u64;
            return Ok(());
        }
        let commit_type =
            if self.all_or_nothing { CommitType::AllOrNothing } else { CommitType::ProcessAllIndependently };
        let added = orchestrator.bulk_add_queue_items(&self.queue, commit_type, items).await;
        let added = added
            .map_err(|error| Problem::failed(format!("{} items were added, and then: {error}", sum.added)))?;
        sum.added += added.added;
        for failed in &added.failed {
            let line = failed.ordinal.checked_sub(1).and_then(|at| lines.get(at)).copied().unwrap_or(0);
            sum.refuse(bar, line, &failed.refusal.to_string());
        }
        Ok(())
    }
}

struct Sum {
    told: usize,
    added: u64,
    refused: u64,
}

impl Sum {
    fn refuse(&mut self, bar: &ProgressBar, line: u64, why: &str) {
        self.refused += 1;
        self.told += 1;
        if self.told <= MOST_TOLD {
            bar.suspend(|| output::remark(format!("line {line}: {why}")));
        } else if self.told == MOST_TOLD + 1 {
            bar.suspend(|| output::remark("more rows are refused; they are counted"));
        }
    }
}

/// A cell of CSV: a number only where it is written as we would write it, so that 007 stays what it is.
fn value(cell: &str, texts: bool) -> Value {
    if texts {
        return Value::from(cell);
    }
    match cell {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "" => Value::Null,
        _ => match serde_json::from_str::<Value>(cell) {
            Ok(Value::Number(number)) if number.to_string() == cell => Value::Number(number),
            _ => Value::from(cell),
        },
    }
}

fn jsonl<'a>(input: impl Read + 'a) -> impl Iterator<Item = Row> + 'a {
    let mut lines = BufReader::new(input).lines().zip(1_u64..);
    let mut over = false;
    std::iter::from_fn(move || {
        loop {
            if over {
                return None;
            }
            let (text, line) = lines.next()?;
            let text = match text {
                Ok(text) => text,
                Err(error) => {
                    // A line that is no text is one row; what cannot be read at all is the end.
                    over = error.kind() != std::io::ErrorKind::InvalidData;
                    return Some((line, Err(error.to_string())));
                }
            };
            let text = text.strip_prefix(MARK).unwrap_or(&text);
            if !text.trim().is_empty() {
                let row = serde_json::from_str::<Map<String, Value>>(text);
                return Some((line, row.map_err(|error| error.to_string())));
            }
        }
    })
}

/// Some editors begin a file with it.
const MARK: char = '\u{feff}';

fn json<'a>(mut input: impl Read + 'a) -> Result<Box<dyn Iterator<Item = Row> + 'a>, Problem> {
    let mut text = String::new();
    let rows: Result<Vec<Value>, String> = match input.read_to_string(&mut text) {
        Ok(_) => {
            serde_json::from_str(text.strip_prefix(MARK).unwrap_or(&text)).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    let rows =
        rows.map_err(|error| Problem::failed(format!("the file is no JSON array of objects: {error}")))?;
    let object = |(row, at): (Value, u64)| match row {
        Value::Object(members) => (at, Ok(members)),
        _ => (at, Err("it is no object".to_owned())),
    };
    Ok(Box::new(rows.into_iter().zip(1..).map(object)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_a_number_only_where_nothing_is_lost() {
        for (cell, expected) in [
            ("12", Value::from(12)),
            ("-1.5", Value::from(-1.5)),
            ("007", Value::from("007")),
            ("1e5", Value::from("1e5")),
            ("1.50", Value::from("1.50")),
            ("true", Value::Bool(true)),
            ("True", Value::from("True")),
            ("", Value::Null),
            ("null", Value::from("null")),
            ("\"x\"", Value::from("\"x\"")),
        ] {
            assert_eq!(value(cell, false), expected, "{cell}");
        }
        assert_eq!(value("12", true), Value::from("12"));
    }

    #[test]
    fn a_file_that_cannot_be_read_ends() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("the disk is gone"))
            }
        }
        let rows: Vec<Row> = jsonl(Broken).collect();
        assert_eq!(rows, [(1, Err("the disk is gone".to_owned()))]);
        let rows: Vec<Row> = jsonl(&b"\xef\xbb\xbf{\"a\":1}\n\n\xff\n{}"[..]).collect();
        assert_eq!(rows.len(), 3);
        assert!(rows[0].1.is_ok() && rows[1].1.is_err() && rows[2] == (4, Ok(Map::new())));
        assert!(json(&b"\xef\xbb\xbf[{}]"[..]).is_ok_and(|rows| rows.count() == 1));
    }
}
