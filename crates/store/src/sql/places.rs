//! Where a database looks for the items of a list: the text of a statement between FROM and ORDER BY.

/// Names of columns, and what a place calls them.
pub(super) type Names = &'static [(&'static str, &'static str)];

/// The names in a place that is walked along the items.
pub(super) const ITEM: Names = &[];

/// Those in a place that is walked along their states.
pub(super) const STATE: Names = &[("item.id", "item_state.item_id")];

/// Those in a place that is walked along items that wait.
pub(super) const WAITING: Names = &[("item.id", "waiting.item_id")];

/// Those in a place that is walked along items for review. Such a row has what people ask for, so that neither the item nor its state
/// is looked at.
pub(super) const REVIEW: Names = &[
    // There is no time of the end without an outcome, and the index has the column as it is.
    ("iif(item_state.outcome IS NULL, NULL, item_state.end_processing)", "item_review.end_processing"),
    ("item.id", "item_review.item_id"),
    ("item.queue_id", "item_review.queue_id"),
    ("item.priority", "item_review.priority"),
    ("item.due_date", "item_review.due_date"),
    ("item.creation_time", "item_review.creation_time"),
    ("item.reference", "item_review.reference"),
    ("item_state.status", "item_review.status"),
    ("item_state.review_status", "item_review.review_status"),
    ("item_state.outcome", "item_review.outcome"),
    ("item_state.reviewer_user_id", "item_review.reviewer_user_id"),
    ("item_state.start_processing", "item_review.start_processing"),
    ("item_state.end_processing", "item_review.end_processing"),
];

/// A table to join if something is said of one of these.
pub(super) struct Joined<'a> {
    pub(super) tables: &'static [&'static str],
    pub(super) join: &'a str,
}

/// A place, and what it calls columns.
///
/// Conditions and sort orders say `item.id`. A place that is walked along another table says them of that table's column: no planner
/// concludes from `a = b` that what is sorted by `a` is sorted by `b`, or from `a = b` and `b > 42` that `a > 42`. It would read the
/// whole place, sort it, and a page would cost what the place contains.
pub(super) struct Place {
    pub(super) text: String,
    names: Names,
}

impl Place {
    /// A place in a table. What is joined is left out if neither the conditions nor the order say anything about it, because a look at
    /// each item is most of what a long walk costs.
    pub(super) fn new(
        table: &str,
        names: Names,
        joined: &[Joined<'_>],
        condition: &str,
        (rest, order): (&str, &str),
    ) -> Self {
        let mut place = Self { text: String::new(), names };
        let (rest, order) = (place.named(rest), place.named(order));
        let is_asked = |table: &&str| [condition, &rest, &order].iter().any(|text| text.contains(*table));
        let joins: String = joined
            .iter()
            .filter(|joined| joined.tables.iter().any(&is_asked))
            .map(|joined| joined.join)
            .collect();
        place.text = format!("{table}{joins} WHERE {condition} AND {rest}");
        place
    }

    /// The statement that finds the first items in a sort order. `keys`: further columns.
    pub(super) fn first(&self, keys: &str, order: &str, limit: usize, skip: usize) -> String {
        let (id, keys, order) = (self.named("item.id"), self.named(keys), self.named(order));
        format!("SELECT {id} AS id{keys} FROM {} ORDER BY {order} LIMIT {limit} OFFSET {skip}", self.text)
    }

    fn named(&self, text: &str) -> String {
        let named = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
        self.names.iter().fold(text.to_owned(), named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_asks_about_items_only_if_it_has_to() {
        let joined = [Joined { tables: &["item.", "item_copy."], join: " JOIN item" }];
        let place = |rest, order| Place::new("item_state", STATE, &joined, "queue = 1", (rest, order));
        let by_id = place("(item.id < 7) AND true", "item.id DESC");
        assert_eq!(by_id.text, "item_state WHERE queue = 1 AND (item_state.item_id < 7) AND true");
        assert_eq!(
            by_id.first("", "item.id DESC", 2, 0),
            format!(
                "SELECT item_state.item_id AS id FROM {} ORDER BY item_state.item_id DESC LIMIT 2 OFFSET 0",
                by_id.text
            )
        );
        assert!(place("item.reference = ?1", "item.id ASC").text.starts_with("item_state JOIN item WHERE"));
        assert!(
            place("true", "item_copy.retry_number ASC, item.id ASC").text.starts_with("item_state JOIN item")
        );
    }

    #[test]
    fn a_place_of_items_for_review_says_what_it_has_of_its_own_columns() {
        let joined = [
            Joined { tables: &["item.", "item_copy."], join: " JOIN item" },
            Joined { tables: &["item_state."], join: " JOIN state" },
        ];
        let place =
            |rest: &str| Place::new("item_review", REVIEW, &joined, "true", (rest, "item.due_date ASC"));
        assert_eq!(
            place("item.reference = ?1 AND coalesce(item_state.review_status, 0) IN (1)").text,
            "item_review WHERE true AND item_review.reference = ?1 AND coalesce(item_review.review_status, 0) IN (1)"
        );
        let by_end = place("iif(item_state.outcome IS NULL, NULL, item_state.end_processing) > ?1");
        assert_eq!(by_end.text, "item_review WHERE true AND item_review.end_processing > ?1");
        assert_eq!(
            place("item_state.progress = ?1").text,
            "item_review JOIN state WHERE true AND item_state.progress = ?1"
        );
        assert_eq!(
            place("item.creator_job = ?1").text,
            "item_review JOIN item WHERE true AND item.creator_job = ?1"
        );
    }
}
