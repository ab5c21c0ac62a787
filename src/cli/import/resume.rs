//! Marks on imported items, by which an import that broke off goes on.
//!
//! Each item carries as its `ParentOperationId` which file it is from (its name and a digest of its bytes), which import
//! added it, and which row it was. Rows are added in order and in calls of [`CALL`] rows; the next call is made when the one before was
//! answered. So what an import that broke off has done is: all calls before the last one that left something, and of that one the
//! rows whose marks are there. Rows of earlier calls are never added again, even when their items were removed since.
//!
//! What this cannot know: an item without its mark (an Orchestrator of 2020 or older keeps none, and answers an error when it is
//! asked for one); an import whose items were all removed; and an import that begins to go on twice at the same moment.

use std::collections::HashSet;
use std::time::Duration;

use super::super::output::Problem;
use crate::model::clock::{Clock as _, SystemClock};
use crate::model::item::{ItemFilter, Page};
use crate::model::key::ItemId;
use crate::model::query::{Comparison, Condition, Field, Order, TextMatch, Value};
use crate::orchestrator::Administration;

/// How many rows are added in one call. A back end adds so many in one transaction.
pub(super) const CALL: u64 = 1_000;

/// How many hexadecimal digits the row has in a mark, and the time of the import.
const ROW_DIGITS: usize = 8;
const TIME_DIGITS: usize = 11;

/// How often it is looked whether an earlier import still adds.
const LOOKS: usize = 10;

/// An import of a file: what its marks begin with. All behind the first word are digits of a fixed number, so marks are in the
/// order of their rows wherever texts are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marks(String);

/// What an import that broke off has done.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// All rows before this one are done.
    before: u64,
    /// And these.
    rows: HashSet<u64>,
}

impl Done {
    /// Whether a row, counted from 0, is not to be added again.
    pub(super) fn has(&self, row: u64) -> bool {
        row < self.before || self.rows.contains(&row)
    }
}

/// What tells the rows of a file from those of any other.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// The name of the file.
    pub(super) name: String,
    /// The digest of its bytes, and how they were made rows: read otherwise, its rows may be others.
    pub(super) rows: String,
}

impl Identity {
    /// What marks of items of a file with this name begin with.
    fn of_name(&self) -> String {
        format!("import:{}", digits_of(&self.name, 4))
    }

    /// What marks of items of these rows begin with.
    fn of_rows(&self) -> String {
        format!("{}{}", self.of_name(), digits_of(&self.rows, 8))
    }
}

/// The hexadecimal digits of the first bytes of a digest.
fn digits_of(text: &str, bytes: usize) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

impl Marks {
    /// Those of an import that begins now.
    pub(super) fn new(file: &Identity) -> Self {
        let now = SystemClock::new().now().as_millisecond().max(0);
        Self(format!("{}{now:0TIME_DIGITS$x}", file.of_rows()))
    }

    /// The mark of a row, counted from 0.
    pub(super) fn of(&self, row: u64) -> String {
        format!("{}{row:0ROW_DIGITS$x}", self.0)
    }
}

/// Where imports that broke off are looked for.
pub(super) struct Earlier<'a> {
    pub(super) orchestrator: &'a dyn Administration,
    pub(super) queue: &'a str,
}

impl Earlier<'_> {
    /// The last import of a file, and what it has done; `None` when the queue has no item of a file with this name.
    ///
    /// # Errors
    ///
    /// When the queue has items of a file with this name and none of these rows, because the file was changed then; when the import
    /// still adds; when the back end cannot be asked.
    pub(super) async fn find(
        &self,
        file: &Identity,
        rows: u64,
        all_at_once: bool,
    ) -> Result<Option<(Marks, Done)>, Problem> {
        let Some(last) = self.last(&file.of_rows()).await? else {
            if self.last(&file.of_name()).await?.is_some() {
                return Err(Problem::failed(format!(
                    "queue {:?} has items of a file {:?} that had other contents, or was read with another --format, --encoding or \
                     --delimiter, or with or without --all-or-nothing: what was added of this one is not known; nothing was added. A new file is imported without \
                     --resume",
                    self.queue, file.name
                )));
            }
            return Ok(None);
        };
        let marks = Marks(last[..last.len() - ROW_DIGITS].to_owned());
        let mut row = self.row(&last)?;
        // The call under way when an import was killed may still be done by a server.
        let mut seen = self.count(&marks, 0, rows).await?;
        for look in 0.. {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = self.count(&marks, 0, rows).await?;
            if now == seen {
                break;
            }
            if look == LOOKS {
                return Err(Problem::failed(
                    "an import of this file still adds items; wait until it has ended. Nothing was added",
                ));
            }
            seen = now;
            if let Some(last) = self.last(&marks.0).await? {
                row = self.row(&last)?;
            }
        }
        if all_at_once {
            return Ok(Some((marks, Done { before: rows, rows: HashSet::new() })));
        }
        let before = row - row % CALL;
        let there = self.there(&marks, before, (before + CALL).min(rows)).await?;
        Ok(Some((marks, Done { before, rows: there })))
    }

    fn row(&self, mark: &str) -> Result<u64, Problem> {
        let digits = mark.len().checked_sub(ROW_DIGITS).and_then(|at| mark.get(at..));
        digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or_else(|| {
            Problem::failed(format!(
                "queue {:?} has an item with the mark {mark:?}, which no import wrote",
                self.queue
            ))
        })
    }

    /// The rows from one to before another whose items are there.
    async fn there(&self, marks: &Marks, from: u64, to: u64) -> Result<HashSet<u64>, Problem> {
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

    /// How many rows from one to before another are there. Copies for retries have the marks of what they copy, and do not count.
    async fn count(&self, marks: &Marks, from: u64, to: u64) -> Result<u64, Problem> {
        let none = |field| Condition::Compare(field, Comparison::Equal, Value::Number(0));
        let conditions = vec![
            compared(Comparison::GreaterOrEqual, marks.of(from)),
            compared(Comparison::Less, marks.of(to)),
            none(Field::RetryNumber),
            none(Field::ManualRetryNumber),
        ];
        self.page(Condition::All(conditions), Vec::new()).await.map(|(_, count)| count)
    }

    /// The last mark that begins with a text.
    async fn last(&self, start: &str) -> Result<Option<String>, Problem> {
        let begins = Condition::Text(Field::ParentOperationId, TextMatch::StartsWith, start.to_owned());
        let order = Order { field: Field::ParentOperationId, descending: true };
        let Some((id, mark)) = self.page(begins, vec![order]).await?.0 else { return Ok(None) };
        match mark {
            Some(mark) => Ok(Some(mark)),
            None => self.spelled(id, start).await.map(Some),
        }
    }

    /// The mark of an item, from a back end that finds items by their marks and does not hand the marks out: digit by digit.
    async fn spelled(&self, id: ItemId, start: &str) -> Result<String, Problem> {
        let nothing = Identity { name: String::new(), rows: String::new() };
        let length = Marks::new(&nothing).of(0).len();
        let mut mark = start.to_owned();
        while mark.len() < length {
            let (mut least, mut over) = (0_u8, 16);
            while over - least > 1 {
                let middle = u8::midpoint(least, over);
                let at_least = format!("{mark}{middle:x}");
                let is_it = Condition::Compare(Field::Id, Comparison::Equal, Value::Number(id.0));
                let both = Condition::All(vec![is_it, compared(Comparison::GreaterOrEqual, at_least)]);
                if self.page(both, Vec::new()).await?.1 > 0 { least = middle } else { over = middle }
            }
            mark = format!("{mark}{least:x}");
        }
        Ok(mark)
    }

    /// The first item of a list with its mark, and how long the list is.
    async fn page(
        &self,
        condition: Condition,
        order: Vec<Order>,
    ) -> Result<(Option<(ItemId, Option<String>)>, u64), Problem> {
        let filter = ItemFilter {
            queue: Some(self.queue.to_owned()),
            condition: Some(condition),
            order,
            ..ItemFilter::default()
        };
        let page = self.orchestrator.list_queue_items(filter, Page { top: 1, ..Page::default() }).await?;
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
    use crate::model::item::NewQueueItem;
    use crate::model::queue::NewQueueDefinition;
    use crate::orchestrator::{CommitType, connect};

    fn file(name: &str, rows: &str) -> Identity {
        Identity { name: name.to_owned(), rows: rows.to_owned() }
    }

    async fn add(orchestrator: &dyn Administration, marks: &Marks, rows: impl Iterator<Item = u64>) {
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
    async fn of_the_last_call_each_row_is_looked_for() {
        let orchestrator = connect("memory:").await.unwrap();
        orchestrator.create_queue(NewQueueDefinition::new("Q")).await.unwrap();
        let earlier = Earlier { orchestrator: &*orchestrator, queue: "Q" };
        let find = async |name: &str, rows: &str| earlier.find(&file(name, rows), 2_500, false).await;
        assert!(find("a.csv", "some").await.unwrap().is_none());

        // An import of the same file before this one has nothing to do with it.
        let before = Marks(file("a.csv", "some").of_rows() + "00000000001");
        add(&*orchestrator, &before, 0..2_500).await;
        let marks = Marks::new(&file("a.csv", "some"));
        // Row 7 was refused, or is gone; of the last call rows are missing because a server added some of it.
        add(&*orchestrator, &marks, (0..1_000).filter(|row| *row != 7)).await;
        add(&*orchestrator, &marks, (2_000..2_100).filter(|row| row % 10 != 3)).await;
        let (found, done) = find("a.csv", "some").await.unwrap().unwrap();
        assert_eq!(found, marks);
        for row in 0..2_500 {
            let expected = row < 2_000 || row < 2_100 && row % 10 != 3;
            assert_eq!(done.has(row), expected, "{row}");
        }
        assert!(find("b.csv", "some").await.unwrap().is_none());
        let changed = find("a.csv", "others").await.unwrap_err();
        assert!(changed.to_string().contains("other contents"), "{changed}");
        let all = earlier.find(&file("a.csv", "some"), 2_500, true).await.unwrap().unwrap();
        assert!((0..2_500).all(|row| all.1.has(row)), "all was added in one transaction, or nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_is_found_where_it_is_not_handed_out() {
        let orchestrator = connect("memory:").await.unwrap();
        orchestrator.create_queue(NewQueueDefinition::new("Q")).await.unwrap();
        let marks = Marks::new(&file("a.csv", "some"));
        add(&*orchestrator, &marks, [0, 4_711].into_iter()).await;
        let earlier = Earlier { orchestrator: &*orchestrator, queue: "Q" };
        let all = ItemFilter { queue: Some("Q".to_owned()), ..ItemFilter::default() };
        let items = orchestrator.list_queue_items(all, Page::default()).await.unwrap().items;
        let spelled = earlier.spelled(items[1].id, "import:").await.unwrap();
        assert_eq!(spelled, marks.of(4_711));
        assert_eq!(earlier.row(&spelled).unwrap(), 4_711);
    }
}
