//! The last pass of an import, which adds the rows.

use super::super::output::CliError;
use super::check::{CheckedFile, RefusedRows};
use super::resume::{AddedRows, BATCH, RowMarks};
use performer_core::model::item::NewQueueItem;
use performer_core::orchestrator::{Administration, CommitType};
use performer_tables::import::{Content, Layout, RawRow, Source};

/// The numbers of rows that were added and skipped.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ImportSummary {
    pub(super) added: u64,
    pub(super) skipped: u64,
}

/// The last pass, which adds the rows.
pub(super) struct Importer<'a> {
    pub(super) queue: &'a str,
    pub(super) all_or_nothing: bool,
    pub(super) orchestrator: &'a dyn Administration,
    pub(super) marks: RowMarks,
    pub(super) added_rows: AddedRows,
}

/// An item that is added with others in one call, and the row that it comes from.
struct BatchItem {
    line: u64,
    /// What is written in the file, if it is needed when the item is refused.
    raw: Option<RawRow>,
    item: NewQueueItem,
}

impl Importer<'_> {
    pub(super) async fn run(
        self,
        source: &Source,
        layout: &Layout,
        checked: &CheckedFile,
        refused: &mut RefusedRows<'_>,
    ) -> Result<ImportSummary, CliError> {
        let mut summary = ImportSummary::default();
        let mut batch: Vec<BatchItem> = Vec::new();
        let mut rows = layout.rows(source)?;
        let mut row = 0;
        let changed = |summary: ImportSummary| {
            CliError::failed(format!(
                "the file was changed while it was read; {} items were added",
                summary.added
            ))
        };
        while let Some(next) = rows.next_row().map_err(|_| changed(summary))? {
            if let Content::Item(mut item) = next.content
                && !checked.refused.contains(&row)
            {
                if self.added_rows.has(row) {
                    summary.skipped += 1;
                } else {
                    item.origin.parent_operation_id = Some(self.marks.of(row));
                    let raw = refused.keeps_rows().then_some(next.raw);
                    batch.push(BatchItem { line: next.line, raw, item: *item });
                }
            }
            row += 1;
            if row % BATCH == 0 && !self.all_or_nothing {
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
        batch: &mut Vec<BatchItem>,
        summary: &mut ImportSummary,
        refused: &mut RefusedRows<'_>,
    ) -> Result<(), CliError> {
        if batch.is_empty() {
            return Ok(());
        }
        let sent = std::mem::take(batch).into_iter();
        let (rows, items): (Vec<_>, Vec<_>) = sent.map(|row| ((row.line, row.raw), row.item)).unzip();
        let all_or_nothing = self.all_or_nothing;
        let commit_type =
            if all_or_nothing { CommitType::AllOrNothing } else { CommitType::ProcessAllIndependently };
        let added = self.orchestrator.bulk_add_queue_items(self.queue, commit_type, items).await;
        let added = added.map_err(|error| {
            let error = CliError::from(error);
            CliError::failed(format!(
                "{} items were added, and then: {error}; continue with --resume",
                summary.added
            ))
        })?;
        summary.added += added.added;
        for failed in &added.failed {
            let row = failed.ordinal.checked_sub(1).and_then(|at| rows.get(at));
            let written =
                refused.report(row.map(|(line, raw)| (*line, raw.as_ref())), &failed.refusal.to_string());
            written.map_err(|error| {
                CliError::failed(format!(
                    "{} items were added, and then: {error}; continue with --resume",
                    summary.added
                ))
            })?;
        }
        Ok(())
    }
}
