//! Filters of items as people write them: the same names in the URL of a page and in the options of the command.
//!
//! | name | values | what it asks for |
//! |---|---|---|
//! | `queue` | names | items of one of these queues |
//! | `status`, `review`, `priority` | names or numbers | items in one of these states |
//! | `type` | `Application`, `Business` | items that failed by this kind of exception |
//! | `reason` | a number | items that failed with this [reason](super::reason) |
//! | `refused` | a number | items that this [operation](super::operation) refused |
//! | `ref` | a reference, or its beginning and `*` | items with such a reference |
//! | `reviewer` | a user's id, or `none` | items with this reviewer, or without one |
//! | `job` | a key | items of this job |
//! | `robot` | a number | items that this robot processed |
//! | `created`, `ended`, `due` | a [`TimeRange`] | items with such a date |
//! | `sort` | a field, with `-` in front for the greatest first | the order; by default the newest first |
//! | `after` | a [`PageCursor`] | what comes behind it |
//!
//! Several values have commas between them (`\,` is a comma in a value), or the name is given several times. Spaces around a value do
//! not count, unless they have a backslash before them; those of a reference do. A name that is not in the table is an error, and so is
//! a missing value between commas: a filter that is ignored would show, or change, more than was asked for.

mod list_values;
mod time_range;

use std::fmt::{self, Display};
use std::str::FromStr;

use jiff::Timestamp;

pub use self::list_values::list_value;
use self::list_values::{escaped, values};
pub use self::time_range::TimeRange;
use super::code::ErrorCode;
use super::cursor::PageCursor;
use super::exception::ExceptionType;
use super::item::{Priority, ReferenceFilter};
use super::key::{ItemKey, JobKey, QueueId};
use super::list::{ItemFilter, Page};
use super::query::{Comparison, Condition, Field, Order, Value};
use super::reason::OPEN_REVIEWS;
use super::refusal::Refusal;
use super::status::{ReviewStatus, Status};

/// The names of all filters, in the order of a URL.
pub const NAMES: [&str; 16] = [
    "queue", "status", "review", "type", "reason", "refused", "ref", "reviewer", "job", "robot", "priority",
    "created", "ended", "due", "sort", "after",
];

/// The fields that a list can be sorted by, with the names that people write.
const SORT_FIELDS: [(&str, Field); 7] = [
    ("id", Field::Id),
    ("created", Field::CreationTime),
    ("started", Field::StartProcessing),
    ("ended", Field::EndProcessing),
    ("due", Field::DueDate),
    ("priority", Field::Priority),
    ("ref", Field::Reference),
];

/// Which items are asked for, and in which order.
///
/// ```
/// use performer::model::item_query::ItemQuery;
///
/// let query = ItemQuery::parse([("queue", "Invoices"), ("status", "failed"), ("ended", "yesterday")]).unwrap();
/// assert_eq!(query.to_string(), "queue=Invoices&status=Failed&ended=yesterday");
/// assert!(ItemQuery::parse([("colour", "red")]).is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ItemQuery {
    /// Items of one of these queues; empty for all.
    pub queues: Vec<String>,
    /// Items in one of these states; empty for any.
    pub status: Vec<Status>,
    /// Items in one of these review states; empty for any.
    pub review: Vec<ReviewStatus>,
    /// Items that failed by this kind of exception.
    pub exception_type: Option<ExceptionType>,
    /// Items that failed with this reason.
    pub reason: Option<i64>,
    /// Items that the operation with this number refused.
    pub refused: Option<i64>,
    /// Items with such a reference.
    pub reference: Option<ReferenceFilter>,
    /// Items with this reviewer.
    pub reviewer: Option<Reviewer>,
    /// Items of this job.
    pub job: Option<JobKey>,
    /// Items that the robot with this id processed.
    pub robot: Option<i64>,
    /// Items of one of these priorities; empty for any.
    pub priority: Vec<Priority>,
    /// Items created in this time.
    pub created: Option<TimeRange>,
    /// Items that ended in this time.
    pub ended: Option<TimeRange>,
    /// Items that are due in this time.
    pub due: Option<TimeRange>,
    /// The order; `None` for the newest first.
    pub sort: Option<Order>,
    /// Only what comes behind this position.
    pub after: Option<PageCursor>,
}

/// Who reviews an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reviewer {
    /// None is set.
    Unassigned,
    /// The user with this id.
    User(i64),
}

impl ItemQuery {
    /// Reads names and values. An empty value asks for nothing, as the field of a form that was left empty.
    ///
    /// # Errors
    ///
    /// Code 1000 for an unknown name, a value that its filter does not have, and a filter with one value that is given twice.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Refusal> {
        let mut query = Self::default();
        for (name, value) in pairs {
            query.set(name, value)?;
        }
        Ok(query)
    }

    fn set(&mut self, name: &str, text: &str) -> Result<(), Refusal> {
        if !NAMES.contains(&name) {
            let message = format!("there is no filter {name:?}; filters are {}", NAMES.join(", "));
            return Err(Refusal::new(ErrorCode::INVALID_REQUEST, message));
        }
        // Spaces may belong to a reference, or to the name of a queue.
        let text = if matches!(name, "ref" | "queue") { text } else { text.trim() };
        if text.is_empty() || name == "queue" && text.trim().is_empty() {
            return Ok(());
        }
        match name {
            "queue" => self.queues.extend(values(name, text)?),
            "status" => several(&mut self.status, name, text)?,
            "review" => several(&mut self.review, name, text)?,
            "priority" => several(&mut self.priority, name, text)?,
            "type" => one(&mut self.exception_type, name, exception_type(text)?)?,
            "reason" => one(&mut self.reason, name, number(name, text)?)?,
            "refused" => one(&mut self.refused, name, number(name, text)?)?,
            "ref" => one(&mut self.reference, name, reference(text))?,
            "reviewer" if text.eq_ignore_ascii_case("none") => {
                one(&mut self.reviewer, name, Reviewer::Unassigned)?;
            }
            "reviewer" => one(&mut self.reviewer, name, Reviewer::User(number(name, text)?))?,
            "job" => one(&mut self.job, name, parsed(name, text)?)?,
            "robot" => one(&mut self.robot, name, number(name, text)?)?,
            "created" => one(&mut self.created, name, text.parse()?)?,
            "ended" => one(&mut self.ended, name, text.parse()?)?,
            "due" => one(&mut self.due, name, text.parse()?)?,
            "sort" => one(&mut self.sort, name, order(text)?)?,
            _ => one(&mut self.after, name, text.parse()?)?,
        }
        Ok(())
    }

    /// The names and values, from which [`parse`](Self::parse) reads the same query; without what is not asked for.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let reference = self.reference.as_ref().map(|reference| match reference {
            ReferenceFilter::Equals(text) => escaped(text, '*'),
            ReferenceFilter::StartsWith(text) => escaped(text, '*') + "*",
        });
        let reviewer = self.reviewer.map(|reviewer| match reviewer {
            Reviewer::Unassigned => "none".to_owned(),
            Reviewer::User(id) => id.to_string(),
        });
        let exception_type =
            self.exception_type.map(|kind| kind.name().trim_end_matches("Exception").to_owned());
        let values = [
            list(self.queues.iter().map(|name| list_value(name))),
            list(self.status.iter().map(Status::to_string)),
            list(self.review.iter().map(ReviewStatus::to_string)),
            exception_type,
            text(self.reason),
            text(self.refused),
            reference,
            reviewer,
            text(self.job),
            text(self.robot),
            list(self.priority.iter().map(Priority::to_string)),
            text(self.created.as_ref()),
            text(self.ended.as_ref()),
            text(self.due.as_ref()),
            self.sort.and_then(sort_text),
            text(self.after.as_ref()),
        ];
        NAMES.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// The filter of a list at a time, from which relative times count. `queue_id` finds the id of a queue by its name: it is asked
    /// only if there are several queues.
    ///
    /// # Errors
    ///
    /// Code 1002 for a queue that is not found.
    pub fn filter(
        &self,
        now: Timestamp,
        queue_id: impl Fn(&str) -> Option<QueueId>,
    ) -> Result<ItemFilter, Refusal> {
        let mut conditions = Vec::new();
        let mut filter = ItemFilter::default().status(self.status.clone()).review_status(self.review.clone());
        match &*self.queues {
            [] => {}
            [queue] => filter.queue = Some(queue.clone()),
            queues => {
                let id = |name: &String| {
                    let unknown =
                        || Refusal::new(ErrorCode::ITEM_NOT_FOUND, format!("there is no queue {name:?}"));
                    queue_id(name).ok_or_else(unknown)
                };
                let ids = queues.iter().map(id).collect::<Result<Vec<_>, _>>()?;
                conditions.push(any_of(Field::QueueId, ids.iter().map(|id| id.0)));
            }
        }
        match &*self.priority {
            [] => {}
            [priority] => filter.priority = Some(*priority),
            priorities => {
                let numbers = priorities.iter().map(|priority| i64::from(priority.number()));
                conditions.push(any_of(Field::Priority, numbers));
            }
        }
        (filter.exception_type, filter.reason) = (self.exception_type, self.reason);
        filter.refused_by = self.refused;
        filter.reference.clone_from(&self.reference);
        if let Some(created) = &self.created {
            (filter.created_from, filter.created_before) = created.at(now);
        }
        for (field, range) in [(Field::EndProcessing, &self.ended), (Field::DueDate, &self.due)] {
            conditions.extend(range.iter().flat_map(|range| within(field, range.at(now))));
        }
        let equal = |field, value| Condition::Compare(field, Comparison::Equal, value);
        conditions.extend(self.reviewer.map(|reviewer| match reviewer {
            Reviewer::Unassigned => equal(Field::ReviewerUserId, Value::Null),
            Reviewer::User(id) => equal(Field::ReviewerUserId, Value::Number(id)),
        }));
        conditions.extend(
            self.job.map(|job| equal(Field::ExecutorJobKey, Value::Key(ItemKey::from_bytes(job.to_bytes())))),
        );
        conditions.extend(self.robot.map(|robot| equal(Field::RobotId, Value::Number(robot))));
        filter.condition = match conditions.len() {
            0 | 1 => conditions.pop(),
            _ => Some(Condition::All(conditions)),
        };
        filter.order = self.sort.into_iter().collect();
        Ok(filter)
    }

    /// The page of this query with at most `top` items.
    pub fn page(&self, top: usize) -> Page {
        Page::first(top).after(self.after.clone()).descending(true)
    }

    /// This query for items that count as open in the group of their reason ([`is_open`](super::reason::is_open)).
    #[must_use]
    pub fn open(mut self) -> Self {
        (self.status, self.review) = (vec![Status::Failed], OPEN_REVIEWS.into());
        self
    }

    /// This query for items to be reviewed: those that are open, and abandoned ones that were neither verified nor retried.
    #[must_use]
    pub fn to_be_reviewed(mut self) -> Self {
        (self.status, self.review) = (vec![Status::Failed, Status::Abandoned], OPEN_REVIEWS.into());
        self
    }

    /// This query without a position: it begins at the first item.
    #[must_use]
    pub fn from_beginning(mut self) -> Self {
        self.after = None;
        self
    }
}

/// As the query of a URL.
impl Display for ItemQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, value)) in self.pairs().into_iter().enumerate() {
            if at > 0 {
                f.write_str("&")?;
            }
            write!(f, "{name}=")?;
            for byte in value.bytes() {
                if byte.is_ascii_alphanumeric() || b"-._~,*:".contains(&byte) {
                    write!(f, "{}", char::from(byte))?;
                } else {
                    write!(f, "%{byte:02X}")?;
                }
            }
        }
        Ok(())
    }
}

fn several<T: FromStr<Err: Display> + PartialEq>(
    into: &mut Vec<T>,
    name: &str,
    text: &str,
) -> Result<(), Refusal> {
    for value in values(name, text)? {
        let value = parsed(name, &value)?;
        if !into.contains(&value) {
            into.push(value);
        }
    }
    Ok(())
}

fn one<T>(into: &mut Option<T>, name: &str, value: T) -> Result<(), Refusal> {
    match into.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal::new(ErrorCode::INVALID_REQUEST, format!("the filter {name} is given twice"))),
    }
}

fn parsed<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error: T::Err| Refusal::new(ErrorCode::INVALID_REQUEST, format!("{name}: {error}")))
}

fn number(name: &str, text: &str) -> Result<i64, Refusal> {
    let wrong =
        |_| Refusal::new(ErrorCode::INVALID_REQUEST, format!("{name}: {text:?} is not a whole number"));
    text.parse().map_err(wrong)
}

fn exception_type(text: &str) -> Result<ExceptionType, Refusal> {
    let is_named = |kind: &&ExceptionType| {
        let name = kind.name();
        text.eq_ignore_ascii_case(name) || text.eq_ignore_ascii_case(name.trim_end_matches("Exception"))
    };
    let known = ExceptionType::ALL.iter().find(is_named).copied();
    known.map_or_else(|| parsed("type", text), Ok)
}

/// A reference, or the beginning of one if the text ends with a `*` that has no backslash before it.
fn reference(text: &str) -> ReferenceFilter {
    let (mut plain, mut letters, mut is_beginning) = (String::new(), text.chars().peekable(), false);
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if letters.peek().is_some_and(|next| matches!(next, '*' | '\\')) => {
                plain.extend(letters.next());
            }
            '*' if letters.peek().is_none() => is_beginning = true,
            other => plain.push(other),
        }
    }
    if is_beginning { ReferenceFilter::StartsWith(plain) } else { ReferenceFilter::Equals(plain) }
}

fn order(text: &str) -> Result<Order, Refusal> {
    let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
    let field = SORT_FIELDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    field.map(|(_, field)| Order { field: *field, descending }).ok_or_else(|| {
        let names = SORT_FIELDS.map(|(name, _)| name).join(", ");
        let message = format!("sort: {text:?} is not a field to sort by; it is one of {names}, with - in front for the greatest first");
        Refusal::new(ErrorCode::INVALID_REQUEST, message)
    })
}

fn sort_text(order: Order) -> Option<String> {
    let (name, _) = SORT_FIELDS.iter().find(|(_, field)| *field == order.field)?;
    Some(format!("{}{name}", if order.descending { "-" } else { "" }))
}

fn list(values: impl Iterator<Item = String>) -> Option<String> {
    let all = values.collect::<Vec<_>>().join(",");
    (!all.is_empty()).then_some(all)
}

fn text(value: Option<impl Display>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn any_of(field: Field, numbers: impl Iterator<Item = i64>) -> Condition {
    Condition::Any(
        numbers.map(|number| Condition::Compare(field, Comparison::Equal, Value::Number(number))).collect(),
    )
}

/// The conditions that a time is in a range.
fn within(field: Field, (from, before): (Option<Timestamp>, Option<Timestamp>)) -> Vec<Condition> {
    let from = from.map(|from| Condition::Compare(field, Comparison::GreaterOrEqual, Value::Time(from)));
    let before = before.map(|before| Condition::Compare(field, Comparison::Less, Value::Time(before)));
    from.into_iter().chain(before).collect()
}

#[cfg(test)]
mod tests;
