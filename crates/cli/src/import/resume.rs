//! Marks on imported items, by which an interrupted import can be resumed.
//!
//! The `ParentOperationId` of each item contains the file (a digest of its name and its bytes), the import and the row. Rows
//! are added in order, in batches of [`BATCH`] rows; each batch waits for the answer to the one before. So an interrupted
//! import has added all batches before the last one with an item in the queue, and of that one the rows whose marks exist.
//! Rows of earlier batches are never added again, even if their items were removed.
//!
//! Not detected are items without their marks (an Orchestrator of 2020 or older does not store them, and refuses to search for
//! them), an import whose items were all removed, and two resumed imports that start at the same moment.

use std::collections::HashSet;
use std::time::Duration;

use super::super::output::CliError;
use performer_core::model::clock::{Clock as _, SystemClock};
use performer_core::model::item::{ItemFilter, Page};
use performer_core::model::key::ItemId;
use performer_core::model::query::{Comparison, Condition, Field, Order, TextMatch, Value};
use performer_core::orchestrator::Administration;

/// The number of rows added in one call. A back end adds that many in one transaction.
pub(super) const BATCH: u64 = 1_000;

/// The numbers of hexadecimal digits of the row and of the time of the import in a mark.
const ROW_DIGITS: usize = 8;
const TIME_DIGITS: usize = 11;

/// The maximum number of checks whether an earlier import is still adding items.
const MAX_CHECKS: usize = 10;

/// The prefix of the marks of an import. It is followed by a fixed number of digits, so marks sort in the order of their rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowMarks(String);

/// The rows that an interrupted import has added.
#[derive(Debug, Default)]
pub(super) struct AddedRows {
    /// All rows before this one were added.
    before: u64,
    /// The other rows that were added.
    rows: HashSet<u64>,
}

impl AddedRows {
    /// Whether a row, counted from 0, is not to be added again.
    pub(super) fn has(&self, row: u64) -> bool {
        row < self.before || self.rows.contains(&row)
    }
}

/// Identifies the rows of a file.
#[derive(Clone, Debug)]
pub(super) struct FileIdentity {
    /// The name of the file.
    pub(super) name: String,
    /// The digest of its bytes and the options with which they were read, which determine the rows.
    pub(super) rows: String,
}

impl FileIdentity {
    /// The prefix of the marks of files with this name.
    fn name_prefix(&self) -> String {
        format!("import:{}", hash_digits(&self.name, 4))
    }

    /// The prefix of the marks of these rows.
    fn rows_prefix(&self) -> String {
        format!("{}{}", self.name_prefix(), hash_digits(&self.rows, 8))
    }
}

/// The hexadecimal digits of the first bytes of a digest.
fn hash_digits(text: &str, bytes: usize) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

impl RowMarks {
    /// The marks of an import that starts now.
    pub(super) fn new(file: &FileIdentity) -> Self {
        let now = SystemClock::new().now().as_millisecond().max(0);
        Self(format!("{}{now:0TIME_DIGITS$x}", file.rows_prefix()))
    }

    /// The mark of a row, counted from 0.
    pub(super) fn of(&self, row: u64) -> String {
        format!("{}{row:0ROW_DIGITS$x}", self.0)
    }
}

/// The search for earlier imports.
pub(super) struct EarlierImports<'a> {
    pub(super) orchestrator: &'a dyn Administration,
    pub(super) queue: &'a str,
}

impl EarlierImports<'_> {
    /// Finds the last import of a file, and the rows that it added. `None` if the queue has no item of a file with this name.
    ///
    /// # Errors
    ///
    /// If the queue has items of a file with this name but none of these rows, because the file was changed; if the import is
    /// still adding items; if the back end cannot be queried.
    pub(super) async fn find(
        &self,
        file: &FileIdentity,
        rows: u64,
        all_at_once: bool,
    ) -> Result<Option<(RowMarks, AddedRows)>, CliError> {
        let Some(last) = self.last_mark(&file.rows_prefix()).await? else {
            if self.last_mark(&file.name_prefix()).await?.is_some() {
                return Err(CliError::failed(format!(
                    "queue {:?} has items of a file {:?} that had other contents or was read with another --format, --encoding, \
                     --delimiter or --all-or-nothing, so the rows to skip are not known; nothing was added. Import a new file \
                     without --resume",
                    self.queue, file.name
                )));
            }
            return Ok(None);
        };
        let marks = RowMarks(last[..last.len() - ROW_DIGITS].to_owned());
        let mut row = self.row(&last)?;
        // A server may still execute the call that was in flight when an import was killed.
        let mut seen = self.count(&marks, 0, rows).await?;
        for look in 0.. {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = self.count(&marks, 0, rows).await?;
            if now == seen {
                break;
            }
            if look == MAX_CHECKS {
                return Err(CliError::failed(
                    "an import of this file is still adding items; wait until it has ended. Nothing was added",
                ));
            }
            seen = now;
            if let Some(last) = self.last_mark(&marks.0).await? {
                row = self.row(&last)?;
            }
        }
        if all_at_once {
            return Ok(Some((marks, AddedRows { before: rows, rows: HashSet::new() })));
        }
        let before = row - row % BATCH;
        let there = self.existing_rows(&marks, before, (before + BATCH).min(rows)).await?;
        Ok(Some((marks, AddedRows { before, rows: there })))
    }

    fn row(&self, mark: &str) -> Result<u64, CliError> {
        let digits = mark.len().checked_sub(ROW_DIGITS).and_then(|at| mark.get(at..));
        digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or_else(|| {
            CliError::failed(format!(
                "queue {:?} has an item with the mark {mark:?}, which no import wrote",
                self.queue
            ))
        })
    }

    /// The rows in a range whose items exist.
    async fn existing_rows(&self, marks: &RowMarks, from: u64, to: u64) -> Result<HashSet<u64>, CliError> {
        let mut rows = HashSet::new();
        let mut ranges = vec![(from, to)];
        while let Some((from, to)) = ranges.pop() {
            let count = self.count(marks, from, to).await?;
            if count >= to - from {
                rows.extend(from..to);
            } else if count > 0 {
                let middle = from + (to - from) / 2;
                ranges.extend([(from, middle), (middle, to)]);
            }
        }
        Ok(rows)
    }

    /// The number of rows in a range whose items exist. Retry copies have the marks of their originals and do not count.
    async fn count(&self, marks: &RowMarks, from: u64, to: u64) -> Result<u64, CliError> {
        let none = |field| Condition::Compare(field, Comparison::Equal, Value::Number(0));
        let conditions = vec![
            compared(Comparison::GreaterOrEqual, marks.of(from)),
            compared(Comparison::Less, marks.of(to)),
            none(Field::RetryNumber),
            none(Field::ManualRetryNumber),
        ];
        self.first_item(Condition::All(conditions), Vec::new()).await.map(|(_, count)| count)
    }

    /// The last mark with a prefix.
    async fn last_mark(&self, start: &str) -> Result<Option<String>, CliError> {
        let begins = Condition::Text(Field::ParentOperationId, TextMatch::StartsWith, start.to_owned());
        let order = Order { field: Field::ParentOperationId, descending: true };
        let Some((id, mark)) = self.first_item(begins, vec![order]).await?.0 else { return Ok(None) };
        match mark {
            Some(mark) => Ok(Some(mark)),
            None => self.reconstruct_mark(id, start).await.map(Some),
        }
    }

    /// Reconstructs the mark of an item digit by digit, for a back end that can filter by marks but does not return them.
    async fn reconstruct_mark(&self, id: ItemId, start: &str) -> Result<String, CliError> {
        let nothing = FileIdentity { name: String::new(), rows: String::new() };
        let length = RowMarks::new(&nothing).of(0).len();
        let mut mark = start.to_owned();
        while mark.len() < length {
            let (mut least, mut over) = (0_u8, 16);
            while over - least > 1 {
                let middle = u8::midpoint(least, over);
                let at_least = format!("{mark}{middle:x}");
                let is_it = Condition::Compare(Field::Id, Comparison::Equal, Value::Number(id.0));
                let both = Condition::All(vec![is_it, compared(Comparison::GreaterOrEqual, at_least)]);
                if self.first_item(both, Vec::new()).await?.1 > 0 { least = middle } else { over = middle }
            }
            mark = format!("{mark}{least:x}");
        }
        Ok(mark)
    }

    /// The first item of a list with its mark, and the length of the list.
    async fn first_item(
        &self,
        condition: Condition,
        order: Vec<Order>,
    ) -> Result<(Option<(ItemId, Option<String>)>, u64), CliError> {
        let filter = ItemFilter::default().queue(self.queue.to_owned()).condition(condition).order(order);
        let page = Page::first(1).count_limit(u64::MAX); // how many rows were added is told by the count
        let page = self.orchestrator.list_queue_items(filter, page).await?;
        let first = page.items.into_iter().next().map(|item| (item.id, item.parent_operation_id));
        Ok((first, page.count))
    }
}

fn compared(comparison: Comparison, mark: String) -> Condition {
    Condition::Compare(Field::ParentOperationId, comparison, Value::Text(mark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use performer::connect;
    use performer_core::model::item::NewQueueItem;
    use performer_core::model::queue::NewQueueDefinition;
    use performer_core::orchestrator::CommitType;

    fn file(name: &str, rows: &str) -> FileIdentity {
        FileIdentity { name: name.to_owned(), rows: rows.to_owned() }
    }

    async fn add(orchestrator: &dyn Administration, marks: &RowMarks, rows: impl Iterator<Item = u64>) {
        let item = |row| {
            let mut item = NewQueueItem::new(serde_json::json!({ "n": row }));
            item.origin.parent_operation_id = Some(marks.of(row));
            item
        };
        let items = rows.map(item).collect();
        let added = orchestrator.bulk_add_queue_items("Q", CommitType::AllOrNothing, items).await.unwrap();
        assert_eq!(added.failed, []);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rows_of_the_last_batch_are_searched() {
        let orchestrator = connect("memory:").await.unwrap();
        orchestrator.create_queue(NewQueueDefinition::new("Q")).await.unwrap();
        let earlier = EarlierImports { orchestrator: &*orchestrator, queue: "Q" };
        let find = async |name: &str, rows: &str| earlier.find(&file(name, rows), 2_500, false).await;
        assert!(find("a.csv", "some").await.unwrap().is_none());

        // An import of the same file before this one has nothing to do with it.
        let before = RowMarks(file("a.csv", "some").rows_prefix() + "00000000001");
        add(&*orchestrator, &before, 0..2_500).await;
        let marks = RowMarks::new(&file("a.csv", "some"));
        // Row 7 was refused, or is gone; of the last call rows are missing because a server added some of it.
        add(&*orchestrator, &marks, (0..1_000).filter(|row| *row != 7)).await;
        add(&*orchestrator, &marks, (2_000..2_100).filter(|row| row % 10 != 3)).await;
        let (found, added_rows) = find("a.csv", "some").await.unwrap().unwrap();
        assert_eq!(found, marks);
        for row in 0..2_500 {
            let expected = row < 2_000 || row < 2_100 && row % 10 != 3;
            assert_eq!(added_rows.has(row), expected, "{row}");
        }
        assert!(find("b.csv", "some").await.unwrap().is_none());
        let changed = find("a.csv", "others").await.unwrap_err();
        assert!(changed.to_string().contains("other contents"), "{changed}");
        let all = earlier.find(&file("a.csv", "some"), 2_500, true).await.unwrap().unwrap();
        assert!((0..2_500).all(|row| all.1.has(row)), "all was added in one transaction, or nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_is_reconstructed_if_it_is_not_returned() {
        let orchestrator = connect("memory:").await.unwrap();
        orchestrator.create_queue(NewQueueDefinition::new("Q")).await.unwrap();
        let marks = RowMarks::new(&file("a.csv", "some"));
        add(&*orchestrator, &marks, [0, 4_711].into_iter()).await;
        let earlier = EarlierImports { orchestrator: &*orchestrator, queue: "Q" };
        let all = ItemFilter::default().queue("Q");
        let items = orchestrator.list_queue_items(all, Page::default()).await.unwrap().items;
        let spelled = earlier.reconstruct_mark(items[1].id, "import:").await.unwrap();
        assert_eq!(spelled, marks.of(4_711));
        assert_eq!(earlier.row(&spelled).unwrap(), 4_711);
    }
}
