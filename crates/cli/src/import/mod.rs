//! `performer item import`: adds the rows of a file as items.
//!
//! All errors of a file are found before anything is added, so the file is read several times. The reading is the work of
//! `performer-tables` (`crates/tables`); a sheet of a spreadsheet is copied first, and the copy is read.
//!
//! | pass | file | what it does |
//! |---|---|---|
//! | 0 | `source.rs`, `dialect.rs`, `sheet/` of `performer-tables` | detects the encoding, and the delimiter of CSV; copies a sheet |
//! | 1 | `columns.rs`, `numbers.rs` of `performer-tables` | infers one type for each column of a table |
//! | 2 | `check.rs` | validates each row as an item, and its reference as unique |
//! | 3 | `adding.rs` | adds the items, with marks by which an interrupted import can be resumed (`resume.rs`) |

mod adding;
mod check;
mod resume;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use self::adding::{ImportSummary, Importer};
use self::check::{CheckedFile, RefusedRows, check};
use self::resume::{EarlierImports, FileIdentity, RowMarks};
use super::GlobalArgs;
use super::output::{self, CliError, CommandResult};
use performer_core::model::queue::QueueDefinition;
use performer_tables::Format as FileFormat;
use performer_tables::import::encoding_rs::{Encoding, REPLACEMENT};
use performer_tables::import::{
    Field, FieldColumns, Layout, RefusedFile, Source, TableOptions, TypeOptions, parse_delimiter,
};

/// Add the rows of a file to a queue
#[derive(Args)]
#[command(after_help = "\
A CSV file and a sheet have a header line; a JSONL file has one JSON object per line; a JSON file has an array of objects. Each row is\n\
the content of an item, except for these columns, in upper or lower case, which are fields of the item:\n  \
Reference              the reference\n  \
Priority               Low, Normal or High; in CSV and sheets also 1, 2 or 3, in JSON 2, 1 or 0, in this order\n  \
DueDate or Deadline    the time before which the item should be handed out\n  \
DeferDate or Postpone  the time before which the item is not handed out\n  \
Progress               the initial progress text\n  \
PerformerGroup         the group, such as a customer\n\
So files for the Orchestrator's own item upload can be used as they are. --reference and similar options select other columns, and\n\
--data declares a column as content. Times have the form 2026-09-01, 2026/09/01 or 2026 09 01, alone or with a time of day, such as\n\
2026-09-01 14:30 or 2026-09-01T14:30:00+02:00; without an offset they are UTC.\n\n\
Each column of CSV has one type: number if all non-empty cells are numbers that lose no digits (007, 1e5 and 1,5 are texts),\n\
boolean if all are true or false, otherwise text. If the queue's schema gives a property one type, that is used instead; --text\n\
and --number override both. With --decimal-comma 1,5 and 1.234,56 are numbers, and 1.5 is a text. A row with fewer cells than the\n\
header, or with more that are not empty, is refused.\n\n\
Of a spreadsheet one sheet is read, from its first row that is not empty, or from --header on. A cell has the type that the sheet\n\
gives it, so a text stays a text and numbers keep their digits; a column with cells of several types is text. Dates are ISO 8601\n\
texts, such as 2026-09-01, 2026-09-01T14:30:00, 14:30:00 and PT36H30M for a duration. Formulas have the values that the file\n\
has for them; a row with an error such as #N/A is refused. The value of merged cells belongs to the upper left one; the others are\n\
empty. The line of a row is its number in the sheet.\n\n\
The whole file is checked before anything is added. If it cannot be read to its end, nothing is added. Refused rows are reported\n\
with their line numbers and skipped; empty rows are skipped. --refused writes them to a new file, with the reason and the line, to be\n\
corrected and imported with the same options. What it says about a row is not imported.\n\n\
An interrupted import can be continued with --resume, which skips the rows that were added. Imported items carry marks for this in\n\
their ParentOperationId. It requires the same file with the same name, and of a spreadsheet the same values in the sheet; rows that the queue refused before are not tried again.\n\n  \
performer item import Invoices invoices.csv --reference InvoiceNo\n  \
performer item import Invoices invoices.csv --reference InvoiceNo --resume\n  \
performer item import Invoices invoices.xlsx --sheet March --refused refused.csv\n  \
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
    /// The sheet of a spreadsheet, by its name or its number [default: the first visible one in which something is]
    #[arg(long, value_name = "NAME|NUMBER")]
    sheet: Option<String>,
    /// The line with the names of the columns, or the row of a sheet [default: the first one that is not empty]
    #[arg(long, value_name = "LINE")]
    header: Option<u64>,
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
    /// The column with the group, which is also kept in the content
    #[arg(long, value_name = "COLUMN")]
    group: Option<String>,
    /// A column that is content although it has the name of a field; can be repeated
    #[arg(long, value_name = "COLUMN")]
    data: Vec<String>,
    /// Read all columns of CSV or a sheet as text
    #[arg(long)]
    texts: bool,
    /// Read this column of CSV or a sheet as text; can be repeated
    #[arg(long, value_name = "COLUMN")]
    text: Vec<String>,
    /// Read this column of CSV or a sheet as numbers, and refuse rows with other values in it; can be repeated
    #[arg(long, value_name = "COLUMN")]
    number: Vec<String>,
    /// Numbers that are written as text have a decimal comma, and may have points or spaces between groups of three digits
    #[arg(long)]
    decimal_comma: bool,
    /// The delimiter of CSV, a character or the word tab [default: from a first line sep=, or detected]
    #[arg(long, visible_alias = "separator", value_name = "CHARACTER", value_parser = parse_delimiter)]
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
    /// Write the refused rows to this new file, .csv for CSV and sheets, .jsonl for JSON, to be corrected and imported
    #[arg(long, value_name = "FILE")]
    refused: Option<PathBuf>,
    #[command(flatten)]
    global: GlobalArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Jsonl,
    Json,
    /// A spreadsheet: .xlsx, .xlsm, .xls or .ods, by its content
    Sheet,
}

/// Parses the name of an encoding, as in the WHATWG standard.
fn encoding(name: &str) -> Result<&'static Encoding, String> {
    Encoding::for_label(name.as_bytes()).filter(|encoding| *encoding != REPLACEMENT).ok_or_else(|| {
        "unknown encoding; known are, for instance, utf-8, utf-16le, windows-1252, iso-8859-2 and shift_jis"
            .to_owned()
    })
}

impl Import {
    pub(super) async fn run(self) -> CommandResult {
        let format = self.format()?;
        let orchestrator = self.global.connect().await?;
        let queue = orchestrator.get_queue(&self.queue).await?;
        let (source, bar) = self.source(format)?;
        let layout = self.layout(format, &source, &queue, &bar)?;
        let file = self.refused.as_deref().map(|path| RefusedFile::create(path, &layout)).transpose()?;
        let mut refused = RefusedRows::new(&bar, file);
        bar.set_message("checking");
        // When an import is resumed, the queue has the references of the rows that were added.
        let lookup_in = (self.dry_run && !self.resume).then_some(&*orchestrator);
        let checked = check(&source, &layout, &queue, lookup_in, &mut refused).await?;
        if self.all_or_nothing && refused.count() > 0 {
            refused.finish()?;
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
        let importer = Importer {
            queue: &self.queue,
            all_or_nothing: self.all_or_nothing,
            orchestrator: &*orchestrator,
            marks,
            added_rows,
        };
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
        refused.finish()?;
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
        if output::is_json() {
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
        let by_name = FileFormat::of(Path::new(&self.file)).map(|format| match format {
            FileFormat::Csv => Format::Csv,
            FileFormat::Jsonl => Format::Jsonl,
            FileFormat::Json => Format::Json,
            FileFormat::Sheet => Format::Sheet,
        });
        let unknown = || CliError::usage("unknown file format; use --format csv, jsonl, json or sheet");
        let format = self.format.or(by_name).ok_or_else(unknown)?;
        let has_columns = self.texts
            || !self.text.is_empty()
            || !self.number.is_empty()
            || self.decimal_comma
            || self.header.is_some();
        let says_csv = self.delimiter.is_some() || self.no_quotes;
        let wrong = match format {
            Format::Csv if self.sheet.is_some() => "--sheet can only be used with a spreadsheet",
            Format::Jsonl | Format::Json if self.sheet.is_some() => {
                "--sheet can only be used with a spreadsheet"
            }
            Format::Jsonl | Format::Json if has_columns || says_csv => {
                "--texts, --text, --number, --decimal-comma, --header, --delimiter and --no-quotes can only be used with CSV, and \
                 all but the last two with a sheet"
            }
            Format::Sheet if says_csv => "--delimiter and --no-quotes can only be used with CSV",
            Format::Sheet if self.encoding.is_some() => "--encoding can only be used with CSV and JSON",
            _ => return Ok(format),
        };
        Err(CliError::usage(wrong))
    }

    /// Opens the file, with the bar that shows how far it is read.
    fn source(&self, format: Format) -> Result<(Source, ProgressBar), CliError> {
        let source = match format {
            Format::Sheet => Source::open_sheet(&self.file, self.sheet.as_deref())?,
            Format::Csv | Format::Jsonl | Format::Json => Source::open(&self.file, self.encoding)?,
        };
        let bar = self.bar(source.size());
        let shown = bar.clone();
        Ok((source.on_read(move |bytes| shown.set_position(bytes)), bar))
    }

    /// A progress bar, if stderr is a terminal.
    fn bar(&self, size: u64) -> ProgressBar {
        if !output::has_bars() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(
            "{msg} {bar:40} {percent:>3} %  {bytes} of {total_bytes}  {eta} left",
        );
        ProgressBar::new(size).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }

    /// Determines how the rows of the file are read. A table is read to its end for this.
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
            (Field::Group, &self.group),
        ];
        let given = given.into_iter().filter_map(|(field, name)| Some((field, name.clone()?))).collect();
        let field_columns = FieldColumns { given, content: self.data.clone() };
        match format {
            Format::Jsonl => return Ok(Layout::json_lines(field_columns)),
            Format::Json => return Ok(Layout::json_array(field_columns)),
            Format::Csv | Format::Sheet => {}
        }
        let options = TableOptions {
            delimiter: self.delimiter,
            no_quotes: self.no_quotes,
            is_tsv: self.file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv")),
            header_line: self.header.unwrap_or(0),
            types: TypeOptions {
                texts: self.texts,
                text: self.text.clone(),
                number: self.number.clone(),
                decimal_comma: self.decimal_comma,
            },
        };
        let schema = queue.schemas.specific_data.as_deref().and_then(|text| serde_json::from_str(text).ok());
        bar.set_message("reading");
        Ok(Layout::table(source, &options, &field_columns, schema.as_ref())?)
    }
}
