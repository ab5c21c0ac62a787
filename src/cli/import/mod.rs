//! `performer item import`: the rows of a file become items.
//!
//! Everything that can be found in a file is found before anything is added, so it is read several times:
//!
//! | pass | file | what it finds |
//! |---|---|---|
//! | 0 | `source.rs`, `dialect.rs` | the encoding, and what separates the columns of CSV |
//! | 1 | `columns.rs`, `numbers.rs` | CSV: one type for each column |
//! | 2 | `check.rs` | every row: is it an item that the queue takes, and is its reference new |
//! | 3 | here | the items are added, with marks by which an import that breaks off goes on (`resume.rs`) |
//!
//! `csv.rs` and `json.rs` read rows, `fields.rs` tells content from the fields of an item, and `rows.rs` makes items of both.

mod check;
mod columns;
mod csv;
mod dialect;
mod fields;
mod json;
mod numbers;
mod resume;
mod rows;
mod source;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use encoding_rs::Encoding;
use indicatif::{ProgressBar, ProgressStyle};

use self::check::{Checked, Refused, check};
use self::columns::{Columns, Types};
use self::csv::Records;
use self::fields::{Field, Named};
use self::resume::{CALL, Earlier, Identity, Marks};
use self::rows::{Content, Layout};
use self::source::Source;
use super::Place;
use super::output::{self, Done, Problem};
use crate::model::item::NewQueueItem;
use crate::model::queue::QueueDefinition;
use crate::orchestrator::{Administration, CommitType};

/// Adds the rows of a file to a queue
#[derive(Args)]
#[command(after_help = "\
CSV has a line with the names of its columns; JSONL one JSON object a line; JSON an array of objects. Each row is the\n\
content of an item, but for these columns, whatever the case of their letters, which are fields of the item:\n  \
Reference              its name\n  \
Priority               Low, Normal or High; in CSV also 1, 2 or 3, in JSON 2, 1 or 0, in this order\n  \
DueDate or Deadline    a time before which it should be handed out\n  \
DeferDate or Postpone  a time before which it is not handed out\n  \
Progress               a first progress text\n\
So the files of the Orchestrator's own upload of items are read as they are. --reference, and its like, name other columns, and\n\
--data a column that is content whatever its name. Times are 2026-09-01, 2026/09/01 or 2026 09 01, alone or with a time of day, as in\n\
2026-09-01 14:30 or 2026-09-01T14:30:00+02:00; without an offset they are UTC.\n\n\
A column of CSV has one type: it holds numbers if every cell in which something is written is a number of which no digit is lost\n\
(007, 1e5 and 1,5 are texts), booleans if each is true or false, and else texts. The queue's schema decides otherwise where\n\
it gives a property one type, and --text and --number decide before it.\n\n\
The whole file is checked before anything is added. A file that cannot be read to its end adds nothing. Rows that are refused are\n\
told with their lines and left out; so are rows in which nothing is written.\n\n\
An import that broke off goes on with --resume: what it added is skipped. The items carry marks for this, as their\n\
ParentOperationId. It needs the same file under the same name; rows that the queue refused the first time are not tried again.\n\n  \
performer item import Invoices invoices.csv --reference InvoiceNo\n  \
performer item import Invoices invoices.csv --reference InvoiceNo --resume\n  \
zcat rows.jsonl.gz | performer item import Invoices - --format jsonl")]
pub(super) struct Import {
    /// The queue
    queue: String,
    /// The file; - for what comes in
    file: PathBuf,
    /// What the file holds; by default its name tells
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// The encoding of the file, as in windows-1252; by default UTF-8, or UTF-16 where its first bytes say so. A byte order mark
    /// decides before this
    #[arg(long, value_name = "NAME", value_parser = encoding)]
    encoding: Option<&'static Encoding>,
    /// The column with the reference; it stays in the content too
    #[arg(long, value_name = "COLUMN")]
    reference: Option<String>,
    /// The column with the priority; it stays in the content too
    #[arg(long, value_name = "COLUMN")]
    priority: Option<String>,
    /// The column with the time before which an item should be handed out; it stays in the content too
    #[arg(long, value_name = "COLUMN")]
    due: Option<String>,
    /// The column with the time before which an item is not handed out; it stays in the content too
    #[arg(long, value_name = "COLUMN")]
    defer: Option<String>,
    /// A column that is content and no field, whatever its name; may be given several times
    #[arg(long, value_name = "COLUMN")]
    data: Vec<String>,
    /// All columns of CSV hold texts
    #[arg(long)]
    texts: bool,
    /// A column of CSV that holds texts; may be given several times
    #[arg(long, value_name = "COLUMN")]
    text: Vec<String>,
    /// A column of CSV that holds numbers; rows with anything else in it are refused; may be given several times
    #[arg(long, value_name = "COLUMN")]
    number: Vec<String>,
    /// What separates the columns of CSV, a character or the word tab; by default a first line sep= or the rows themselves tell
    #[arg(long, visible_alias = "separator", value_name = "CHARACTER", value_parser = dialect::named)]
    delimiter: Option<char>,
    /// Quotation marks in CSV are text, and do not enclose cells
    #[arg(long)]
    no_quotes: bool,
    /// All rows or none, in one transaction
    #[arg(long)]
    all_or_nothing: bool,
    /// Goes on with an import of this file that broke off; what it added is skipped
    #[arg(long)]
    resume: bool,
    /// Reads and checks the file, looks whether a queue with unique references has its references (not with --resume), and
    /// adds nothing
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

/// The encoding with a name of the WHATWG standard.
fn encoding(name: &str) -> Result<&'static Encoding, String> {
    Encoding::for_label(name.as_bytes()).filter(|encoding| *encoding != encoding_rs::REPLACEMENT).ok_or_else(
        || {
            "it is no known encoding; such are utf-8, utf-16le, windows-1252, iso-8859-2 and shift_jis"
                .to_owned()
        },
    )
}

impl Import {
    pub(super) async fn run(self) -> Done {
        let format = self.format()?;
        let orchestrator = self.place.connect().await?;
        let queue = orchestrator.get_queue(&self.queue).await?;
        let source = Source::open(&self.file, self.encoding)?;
        let bar = self.bar(source.size());
        let layout = self.layout(format, &source, &queue, &bar)?;
        let mut refused = Refused::new(&bar);
        bar.set_message("checking");
        // References of rows that were added before are in the queue.
        let asked = (self.dry_run && !self.resume).then_some(&*orchestrator);
        let checked = check(&source, &layout, &queue, asked, &mut refused).await?;
        if self.all_or_nothing && refused.count() > 0 {
            bar.finish_and_clear();
            return Err(Problem::failed(format!(
                "{} rows were refused, so nothing was added",
                refused.count()
            )));
        }
        // An import of all rows at once leaves no part of them.
        let at_once = if self.all_or_nothing { " at once" } else { "" };
        let read = format!("{} {} {}{at_once}", checked.digest, source.encoding(), layout.named());
        let file = Identity { name: source.name().to_owned(), rows: read };
        let mut marks = Marks::new(&file);
        let mut done = resume::Done::default();
        if self.resume {
            bar.set_message("looking for what was added");
            let earlier = Earlier { orchestrator: &*orchestrator, queue: &queue.name };
            match earlier.find(&file, checked.rows, self.all_or_nothing).await? {
                Some(found) => (marks, done) = found,
                None => bar.suspend(|| {
                    output::remark(format!(
                        "queue {:?} has no item of this file: the import begins with the first row",
                        queue.name
                    ));
                }),
            }
        }
        let adding = Adding { import: &self, orchestrator: &*orchestrator, marks, done };
        let sum = if self.dry_run {
            let skipped =
                (0..checked.rows).filter(|row| !checked.refused.contains(row) && adding.done.has(*row));
            let skipped = (skipped.count() as u64).min(checked.good);
            Sum { added: checked.good - skipped, skipped }
        } else {
            bar.set_message("adding");
            adding.run(&source, &layout, &checked, &mut refused).await?
        };
        bar.finish_and_clear();
        self.tell(&queue, sum, &checked, refused.count())
    }

    fn tell(&self, queue: &QueueDefinition, sum: Sum, checked: &Checked, refused: u64) -> Done {
        let Sum { added, skipped } = sum;
        if self.place.json {
            let mut answer = serde_json::json!({ "added": added, "refused": refused });
            if checked.empty > 0 {
                answer["empty"] = checked.empty.into();
            }
            if self.resume {
                answer["skipped"] = skipped.into();
            }
            output::json(&answer)?;
        } else {
            let verb = if self.dry_run { "could be added" } else { "were added" };
            let mut line = format!("{added} items {verb} to {:?}, {refused} rows were refused", queue.name);
            if checked.empty > 0 {
                line.push_str(&format!(", {} rows without any value were left out", checked.empty));
            }
            if self.resume {
                line.push_str(&format!(", {skipped} rows were done before"));
            }
            output::line(line)?;
        }
        Ok(ExitCode::from(if refused == 0 { 0 } else { output::SOME_REFUSED }))
    }

    fn format(&self) -> Result<Format, Problem> {
        let extension = self.file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let format = match (self.format, extension.to_ascii_lowercase().as_str()) {
            (Some(format), _) => format,
            (None, "csv" | "tsv" | "txt") => Format::Csv,
            (None, "jsonl" | "ndjson") => Format::Jsonl,
            (None, "json") => Format::Json,
            _ => return Err(Problem::usage("what does the file hold? Say --format csv, jsonl or json")),
        };
        let says_csv = self.texts
            || !self.text.is_empty()
            || !self.number.is_empty()
            || self.delimiter.is_some()
            || self.no_quotes;
        if format != Format::Csv && says_csv {
            return Err(Problem::usage(
                "--texts, --text, --number, --delimiter and --no-quotes are for CSV; in JSON values have types",
            ));
        }
        Ok(format)
    }

    /// Shows on a terminal how much of the file has been read.
    fn bar(&self, size: u64) -> ProgressBar {
        if self.place.json || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(
            "{msg} {bar:40} {percent:>3} %  {bytes} of {total_bytes}  {eta} left",
        );
        ProgressBar::new(size).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }

    /// How the rows of the file are read. CSV is read to its end for this.
    fn layout(
        &self,
        format: Format,
        source: &Source,
        queue: &QueueDefinition,
        bar: &ProgressBar,
    ) -> Result<Layout, Problem> {
        let given = [
            (Field::Reference, &self.reference),
            (Field::Priority, &self.priority),
            (Field::Due, &self.due),
            (Field::Defer, &self.defer),
        ];
        let given = given.into_iter().filter_map(|(field, name)| Some((field, name.clone()?))).collect();
        let named = Named { given, content: self.data.clone() };
        match format {
            Format::Jsonl => return Ok(Layout::Lines(named)),
            Format::Json => return Ok(Layout::Array(named)),
            Format::Csv => {}
        }
        let is_tsv = self.file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
        let dialect = dialect::detect(source, self.delimiter, !self.no_quotes, is_tsv)?;
        let types = Types { texts: self.texts, text: self.text.clone(), number: self.number.clone() };
        let schema = queue.schemas.specific_data.as_deref().and_then(|text| serde_json::from_str(text).ok());
        bar.set_message("reading");
        let mut records = Records::new(source.lines(bar)?, dialect)?;
        let heads = records.heads()?.ok_or_else(|| {
            Problem::failed(format!("{} has no line with the names of its columns", self.file.display()))
        })?;
        let mut columns = Columns::new(&heads, &named, &types, schema.as_ref())?;
        while let Some(record) = records.next()? {
            columns.see(&record);
        }
        Ok(Layout::Csv { dialect, columns })
    }
}

/// What became of the rows that could be added.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    added: u64,
    skipped: u64,
}

/// The last pass: the rows are added.
struct Adding<'a> {
    import: &'a Import,
    orchestrator: &'a dyn Administration,
    marks: Marks,
    done: resume::Done,
}

impl Adding<'_> {
    async fn run(
        self,
        source: &Source,
        layout: &Layout,
        checked: &Checked,
        refused: &mut Refused<'_>,
    ) -> Result<Sum, Problem> {
        let mut sum = Sum::default();
        let mut call: Vec<(u64, NewQueueItem)> = Vec::new();
        let mut rows = layout.rows(source, refused.bar())?;
        let mut row = 0;
        let changed = |sum: Sum| {
            Problem::failed(format!("the file was changed while it was read; {} items were added", sum.added))
        };
        while let Some(next) = rows.next().map_err(|_| changed(sum))? {
            if let Content::Item(mut item) = next.content
                && !checked.refused.contains(&row)
            {
                if self.done.has(row) {
                    sum.skipped += 1;
                } else {
                    item.origin.parent_operation_id = Some(self.marks.of(row));
                    call.push((next.line, *item));
                }
            }
            row += 1;
            if row % CALL == 0 && !self.import.all_or_nothing {
                self.call(&mut call, &mut sum, refused).await?;
            }
        }
        if rows.digest() != checked.digest {
            return Err(changed(sum));
        }
        self.call(&mut call, &mut sum, refused).await?;
        Ok(sum)
    }

    async fn call(
        &self,
        call: &mut Vec<(u64, NewQueueItem)>,
        sum: &mut Sum,
        refused: &mut Refused<'_>,
    ) -> Result<(), Problem> {
        if call.is_empty() {
            return Ok(());
        }
        let (lines, items): (Vec<u64>, Vec<NewQueueItem>) = std::mem::take(call).into_iter().unzip();
        let all_or_nothing = self.import.all_or_nothing;
        let commit_type =
            if all_or_nothing { CommitType::AllOrNothing } else { CommitType::ProcessAllIndependently };
        let added = self.orchestrator.bulk_add_queue_items(&self.import.queue, commit_type, items).await;
        let added = added.map_err(|error| {
            let error = Problem::from(error);
            Problem::failed(format!(
                "{} items were added, and then: {error}; --resume goes on from there",
                sum.added
            ))
        })?;
        sum.added += added.added;
        for failed in &added.failed {
            let line = failed.ordinal.checked_sub(1).and_then(|at| lines.get(at)).copied().unwrap_or(0);
            refused.tell(line, &failed.refusal.to_string());
        }
        Ok(())
    }
}
