//! `performer item import`: adds the rows of a file as items.
//!
//! All errors of a file are found before anything is added, so the file is read several times:
//!
//! | pass | file | what it does |
//! |---|---|---|
//! | 0 | `source.rs`, `dialect.rs` | detects the encoding, and the delimiter of CSV |
//! | 1 | `columns.rs`, `numbers.rs` | CSV: infers one type for each column |
//! | 2 | `check.rs` | validates each row as an item, and its reference as unique |
//! | 3 | `mod.rs` | adds the items, with marks by which an interrupted import can be resumed (`resume.rs`) |
//!
//! `csv.rs` and `json.rs` read rows, `fields.rs` separates the fields of an item from its content, and `rows.rs` makes the
//! items. `fuzzing.rs` reads any bytes as a file, for the fuzz target `import`.

mod check;
mod columns;
mod csv;
mod dialect;
mod fields;
#[cfg(test)]
mod fuzzing;
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

use self::check::{CheckedFile, RefusedRows, check};
use self::columns::TypeOptions;
use self::fields::{Field, FieldColumns};
use self::resume::{BATCH, EarlierImports, FileIdentity, RowMarks};
use self::rows::{Content, Layout};
use self::source::Source;
use super::GlobalArgs;
use super::output::{self, CliError, CommandResult};
use performer_core::model::item::NewQueueItem;
use performer_core::model::queue::QueueDefinition;
use performer_core::orchestrator::{Administration, CommitType};

/// Add the rows of a file to a queue
#[derive(Args)]
#[command(after_help = "\
A CSV file has a header line; a JSONL file has one JSON object per line; a JSON file has an array of objects. Each row is the\n\
content of an item, except for these columns, in upper or lower case, which are fields of the item:\n  \
Reference              the reference\n  \
Priority               Low, Normal or High; in CSV also 1, 2 or 3, in JSON 2, 1 or 0, in this order\n  \
DueDate or Deadline    the time before which the item should be handed out\n  \
DeferDate or Postpone  the time before which the item is not handed out\n  \
Progress               the initial progress text\n\
So files for the Orchestrator's own item upload can be used as they are. --reference and similar options select other columns, and\n\
--data declares a column as content. Times have the form 2026-09-01, 2026/09/01 or 2026 09 01, alone or with a time of day, such as\n\
2026-09-01 14:30 or 2026-09-01T14:30:00+02:00; without an offset they are UTC.\n\n\
Each column of CSV has one type: number if all non-empty cells are numbers that lose no digits (007, 1e5 and 1,5 are texts),\n\
boolean if all are true or false, otherwise text. If the queue's schema gives a property one type, that is used instead; --text\n\
and --number override both.\n\n\
The whole file is checked before anything is added. If it cannot be read to its end, nothing is added. Refused rows are reported\n\
with their line numbers and skipped; empty rows are skipped.\n\n\
An interrupted import can be continued with --resume, which skips the rows that were added. Imported items carry marks for this in\n\
their ParentOperationId. It requires the same file with the same name; rows that the queue refused before are not tried again.\n\n  \
performer item import Invoices invoices.csv --reference InvoiceNo\n  \
performer item import Invoices invoices.csv --reference InvoiceNo --resume\n  \
zcat rows.jsonl.gz | performer item import Invoices - --format jsonl")]
pub(super) struct Import {
    /// The name of the queue
    queue: String,
    /// The file; - for stdin
    file: PathBuf,
    /// The format of the file [default: from its extension]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// The encoding of the file, such as windows-1252 [default: UTF-8, or UTF-16 if the first bytes show it]. A byte order mark
    /// takes precedence
    #[arg(long, value_name = "NAME", value_parser = encoding)]
    encoding: Option<&'static Encoding>,
    /// The column with the reference, which is also kept in the content
    #[arg(long, value_name = "COLUMN")]
    reference: Option<String>,
    /// The column with the priority, which is also kept in the content
    #[arg(long, value_name = "COLUMN")]
    priority: Option<String>,
    /// The column with the due date, which is also kept in the content
    #[arg(long, value_name = "COLUMN")]
    due: Option<String>,
    /// The column with the defer date, which is also kept in the content
    #[arg(long, value_name = "COLUMN")]
    defer: Option<String>,
    /// A column that is content although it has the name of a field; can be repeated
    #[arg(long, value_name = "COLUMN")]
    data: Vec<String>,
    /// Read all columns of CSV as text
    #[arg(long)]
    texts: bool,
    /// Read this column of CSV as text; can be repeated
    #[arg(long, value_name = "COLUMN")]
    text: Vec<String>,
    /// Read this column of CSV as numbers, and refuse rows with other values in it; can be repeated
    #[arg(long, value_name = "COLUMN")]
    number: Vec<String>,
    /// The delimiter of CSV, a character or the word tab [default: from a first line sep=, or detected]
    #[arg(long, visible_alias = "separator", value_name = "CHARACTER", value_parser = dialect::parse_delimiter)]
    delimiter: Option<char>,
    /// Treat quotation marks in CSV as text
    #[arg(long)]
    no_quotes: bool,
    /// Add all rows or none, in one transaction
    #[arg(long)]
    all_or_nothing: bool,
    /// Continue an interrupted import of this file, and skip the rows that it added
    #[arg(long)]
    resume: bool,
    /// Read and check the file, and check whether a queue with unique references has its references (not with --resume), but add
    /// nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    global: GlobalArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Jsonl,
    Json,
}

/// Parses the name of an encoding, as in the WHATWG standard.
fn encoding(name: &str) -> Result<&'static Encoding, String> {
    Encoding::for_label(name.as_bytes()).filter(|encoding| *encoding != encoding_rs::REPLACEMENT).ok_or_else(
        || {
            "unknown encoding; known are, for instance, utf-8, utf-16le, windows-1252, iso-8859-2 and shift_jis"
                .to_owned()
        },
    )
}

impl Import {
    pub(super) async fn run(self) -> CommandResult {
        let format = self.format()?;
        let orchestrator = self.global.connect().await?;
        let queue = orchestrator.get_queue(&self.queue).await?;
        let source = Source::open(&self.file, self.encoding)?;
        let bar = self.bar(source.size());
        let layout = self.layout(format, &source, &queue, &bar)?;
        let mut refused = RefusedRows::new(&bar);
        bar.set_message("checking");
        // When an import is resumed, the queue has the references of the rows that were added.
        let lookup_in = (self.dry_run && !self.resume).then_some(&*orchestrator);
        let checked = check(&source, &layout, &queue, lookup_in, &mut refused).await?;
        if self.all_or_nothing && refused.count() > 0 {
            bar.finish_and_clear();
            return Err(CliError::failed(format!(
                "{} rows were refused, so nothing was added",
                refused.count()
            )));
        }
        // An import with --all-or-nothing adds no part of the rows, so its marks must differ.
        let at_once = if self.all_or_nothing { " at once" } else { "" };
        let read = format!("{} {} {}{at_once}", checked.digest, source.encoding(), layout.fingerprint());
        let file = FileIdentity { name: source.name().to_owned(), rows: read };
        let mut marks = RowMarks::new(&file);
        let mut added_rows = resume::AddedRows::default();
        if self.resume {
            bar.set_message("searching for added rows");
            let earlier = EarlierImports { orchestrator: &*orchestrator, queue: &queue.name };
            match earlier.find(&file, checked.rows, self.all_or_nothing).await? {
                Some(found) => (marks, added_rows) = found,
                None => bar.suspend(|| {
                    output::remark(format!(
                        "queue {:?} has no items of this file; the import begins with the first row",
                        queue.name
                    ));
                }),
            }
        }
        let importer = Importer { import: &self, orchestrator: &*orchestrator, marks, added_rows };
        let summary = if self.dry_run {
            let skipped = (0..checked.rows)
                .filter(|row| !checked.refused.contains(row) && importer.added_rows.has(*row));
            let skipped = (skipped.count() as u64).min(checked.valid);
            ImportSummary { added: checked.valid - skipped, skipped }
        } else {
            bar.set_message("adding");
            importer.run(&source, &layout, &checked, &mut refused).await?
        };
        bar.finish_and_clear();
        self.print_summary(&queue, summary, &checked, refused.count())
    }

    fn print_summary(
        &self,
        queue: &QueueDefinition,
        summary: ImportSummary,
        checked: &CheckedFile,
        refused: u64,
    ) -> CommandResult {
        let ImportSummary { added, skipped } = summary;
        if self.global.json {
            let mut answer = serde_json::json!({ "Added": added, "Refused": refused });
            if checked.empty > 0 {
                answer["Empty"] = checked.empty.into();
            }
            if self.resume {
                answer["Skipped"] = skipped.into();
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

    fn format(&self) -> Result<Format, CliError> {
        let extension = self.file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let format = match (self.format, extension.to_ascii_lowercase().as_str()) {
            (Some(format), _) => format,
            (None, "csv" | "tsv" | "txt") => Format::Csv,
            (None, "jsonl" | "ndjson") => Format::Jsonl,
            (None, "json") => Format::Json,
            _ => return Err(CliError::usage("unknown file format; use --format csv, jsonl or json")),
        };
        let says_csv = self.texts
            || !self.text.is_empty()
            || !self.number.is_empty()
            || self.delimiter.is_some()
            || self.no_quotes;
        if format != Format::Csv && says_csv {
            return Err(CliError::usage(
                "--texts, --text, --number, --delimiter and --no-quotes can only be used with CSV",
            ));
        }
        Ok(format)
    }

    /// A progress bar, if stderr is a terminal.
    fn bar(&self, size: u64) -> ProgressBar {
        if self.global.json || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(
            "{msg} {bar:40} {percent:>3} %  {bytes} of {total_bytes}  {eta} left",
        );
        ProgressBar::new(size).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }

    /// Determines how the rows of the file are read. A CSV file is read to its end for this.
    fn layout(
        &self,
        format: Format,
        source: &Source,
        queue: &QueueDefinition,
        bar: &ProgressBar,
    ) -> Result<Layout, CliError> {
        let given = [
            (Field::Reference, &self.reference),
            (Field::Priority, &self.priority),
            (Field::Due, &self.due),
            (Field::Defer, &self.defer),
        ];
        let given = given.into_iter().filter_map(|(field, name)| Some((field, name.clone()?))).collect();
        let field_columns = FieldColumns { given, content: self.data.clone() };
        match format {
            Format::Jsonl => return Ok(Layout::Lines(field_columns)),
            Format::Json => return Ok(Layout::Array(field_columns)),
            Format::Csv => {}
        }
        let is_tsv = self.file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
        let dialect = dialect::detect(source, self.delimiter, !self.no_quotes, is_tsv)?;
        let types = TypeOptions { texts: self.texts, text: self.text.clone(), number: self.number.clone() };
        let schema = queue.schemas.specific_data.as_deref().and_then(|text| serde_json::from_str(text).ok());
        bar.set_message("reading");
        Layout::csv(source, dialect, &field_columns, &types, schema.as_ref(), bar)
    }
}

/// The numbers of rows that were added and skipped.
#[derive(Clone, Copy, Debug, Default)]
struct ImportSummary {
    added: u64,
    skipped: u64,
}

/// The last pass, which adds the rows.
struct Importer<'a> {
    import: &'a Import,
    orchestrator: &'a dyn Administration,
    marks: RowMarks,
    added_rows: resume::AddedRows,
}

impl Importer<'_> {
    async fn run(
        self,
        source: &Source,
        layout: &Layout,
        checked: &CheckedFile,
        refused: &mut RefusedRows<'_>,
    ) -> Result<ImportSummary, CliError> {
        let mut summary = ImportSummary::default();
        let mut batch: Vec<(u64, NewQueueItem)> = Vec::new();
        let mut rows = layout.rows(source, refused.bar())?;
        let mut row = 0;
        let changed = |summary: ImportSummary| {
            CliError::failed(format!(
                "the file was changed while it was read; {} items were added",
                summary.added
            ))
        };
        while let Some(next) = rows.next().map_err(|_| changed(summary))? {
            if let Content::Item(mut item) = next.content
                && !checked.refused.contains(&row)
            {
                if self.added_rows.has(row) {
                    summary.skipped += 1;
                } else {
                    item.origin.parent_operation_id = Some(self.marks.of(row));
                    batch.push((next.line, *item));
                }
            }
            row += 1;
            if row % BATCH == 0 && !self.import.all_or_nothing {
                self.send(&mut batch, &mut summary, refused).await?;
            }
        }
        if rows.digest() != checked.digest {
            return Err(changed(summary));
        }
        self.send(&mut batch, &mut summary, refused).await?;
        Ok(summary)
    }

    async fn send(
        &self,
        batch: &mut Vec<(u64, NewQueueItem)>,
        summary: &mut ImportSummary,
        refused: &mut RefusedRows<'_>,
    ) -> Result<(), CliError> {
        if batch.is_empty() {
            return Ok(());
        }
        let (lines, items): (Vec<u64>, Vec<NewQueueItem>) = std::mem::take(batch).into_iter().unzip();
        let all_or_nothing = self.import.all_or_nothing;
        let commit_type =
            if all_or_nothing { CommitType::AllOrNothing } else { CommitType::ProcessAllIndependently };
        let added = self.orchestrator.bulk_add_queue_items(&self.import.queue, commit_type, items).await;
        let added = added.map_err(|error| {
            let error = CliError::from(error);
            CliError::failed(format!(
                "{} items were added, and then: {error}; continue with --resume",
                summary.added
            ))
        })?;
        summary.added += added.added;
        for failed in &added.failed {
            let line = failed.ordinal.checked_sub(1).and_then(|at| lines.get(at)).copied().unwrap_or(0);
            refused.report(line, &failed.refusal.to_string());
        }
        Ok(())
    }
}
