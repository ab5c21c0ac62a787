//! Separates the fields of an item from its content.
//!
//! The columns of fields have the names of the API (`DueDate`, `DeferDate`) or of the Orchestrator's CSV upload (`Deadline`,
//! `Postpone`).

use serde_json::{Map, Value};

use super::export::{CONTENT_PREFIX, content_name};
use super::json::Member;
use super::refused::OwnColumn;
use super::time;
use performer_core::model::item::{NewQueueItem, Priority};

/// A field of an item that a column may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Its reference.
    Reference,
    /// Its priority.
    Priority,
    /// Its due date.
    Due,
    /// Its defer date.
    Defer,
    /// Its first progress text.
    Progress,
    /// Its group.
    Group,
}

impl Field {
    const ALL: [Self; 6] =
        [Self::Reference, Self::Priority, Self::Due, Self::Defer, Self::Progress, Self::Group];

    /// The names of its column, which are case-insensitive.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Reference => &["Reference"],
            Self::Priority => &["Priority"],
            Self::Due => &["DueDate", "Deadline"],
            Self::Defer => &["DeferDate", "Postpone"],
            Self::Progress => &["Progress"],
            // Not "Group", which is the name of a column in files that were made for other purposes.
            Self::Group => &["PerformerGroup"],
        }
    }
}

/// The options that assign columns to fields.
#[derive(Clone, Debug, Default)]
pub struct FieldColumns {
    /// The columns given by options; they are also kept in the content.
    pub given: Vec<(Field, String)>,
    /// Columns that are content although they have the names of fields.
    pub content: Vec<String>,
}

impl FieldColumns {
    /// The fields of some columns, with the indices of the columns.
    ///
    /// # Errors
    ///
    /// If two columns contain the same field.
    pub(crate) fn places<'a>(
        &self,
        columns: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<(Field, usize)>, String> {
        let mut places: Vec<(Field, usize, &str)> = Vec::new();
        for (at, column) in columns.enumerate() {
            let is = |name: &str| column.eq_ignore_ascii_case(name);
            if column.starts_with(CONTENT_PREFIX) || self.content.iter().any(|name| is(name)) {
                continue;
            }
            for field in Field::ALL {
                let mut given =
                    self.given.iter().filter(|(of, _)| *of == field).map(|(_, name)| name).peekable();
                let holds_it = match given.peek() {
                    Some(_) => given.any(|name| is(name)),
                    None => field.names().iter().any(|name| is(name)),
                };
                if !holds_it {
                    continue;
                }
                if let Some((.., other)) = places.iter().find(|(of, ..)| *of == field) {
                    return Err(format!(
                        "{other:?} and {column:?} are the same field of an item; --data COLUMN keeps one of them as \
                         content"
                    ));
                }
                places.push((field, at, column));
            }
        }
        Ok(places.into_iter().map(|(field, at, _)| (field, at)).collect())
    }

    /// The columns that the options name.
    pub(crate) fn named(&self) -> Vec<&str> {
        self.given.iter().map(|(_, name)| name).chain(&self.content).map(String::as_str).collect()
    }

    /// Whether the column of a field is kept in the content.
    pub(crate) fn is_kept(&self, field: Field) -> bool {
        self.given.iter().any(|(of, _)| *of == field)
    }

    /// Whether an option names the column with the reference: then every row must have one.
    pub(crate) fn needs_reference(&self) -> bool {
        self.is_kept(Field::Reference)
    }

    /// Splits a row of JSON into content and fields.
    ///
    /// # Errors
    ///
    /// As [`places`](Self::places); if a field is neither a string nor a number.
    pub(crate) fn take(&self, mut row: Vec<Member>) -> Result<(Map<String, Value>, Fields), String> {
        row.retain(|member| OwnColumn::of(&member.name).is_none());
        let places = self.places(row.iter().map(|member| member.name.as_str()))?;
        let mut fields = Fields::default();
        let mut content = Map::new();
        for (at, Member { name, value, number }) in row.into_iter().enumerate() {
            let field = places.iter().find(|(_, place)| *place == at).map(|(field, _)| *field);
            if let Some(field) = field {
                match (&value, &number) {
                    (Value::Null, _) => {}
                    (Value::String(text), _) => fields.set(field, text),
                    (_, Some(number)) => fields.set(field, number),
                    _ => return Err(format!("{name:?} is neither a text nor a number")),
                }
            }
            if field.is_none_or(|field| self.is_kept(field)) {
                let member = content_name(&name);
                if content.insert(member.to_owned(), value).is_some() && member != name {
                    return Err(format!("{name:?} and {member:?} are the same member of the content"));
                }
            }
        }
        Ok((content, fields))
    }
}

/// The meaning of numeric priorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PriorityNumbers {
    /// As in the API: 0 High, 1 Normal, 2 Low.
    Api,
    /// As in the Orchestrator's upload of items in CSV: 1 Low, 2 Normal, 3 High.
    Upload,
}

impl PriorityNumbers {
    fn read(self, text: &str) -> Result<Priority, String> {
        match (self, text) {
            (Self::Upload, "1") => Ok(Priority::Low),
            (Self::Upload, "2") => Ok(Priority::Normal),
            (Self::Upload, "3") => Ok(Priority::High),
            (Self::Upload, number) if number.parse::<i64>().is_ok() => Err(format!(
                "{number} is not a priority; in CSV it is Low, Normal or High, or 1, 2 or 3 in this order"
            )),
            _ => text.parse::<Priority>().map_err(|error| error.to_string()),
        }
    }
}

/// The fields of an item, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    reference: Option<String>,
    priority: Option<String>,
    due: Option<String>,
    defer: Option<String>,
    progress: Option<String>,
    group: Option<String>,
}

impl Fields {
    /// Sets a field; an empty text unsets it.
    pub(crate) fn set(&mut self, field: Field, text: &str) {
        let text = text.trim();
        let text = (!text.is_empty()).then(|| text.to_owned());
        *match field {
            Field::Reference => &mut self.reference,
            Field::Priority => &mut self.priority,
            Field::Due => &mut self.due,
            Field::Defer => &mut self.defer,
            Field::Progress => &mut self.progress,
            Field::Group => &mut self.group,
        } = text;
    }

    pub(crate) fn has_reference(&self) -> bool {
        self.reference.is_some()
    }

    /// Makes an item from these fields and its content.
    ///
    /// # Errors
    ///
    /// A message for an invalid priority or time.
    pub(crate) fn item(
        self,
        content: Map<String, Value>,
        numbers: PriorityNumbers,
    ) -> Result<NewQueueItem, String> {
        let mut item = NewQueueItem::new(Value::Object(content));
        item.reference = self.reference;
        item.progress = self.progress;
        item.group = self.group;
        if let Some(priority) = self.priority {
            item.priority = numbers.read(&priority)?;
        }
        if let Some(due) = self.due {
            item = item.due_date(time::parse(&due).map_err(|why| format!("the due date: {why}"))?);
        }
        if let Some(defer) = self.defer {
            item = item.defer_date(time::parse(&defer).map_err(|why| format!("the defer date: {why}"))?);
        }
        Ok(item)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("{value} is no object") };
        map
    }

    fn members(value: Value) -> Vec<Member> {
        let number = |value: &Value| value.is_number().then(|| value.to_string());
        map(value).into_iter().map(|(name, value)| Member { number: number(&value), name, value }).collect()
    }

    fn named(given: &[(Field, &str)], content: &[&str]) -> FieldColumns {
        FieldColumns {
            given: given.iter().map(|(field, name)| (*field, (*name).to_owned())).collect(),
            content: content.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn the_names_of_the_api_and_of_the_upload_are_fields() {
        for (due, defer) in [("DueDate", "DeferDate"), ("Deadline", "Postpone"), ("deadline", "POSTPONE")] {
            let row = members(
                json!({"reference": "R-1", "Priority": "low", due: "2026-09-01", defer: "2026/08/01 12:30", "n": 1}),
            );
            let (content, fields) = FieldColumns::default().take(row).unwrap();
            assert_eq!(content, map(json!({"n": 1})));
            let item = fields.item(content, PriorityNumbers::Api).unwrap();
            assert_eq!((item.reference.as_deref(), item.priority), (Some("R-1"), Priority::Low));
            let at = |text: &str| Some(text.parse::<jiff::Timestamp>().unwrap().into());
            assert_eq!(item.due_date, at("2026-09-01T00:00:00Z"));
            assert_eq!(item.defer_date, at("2026-08-01T12:30:00Z"));
        }
    }

    #[test]
    fn columns_given_by_options_are_kept_and_data_columns_are_content() {
        let row = members(json!({"Id": 7, "Reference": "x", "Deadline": "Friday"}));
        let (content, fields) = named(&[(Field::Reference, "id")], &["deadline"]).take(row).unwrap();
        assert_eq!(content, map(json!({"Id": 7, "Reference": "x", "Deadline": "Friday"})));
        assert_eq!(fields.reference.as_deref(), Some("7"));
        let two =
            FieldColumns::default().take(members(json!({"Deadline": "2026-09-01", "DueDate": "2026-09-01"})));
        assert!(two.unwrap_err().contains("same field"));
        assert!(
            FieldColumns::default()
                .take(members(json!({"Reference": true})))
                .unwrap_err()
                .contains("neither a text")
        );
    }

    #[test]
    fn a_column_is_a_group_only_if_it_says_so() {
        let row = || members(json!({"Group": "west", "Customer": 17_850, "performergroup": "east"}));
        let group = |columns: &FieldColumns| {
            let (content, fields) = columns.take(row()).unwrap();
            let names: Vec<String> = content.keys().cloned().collect();
            (names.join(" "), fields.item(content, PriorityNumbers::Api).unwrap().group.unwrap())
        };
        assert_eq!(group(&FieldColumns::default()), ("Customer Group".to_owned(), "east".to_owned()));
        let (content, of) = group(&named(&[(Field::Group, "customer")], &[]));
        assert_eq!((content.as_str(), of.as_str()), ("Customer Group performergroup", "17850"));
    }

    #[test]
    fn numeric_priorities_depend_on_the_format() {
        let read = |numbers: PriorityNumbers, text| numbers.read(text).ok();
        for (text, api, upload) in [
            ("0", Some(Priority::High), None),
            ("1", Some(Priority::Normal), Some(Priority::Low)),
            ("2", Some(Priority::Low), Some(Priority::Normal)),
            ("3", None, Some(Priority::High)),
            ("HIGH", Some(Priority::High), Some(Priority::High)),
            ("urgent", None, None),
        ] {
            assert_eq!(
                (read(PriorityNumbers::Api, text), read(PriorityNumbers::Upload, text)),
                (api, upload),
                "{text}"
            );
        }
    }
}
