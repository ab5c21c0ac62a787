//! `performer item export`: writes the items that filters select to a file that `performer item import` reads.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use performer_core::model::item::{ItemFilter, PAGE_LIMIT, Page, QueueItem};
use performer_core::model::list::COUNT_LIMIT;
use performer_core::model::query::{Comparison, Condition, Field, Value};
use performer_core::orchestrator::Administration;
use performer_tables::Format as FileFormat;
use performer_tables::import::{CsvExport, ExportColumns, ExportOptions, json_line};

use super::super::GlobalArgs;
use super::super::filter::{FilterArgs, item_filter};
use super::super::output::{self, CliError, CommandResult};

/// Write the items that filters select to a file that item import reads, the oldest first
#[derive(Args)]
#[command(after_help = "\
The file has the reference, priority, dates and group of each item, and its content with content. before the names. CSV has a column for each\n\
member that any item has, and one type a column: JSONL keeps each value as it is. Items that are added while the file is written are not in it.\n\n  \
performer item export failed.csv --queue Invoices --status Failed --ended yesterday --with-history\n  \
performer item import Invoices failed.csv\n  \
performer item export - --queue Invoices | gzip > invoices.jsonl.gz")]
pub(in super::super) struct Export {
    /// The file; - for stdout
    file: PathBuf,
    /// The format of the file [default: from its extension; jsonl for stdout]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<ExportFormat>,
    /// Write what became of each item too: id, key, statuses, times, exception, progress and output. An import leaves that out
    #[arg(long)]
    with_history: bool,
    /// Write an apostrophe before texts that a spreadsheet program would take for formulas. An import does not remove it
    #[arg(long)]
    spreadsheet: bool,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    global: GlobalArgs,
    // Last: what comes behind it would be under its heading in the help.
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// A header, and a line per item
    Csv,
    /// A JSON object per line
    Jsonl,
}

impl Export {
    pub(super) async fn run(self) -> CommandResult {
        let is_stdout = self.file == Path::new("-");
        let format = self.format(is_stdout)?;
        let orchestrator = self.global.connect().await?;
        let query = self.filter.query(&[("sort", "id")])?;
        let filter = item_filter(&*orchestrator, &query).await?;
        let export =
            Exporter { orchestrator: &*orchestrator, filter: up_to_now(&*orchestrator, filter).await? };
        let options = ExportOptions { with_history: self.with_history, guard_formulas: self.spreadsheet };
        let bar =
            if is_stdout || !output::has_bars() { ProgressBar::hidden() } else { ProgressBar::no_length() };
        let mut columns = ExportColumns::default();
        if format == ExportFormat::Csv {
            bar.set_message("reading the columns");
            let see = |item: &QueueItem| {
                columns.see(item);
                Ok(())
            };
            export.each(&bar, see).await?;
            bar.set_position(0);
        }
        let failed = |error: io::Error| CliError::failed(format!("{}: {error}", self.file.display()));
        let mut writer: Box<dyn Write + Send> =
            if is_stdout { Box::new(io::stdout()) } else { Box::new(self.create()?) };
        let count = match format {
            ExportFormat::Csv => {
                let mut csv = CsvExport::new(BufWriter::new(writer), columns, options).map_err(failed)?;
                let count = export.each(&bar, |item| csv.write(item)).await?;
                csv.finish().map_err(failed)?;
                count
            }
            ExportFormat::Jsonl => {
                let write = |item: &QueueItem| writer.write_all(json_line(item, options).as_bytes());
                let count = export.each(&bar, write).await?;
                writer.flush().map_err(failed)?;
                count
            }
        };
        bar.finish_and_clear();
        if output::is_json() && !is_stdout {
            output::json(&serde_json::json!({ "Exported": count }))?;
        } else {
            output::remark(format!("{count} items were exported"));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn format(&self, is_stdout: bool) -> Result<ExportFormat, CliError> {
        let by_name = match FileFormat::of(&self.file) {
            Some(FileFormat::Csv) => Some(ExportFormat::Csv),
            Some(FileFormat::Jsonl) => Some(ExportFormat::Jsonl),
            _ => is_stdout.then_some(ExportFormat::Jsonl),
        };
        let unknown = || CliError::usage("a file is written as CSV or JSONL; use --format csv or jsonl");
        self.format.or(by_name).ok_or_else(unknown)
    }

    fn create(&self) -> Result<BufWriter<File>, CliError> {
        let file = if self.force { File::create(&self.file) } else { File::create_new(&self.file) };
        file.map(BufWriter::new).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                CliError::usage(format!("{} exists already; --force replaces it", self.file.display()))
            }
            _ => CliError::failed(format!("{}: {error}", self.file.display())),
        })
    }
}

/// The filter for what exists now: what is added later would make the two reads of a table differ.
async fn up_to_now(
    orchestrator: &dyn Administration,
    mut filter: ItemFilter,
) -> Result<ItemFilter, CliError> {
    let last = filter.clone().order([]);
    let last = orchestrator.list_queue_items(last, Page::first(1).descending(true).count_limit(0)).await?;
    let last = last.items.first().map_or(0, |item| item.id.0);
    let until = Condition::Compare(Field::Id, Comparison::LessOrEqual, Value::Number(last));
    filter.condition = Some(match filter.condition.take() {
        None => until,
        Some(condition) => Condition::All(vec![condition, until]),
    });
    Ok(filter)
}

/// Reads the items of an export, page by page.
struct Exporter<'a> {
    orchestrator: &'a dyn Administration,
    filter: ItemFilter,
}

impl Exporter<'_> {
    async fn each(
        &self,
        bar: &ProgressBar,
        mut each: impl FnMut(&QueueItem) -> io::Result<()>,
    ) -> Result<u64, CliError> {
        let (mut count, mut after, mut count_limit) = (0, None, COUNT_LIMIT);
        loop {
            let page = Page::first(PAGE_LIMIT).after(after).count_limit(count_limit);
            let page = self.orchestrator.list_queue_items(self.filter.clone(), page).await?;
            if count_limit > 0 && page.is_count_exact {
                bar.set_length(page.count);
            }
            count_limit = 0;
            page.items.iter().try_for_each(&mut each)?;
            count += page.items.len() as u64;
            bar.inc(page.items.len() as u64);
            after = page.next(&self.filter);
            if after.is_none() {
                return Ok(count);
            }
        }
    }
}
