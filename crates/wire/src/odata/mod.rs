//! Parses and applies the OData query options of a request (orchestrator-api 4.1). The options are untrusted input, so
//! everything has a limit.
//!
//! | file | what it does |
//! |---|---|
//! | `lexer.rs` | splits an expression into tokens |
//! | `expression/` | `$filter`: the grammar and its limits in `parser.rs`, the evaluation for one JSON object in `mod.rs` |
//! | `item_query.rs` | converts a filter and an order of items to a query of the store |
//! | `entity_set.rs` | the entity sets and the types of their properties |
//! | `type_check.rs` | checks and converts a filter for an entity set |
//! | `paging.rs` | builds one page of a list, entity by entity |
//! | `mod.rs` | all query options |

pub mod entity_set;
mod expression;
mod item_query;
mod lexer;
mod paging;
mod type_check;

use std::cmp::Ordering;

use serde_json::Value;

use super::responses::JsonObject;
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;

pub use entity_set::EntitySet;
pub use expression::{Expression, Literal};
pub use item_query::{ReferencedNames, condition, ids, order, said_of_items};
pub use paging::Paging;

/// The maximum length of `$filter`, in bytes.
const MAX_FILTER_LENGTH: usize = 8_192;
/// The maximum number of expressions in `$orderby` (orchestrator-api 4.1).
const MAX_ORDERS: usize = 5;
/// The maximum number of names in `$select` and `$expand`.
const MAX_NAMES: usize = 100;

/// The query options of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryOptions {
    pub filter: Option<Expression>,
    pub order: Vec<OrderBy>,
    pub top: Option<usize>,
    pub skip: usize,
    pub count: bool,
    pub select: Vec<String>,
    pub expand: Vec<String>,
}

/// One criterion of `$orderby`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderBy {
    pub property: String,
    pub descending: bool,
}

/// A page of a list, and the total number of rows if `$count` was requested.
pub type ListPage = (Vec<Value>, Option<u64>);

impl QueryOptions {
    /// Parses the decoded pairs of a query. Names without a leading dollar sign are not options.
    ///
    /// # Errors
    ///
    /// Code 1000 for an unknown, repeated or invalid option.
    pub fn read<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, Refusal> {
        let mut options = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in pairs.filter(|(name, _)| name.starts_with('$')) {
            let name = name.to_ascii_lowercase();
            if seen.contains(&name) {
                return Err(invalid(format!("{name} is given twice")));
            }
            match name.as_str() {
                "$filter" => options.filter = filter(value)?,
                "$orderby" => options.order = orders(value)?,
                "$top" => options.top = Some(number("$top", value)?),
                "$skip" => options.skip = number("$skip", value)?,
                "$count" => options.count = boolean("$count", value)?,
                "$select" => options.select = names("$select", value)?,
                "$expand" => options.expand = names("$expand", value)?,
                "$astaskadmin" => {} // the vendor's TypeScript SDK writes this parameter of its own as an option
                "$format" if value.to_ascii_lowercase().contains("json") => {}
                _ => return Err(invalid(format!("the option {} is not supported", quoted(&name)))),
            }
            seen.push(name);
        }
        Ok(options)
    }

    /// The options that matter to the number of entities, which is all that is asked for.
    #[must_use]
    pub fn of_count(self) -> Self {
        Self { filter: self.filter, top: Some(0), count: true, ..Self::default() }
    }

    /// The page size: `$top`, or the limit by default.
    ///
    /// # Errors
    ///
    /// Code 1000 for a `$top` over the limit.
    pub fn page_size(&self, limit: usize) -> Result<usize, Refusal> {
        match self.top {
            Some(top) if top > limit => {
                Err(invalid(format!("the limit of '{limit}' for Top query has been exceeded")))
            }
            top => Ok(top.unwrap_or(limit)),
        }
    }

    /// Refuses `$expand` of other names.
    ///
    /// # Errors
    ///
    /// Code 1000 for a name that cannot be expanded.
    pub fn expands_only(&self, known: &[&str]) -> Result<(), Refusal> {
        let is_known = |name: &String| known.iter().any(|known| known.eq_ignore_ascii_case(name));
        match self.expand.iter().find(|name| !is_known(name)) {
            Some(name) => Err(cannot_expand(name)),
            None => Ok(()),
        }
    }

    /// Refuses options that need properties, for a list whose values have none.
    ///
    /// # Errors
    ///
    /// Code 1000 for `$filter`, `$orderby`, `$select` and `$expand`.
    pub fn of_plain_values(&self) -> Result<(), Refusal> {
        let plain = Self { top: self.top, skip: self.skip, count: self.count, ..Self::default() };
        if *self == plain { Ok(()) } else { Err(invalid("the values of this list have no properties")) }
    }

    /// Whether a name is to be expanded.
    pub fn expands(&self, name: &str) -> bool {
        self.expand.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
    }

    /// Filters, sorts and pages a list of objects of an entity set.
    ///
    /// # Errors
    ///
    /// Those of [`Paging`].
    pub fn page(&self, set: &EntitySet, list: Vec<Value>, limit: usize) -> Result<ListPage, Refusal> {
        let mut paging = Paging::new(self, set, limit)?;
        list.into_iter().try_for_each(|object| paging.add(object))?;
        paging.finish()
    }

    fn compare(&self, set: &EntitySet, a: &Value, b: &Value) -> Ordering {
        for order in &self.order {
            let (Ok(a), Ok(b)) = (property(a, &order.property), property(b, &order.property)) else {
                continue;
            };
            let compared = set.order(&order.property, a, b);
            if compared != Ordering::Equal {
                return if order.descending { compared.reverse() } else { compared };
            }
        }
        Ordering::Equal
    }

    /// Applies `$select` to an object.
    ///
    /// # Errors
    ///
    /// Code 1000 for an unknown property.
    pub fn selected(&self, object: Value) -> Result<Value, Refusal> {
        let Value::Object(mut members) = object else { return Ok(object) };
        if let Some(kept) = self.names_selected(|| members.keys().map(String::as_str))? {
            members.retain(|name, _| kept.contains(name));
        }
        Ok(Value::Object(members))
    }

    /// Applies `$select` to an object whose values are JSON text.
    ///
    /// # Errors
    ///
    /// Code 1000 for an unknown property.
    pub fn selected_of(&self, object: JsonObject) -> Result<JsonObject, Refusal> {
        let kept = self.names_selected(|| object.names())?;
        Ok(match kept {
            Some(kept) => object.with_only(&kept),
            None => object,
        })
    }

    /// The selected names, each once; `None` for all.
    fn names_selected<'a, I: Iterator<Item = &'a str>>(
        &self,
        names: impl Fn() -> I,
    ) -> Result<Option<Vec<String>>, Refusal> {
        if self.select.is_empty() || self.select.iter().any(|name| name == "*") {
            return Ok(None);
        }
        let known = |wanted: &String| names().find(|name| name.eq_ignore_ascii_case(wanted));
        let mut kept: Vec<String> = Vec::new();
        for wanted in &self.select {
            kept.push(known(wanted).ok_or_else(|| unknown_property(wanted))?.to_owned());
        }
        kept.extend(self.expand.iter().filter_map(|wanted| known(wanted).map(str::to_owned)));
        kept.sort_unstable();
        kept.dedup();
        Ok(Some(kept))
    }
}

/// A property of an object by its case-insensitive path.
fn property<'a>(object: &'a Value, path: &str) -> Result<&'a Value, Refusal> {
    let mut value = object;
    for name in path.split('/') {
        let members = match value {
            Value::Object(members) => members,
            Value::Null => return Ok(&Value::Null),
            _ => return Err(unknown_property(path)),
        };
        let found = members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        value = found.ok_or_else(|| unknown_property(path))?.1;
    }
    Ok(value)
}

fn filter(text: &str) -> Result<Option<Expression>, Refusal> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    if text.len() > MAX_FILTER_LENGTH {
        return Err(invalid(format!("$filter has {} bytes, the limit is {MAX_FILTER_LENGTH}", text.len())));
    }
    Expression::parse(text).map(Some)
}

fn orders(text: &str) -> Result<Vec<OrderBy>, Refusal> {
    let mut orders = Vec::new();
    for part in text.split(',') {
        let mut words = part.split_ascii_whitespace();
        let property = words.next().ok_or_else(|| invalid("$orderby: a property is missing".to_owned()))?;
        if !lexer::is_path(property) {
            return Err(invalid(format!("$orderby: {} is not a property", quoted(property))));
        }
        let descending = match words.next() {
            None => false,
            Some(word) if word.eq_ignore_ascii_case("asc") => false,
            Some(word) if word.eq_ignore_ascii_case("desc") => true,
            Some(word) => {
                return Err(invalid(format!("$orderby: asc or desc is expected, not {}", quoted(word))));
            }
        };
        if words.next().is_some() {
            return Err(invalid("$orderby: a comma is missing".to_owned()));
        }
        orders.push(OrderBy { property: property.to_owned(), descending });
    }
    if orders.len() > MAX_ORDERS {
        return Err(invalid(format!("$orderby has {} expressions, the limit is {MAX_ORDERS}", orders.len())));
    }
    Ok(orders)
}

fn names(option: &str, text: &str) -> Result<Vec<String>, Refusal> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    if names.len() > MAX_NAMES {
        return Err(invalid(format!("{option} has {} names, the limit is {MAX_NAMES}", names.len())));
    }
    match names.iter().find(|name| !lexer::is_path(name) && (*name != "*" || option != "$select")) {
        Some(wrong) => Err(invalid(format!("{option}: {} is not a property", quoted(wrong)))),
        None => Ok(names),
    }
}

fn number(option: &str, text: &str) -> Result<usize, Refusal> {
    let number = text.trim().parse::<u32>().ok().filter(|number| i32::try_from(*number).is_ok());
    let number =
        number.ok_or_else(|| invalid(format!("{option} is a whole number, not {}", quoted(text))))?;
    Ok(number as usize)
}

fn boolean(option: &str, text: &str) -> Result<bool, Refusal> {
    match text.trim() {
        text if text.eq_ignore_ascii_case("true") => Ok(true),
        text if text.eq_ignore_ascii_case("false") => Ok(false),
        text => Err(invalid(format!("{option} is true or false, not {}", quoted(text)))),
    }
}

fn unknown_property(name: &str) -> Refusal {
    invalid(format!("there is no property {}", quoted(name)))
}

fn cannot_expand(name: &str) -> Refusal {
    invalid(format!("{} cannot be expanded", quoted(name)))
}

fn invalid(why: impl std::fmt::Display) -> Refusal {
    Refusal::new(ErrorCode::INVALID_REQUEST, format!("Invalid OData query options: {why}"))
}

/// Quotes a text of the caller in a message: shortened, with control characters escaped.
fn quoted(text: &str) -> String {
    const MAX_LENGTH: usize = 60;
    let mut short: String = text.chars().take(MAX_LENGTH).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(query: &[(&str, &str)]) -> Result<QueryOptions, String> {
        QueryOptions::read(query.iter().copied()).map_err(|refusal| {
            assert_eq!(refusal.code(), ErrorCode::INVALID_REQUEST);
            refusal.to_string()
        })
    }

    #[test]
    fn option_names_are_case_insensitive_and_others_are_ignored() {
        let options = read(&[
            ("$Top", "5"),
            ("$skip", "2"),
            ("$COUNT", "True"),
            ("$orderby", "Id desc, name"),
            ("$select", "Id,Name"),
            ("$expand", "Robot"),
            ("mandatoryPermissions", "Queues.View"),
            ("$filter", " "),
        ])
        .unwrap();
        assert_eq!((options.top, options.skip, options.count), (Some(5), 2, true));
        assert_eq!((options.order[0].descending, options.order[1].property.as_str()), (true, "name"));
        assert!(options.expands("robot") && options.expands_only(&["Robot"]).is_ok());
        assert!(options.expands_only(&["QueueDefinition"]).is_err());
        assert_eq!((options.page_size(1_000), options.filter), (Ok(5), None));
        assert!(options.select.len() == 2 && read(&[("$top", "101")]).unwrap().page_size(100).is_err());
    }

    #[test]
    fn wrong_options_are_refused() {
        for (name, value) in [
            ("$top", "-1"),
            ("$top", "x"),
            ("$top", "99999999999999999999"),
            ("$skip", "3000000000"),
            ("$count", "yes"),
            ("$orderby", ""),
            ("$orderby", "Id down"),
            ("$orderby", "Id asc desc"),
            ("$orderby", "a,b,c,d,e,f"),
            ("$orderby", "Id;DROP"),
            ("$select", "a b"),
            ("$expand", "Robot($select=Name)"),
            ("$expand", "*"),
            ("$search", "x"),
            ("$apply", "x"),
            ("$format", "xml"),
            ("$filter", "Id eq"),
        ] {
            assert!(
                read(&[(name, value)]).unwrap_err().starts_with("Invalid OData query options"),
                "{name}={value}"
            );
        }
        assert!(read(&[("$top", "1"), ("$Top", "2")]).is_err());
        let long = format!("Id eq {}", " ".repeat(MAX_FILTER_LENGTH));
        assert!(read(&[("$filter", &long)]).is_err());
    }

    #[test]
    fn a_list_is_filtered_sorted_paged_and_projected() {
        let list: Vec<Value> = (0..10)
            .map(|n| json!({"Id": n, "Name": format!("q{}", n % 3), "DisplayName": null, "IsStatic": n > 4}))
            .collect();
        let options = read(&[
            ("$filter", "id ge 2 and name ne 'q1'"),
            ("$orderby", "Name desc,Id"),
            ("$top", "2"),
            ("$skip", "1"),
            ("$count", "true"),
            ("$select", "ID"),
        ])
        .unwrap();
        let (page, count) = options.page(&entity_set::ROLES, list.clone(), 1_000).unwrap();
        assert_eq!((json!(page), count), (json!([{"Id": 5}, {"Id": 8}]), Some(6)));
        let only_static =
            read(&[("$filter", "IsStatic and not (Id eq 9)"), ("$expand", "permissions"), ("$select", "Id")]);
        let (page, count) = only_static.unwrap().page(&entity_set::ROLES, list.clone(), 1_000).unwrap();
        assert_eq!((page.len(), &page[0], count), (4, &json!({"Id": 5}), None));
        let of_count = options.of_count().page(&entity_set::ROLES, list.clone(), 1_000);
        assert_eq!(of_count, Ok((Vec::new(), Some(6))));
        for (name, value) in [
            ("$filter", "Cat eq 1"),
            ("$filter", "Name"),
            ("$orderby", "Cat"),
            ("$select", "Cat"),
            ("$filter", "Id/x eq 1"),
            ("$expand", "Cat"),
            ("$expand", "Name"),
        ] {
            for list in [list.clone(), Vec::new()] {
                assert!(
                    read(&[(name, value)]).unwrap().page(&entity_set::ROLES, list, 1_000).is_err(),
                    "{name}={value}"
                );
            }
        }
    }
}
