//! Where a database looks for the items of a list: the text of a statement between FROM and ORDER BY.

use performer_core::model::item::ItemFilter;

/// Up to how many references with a prefix are found by their index: fewer than the given number if the state of each is looked at.
pub(crate) fn few_references(filter: &ItemFilter, few: i64) -> i64 {
    let is_about_state = !filter.status.is_empty() || !filter.review_status.is_empty();
    if is_about_state { few / 4 } else { few }
}

/// A place, and the column of its items' ids.
///
/// Conditions and sort orders say `item.id`. A place that is walked along another table says them of that table's column: no planner
/// concludes from `a = b` that what is sorted by `a` is sorted by `b`, or from `a = b` and `b > 42` that `a > 42`. It would read the
/// whole place, sort it, and a page would cost what the place contains.
pub(crate) struct Place {
    pub(crate) text: String,
    id: &'static str,
}

impl Place {
    /// A place that is walked along the items.
    pub(crate) fn of_items(text: String) -> Self {
        Self { text, id: "item.id" }
    }

    /// A place that is walked along another table, whose column `id` has the ids. `joins` add the item and what belongs to it:
    /// they are left out if neither the conditions nor the order say anything about them, because a look at each item is most of what a
    /// long walk costs.
    pub(crate) fn along(
        id: &'static str,
        (table, joins): (&str, &str),
        condition: &str,
        rest: &str,
        order: &str,
    ) -> Self {
        let mut place = Self { text: String::new(), id };
        let rest = place.named(rest);
        let is_about_items = |text: &str| text.contains("item.") || text.contains("item_copy.");
        let joins = if is_about_items(&rest) || is_about_items(&place.named(order)) { joins } else { "" };
        place.text = format!("{table}{joins} WHERE {condition} AND {rest}");
        place
    }

    /// The statement that finds the first items in a sort order. `keys`: further columns.
    pub(crate) fn first(&self, keys: &str, order: &str, limit: usize, skip: usize) -> String {
        let (id, text) = (self.id, &self.text);
        let (keys, order) = (self.named(keys), self.named(order));
        format!("SELECT {id} AS id{keys} FROM {text} ORDER BY {order} LIMIT {limit} OFFSET {skip}")
    }

    fn named(&self, text: &str) -> String {
        text.replace("item.id", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_asks_about_items_only_if_it_has_to() {
        let tables = ("item_state", " JOIN item");
        let place = |rest, order| Place::along("item_state.item_id", tables, "queue = 1", rest, order);
        let by_id = place("(item.id < 7) AND 1", "item.id DESC");
        assert_eq!(by_id.text, "item_state WHERE queue = 1 AND (item_state.item_id < 7) AND 1");
        assert_eq!(
            by_id.first("", "item.id DESC", 2, 0),
            format!(
                "SELECT item_state.item_id AS id FROM {} ORDER BY item_state.item_id DESC LIMIT 2 OFFSET 0",
                by_id.text
            )
        );
        assert!(place("item.reference = ?1", "item.id ASC").text.starts_with("item_state JOIN item WHERE"));
        assert!(place("1", "item_copy.retry_number ASC, item.id ASC").text.contains(" JOIN item "));
    }
}
