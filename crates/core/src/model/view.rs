//! Saved views: filters of the list of items under a name, of one person or shared with a folder.

use serde::{Deserialize, Serialize};

use super::code::ErrorCode;
use super::content::units_over;
use super::item_query::ItemQuery;
use super::key::FolderId;
use super::refusal::Refusal;

/// The most views of one person.
pub const MAX_VIEWS: usize = 100;
/// The longest name of a view, in UTF-16 code units.
pub const VIEW_NAME_LIMIT: usize = 100;
/// The most names and values of a view, and the longest of its values in UTF-16 code units.
const MAX_PAIRS: usize = 32;
const VALUE_LIMIT: usize = 2_000;

/// The name in the query of a view that says which columns are shown, with commas between them. It is no filter.
pub const COLUMNS: &str = "columns";

/// The columns of the list of items, besides the number of the item.
pub const VIEW_COLUMNS: [&str; 8] =
    ["status", "reference", "why", "queue", "priority", "reviewer", "added", "ended"];

/// What a view shows, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ViewContent {
    /// Its name, which no other view of its owner has.
    pub name: String,
    /// The names and values of a URL: filters ([`item_query`](super::item_query)), the order, and [`COLUMNS`].
    pub query: Vec<(String, String)>,
    /// The folder that it is shared with; `None`: only its owner sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<FolderId>,
}

impl ViewContent {
    /// Checks the name and the query.
    ///
    /// # Errors
    ///
    /// Code 1009 for a name without letters or with more than [`VIEW_NAME_LIMIT`]; 1000 for a query that is none of a list of items.
    pub fn validate(&self) -> Result<(), Refusal> {
        let is_named = !self.name.trim().is_empty() && !self.name.chars().any(char::is_control);
        if !is_named || units_over(&self.name, VIEW_NAME_LIMIT).is_some() {
            let message = format!(
                "the name of a view has 1 to {VIEW_NAME_LIMIT} code units, none of them a control character"
            );
            return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message));
        }
        let is_long = |(_, value): &(String, String)| units_over(value, VALUE_LIMIT).is_some();
        if self.query.len() > MAX_PAIRS || self.query.iter().any(is_long) {
            let message = format!("a view has at most {MAX_PAIRS} filters of {VALUE_LIMIT} code units each");
            return Err(Refusal::new(ErrorCode::INVALID_REQUEST, message));
        }
        self.columns()?;
        self.filter().map(drop)
    }

    /// The filters and the order.
    ///
    /// # Errors
    ///
    /// As [`ItemQuery::parse`].
    pub fn filter(&self) -> Result<ItemQuery, Refusal> {
        let filters = self.query.iter().filter(|(name, _)| name != COLUMNS);
        ItemQuery::parse(filters.map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// The columns that are shown; all, if none are named.
    ///
    /// # Errors
    ///
    /// Code 1000 for an unknown column.
    pub fn columns(&self) -> Result<Vec<&'static str>, Refusal> {
        let named = self.query.iter().filter(|(name, _)| name == COLUMNS);
        columns(named.map(|(_, value)| value.as_str()))
    }
}

/// The columns that some values name, in their order in the list; all, if none are named.
///
/// # Errors
///
/// Code 1000 for an unknown column.
pub fn columns<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Vec<&'static str>, Refusal> {
    let names = values.into_iter().flat_map(|value| value.split(',')).map(str::trim);
    let mut wanted = Vec::new();
    for name in names.filter(|name| !name.is_empty()) {
        let Some(known) = VIEW_COLUMNS.iter().position(|known| known.eq_ignore_ascii_case(name)) else {
            let message = format!("there is no column {name:?}; columns are {}", VIEW_COLUMNS.join(", "));
            return Err(Refusal::new(ErrorCode::INVALID_REQUEST, message));
        };
        wanted.push(known);
    }
    let is_shown = |at: &usize| wanted.is_empty() || wanted.contains(at);
    Ok((0..VIEW_COLUMNS.len()).filter(is_shown).map(|at| VIEW_COLUMNS[at]).collect())
}

/// A saved view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SavedView {
    /// Its number.
    pub id: i64,
    /// The number of the user who made it; 0 for a program that opened the store itself.
    pub owner: i64,
    /// What it shows.
    #[serde(flatten)]
    pub content: ViewContent,
}

impl SavedView {
    /// Whether a user may look at it; `folders` are those in which the user sees items.
    pub fn is_seen_by(&self, user: i64, folders: &[FolderId]) -> bool {
        self.owner == user || self.content.folder.is_some_and(|folder| folders.contains(&folder))
    }

    /// Refuses a change by somebody who neither made it nor may change the queues of the folder that it is shared with.
    ///
    /// # Errors
    ///
    /// Code 1007.
    pub fn check_may_change(&self, user: i64, managed: &[FolderId]) -> Result<(), Refusal> {
        if self.is_seen_by(user, managed) {
            return Ok(());
        }
        let message = "the view was made by somebody else";
        Err(Refusal::new(ErrorCode::new(1007), message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(name: &str, query: &[(&str, &str)]) -> ViewContent {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        ViewContent { name: name.to_owned(), query: query.iter().map(pair).collect(), folder: None }
    }

    #[test]
    fn a_view_is_a_name_and_a_query_of_items() {
        let view = content("Mine", &[("status", "Failed"), ("sort", "-ended"), ("columns", "why,status")]);
        assert_eq!(view.validate(), Ok(()));
        assert_eq!(view.filter().unwrap().to_string(), "status=Failed&sort=-ended");
        assert_eq!(view.columns().unwrap(), ["status", "why"]);
        assert_eq!(content("All", &[]).columns().unwrap(), VIEW_COLUMNS);
        let long = "x".repeat(VIEW_NAME_LIMIT + 1);
        for (name, query, code) in [
            ("", &[][..], 1009),
            (" \t", &[], 1009),
            ("a\nb", &[], 1009),
            (&*long, &[], 1009),
            ("x", &[("colour", "red")], 1000),
            ("x", &[("columns", "colour")], 1000),
            ("x", &[("status", "lost")], 1000),
        ] {
            assert_eq!(
                content(name, query).validate().unwrap_err().code().number(),
                code,
                "{name:?} {query:?}"
            );
        }
    }

    #[test]
    fn a_view_is_seen_by_its_owner_and_where_it_is_shared() {
        let mut view = SavedView { id: 1, owner: 7, content: content("x", &[]) };
        let here = [FolderId::SHARED];
        assert!(view.is_seen_by(7, &[]) && !view.is_seen_by(8, &here));
        assert!(view.check_may_change(8, &here).is_err());
        view.content.folder = Some(FolderId::SHARED);
        assert!(view.is_seen_by(8, &here) && !view.is_seen_by(8, &[FolderId(2)]));
        assert!(view.check_may_change(8, &here).is_ok() && view.check_may_change(8, &[]).is_err());
    }
}
