//! Conditions on items, for filters and sort orders.
//!
//! A [`Condition`] is data. A store in memory evaluates it item by item ([`Condition::holds`]), a database makes a
//! statement of it whose values are bound, and a client writes it in OData for the Orchestrator. All three treat null
//! as OData does: null equals only null, and is neither less nor greater than anything.

use std::cmp::Ordering;

use jiff::Timestamp;

use super::exception::ExceptionType;
use super::item::{Priority, QueueItem, ReferenceFilter};
use super::key::{ItemKey, JobKey, QueueId};
use super::status::{ReviewStatus, Status};

/// A field of an item that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the fields are those of QueueItem, where they are told")]
pub enum Field {
    Id,
    Key,
    UniqueKey,
    QueueId,
    Status,
    ReviewStatus,
    ReviewerUserId,
    Priority,
    Reference,
    ExceptionType,
    DueDate,
    DeferDate,
    RiskSlaDate,
    CreationTime,
    StartProcessing,
    EndProcessing,
    SecondsInPreviousAttempts,
    RetryNumber,
    ManualRetryNumber,
    AncestorId,
    ManualAncestorId,
    Progress,
    RowVersion,
    RobotId,
    ExecutorJobKey,
    CreatorJobKey,
    OperationId,
    ParentOperationId,
}

/// What kind of values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whole numbers; those of enumerations too.
    Number,
    /// Texts.
    Text,
    /// Instants.
    Time,
    /// GUIDs.
    Key,
}

/// A value of a field, or one it is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
    /// An instant.
    Time(Timestamp),
    /// A GUID.
    Key(ItemKey),
}

/// How a field is compared with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "their names say it")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// How a text is searched in a field. Case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "their names say it")]
pub enum TextMatch {
    Contains,
    StartsWith,
    EndsWith,
}

/// A condition on an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// All of them hold. Always true if there are none.
    All(Vec<Condition>),
    /// One of them holds. Never true if there are none.
    Any(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
    /// A field compared with a value.
    Compare(Field, Comparison, Value),
    /// A text in a field.
    Text(Field, TextMatch, String),
    /// A text field in one case, compared with a text.
    CaseCompare(Field, Case, Comparison, String),
    /// A text searched in a text field in one case.
    CaseText(Field, Case, TextMatch, String),
}

/// A mapping of letters before a comparison.
///
/// Letter by letter, by the simple mappings of Unicode, so that every store gives the same answer: `Σ` becomes `σ`
/// everywhere, `İ` becomes `i`, and a letter whose other case is several letters stays as it is (`ß`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Case {
    /// Small letters.
    Lower,
    /// Capitals.
    Upper,
}

impl Case {
    /// The text in this case. It has as many letters as before.
    pub fn of(self, text: &str) -> String {
        text.chars().map(|letter| self.of_letter(letter)).collect()
    }

    /// The letter in this case.
    pub fn of_letter(self, letter: char) -> char {
        fn only(mut letters: impl Iterator<Item = char>) -> Option<char> {
            letters.next().filter(|_| letters.next().is_none())
        }
        let mapped = match (self, letter) {
            (Self::Lower, '\u{130}') => Some('i'),
            (Self::Lower, _) => only(letter.to_lowercase()),
            (Self::Upper, _) => only(letter.to_uppercase()),
        };
        mapped.unwrap_or(letter)
    }
}

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    /// The field.
    pub field: Field,
    /// The greatest first.
    pub descending: bool,
}

impl Field {
    /// Every field.
    pub const ALL: &'static [Self] = &[
        Self::Id,
        Self::Key,
        Self::UniqueKey,
        Self::QueueId,
        Self::Status,
        Self::ReviewStatus,
        Self::ReviewerUserId,
        Self::Priority,
        Self::Reference,
        Self::ExceptionType,
        Self::DueDate,
        Self::DeferDate,
        Self::RiskSlaDate,
        Self::CreationTime,
        Self::StartProcessing,
        Self::EndProcessing,
        Self::SecondsInPreviousAttempts,
        Self::RetryNumber,
        Self::ManualRetryNumber,
        Self::AncestorId,
        Self::ManualAncestorId,
        Self::Progress,
        Self::RowVersion,
        Self::RobotId,
        Self::ExecutorJobKey,
        Self::CreatorJobKey,
        Self::OperationId,
        Self::ParentOperationId,
    ];

    /// The name on the wire (orchestrator-api 12.1).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Id => "Id",
            Self::Key => "Key",
            Self::UniqueKey => "UniqueKey",
            Self::QueueId => "QueueDefinitionId",
            Self::Status => "Status",
            Self::ReviewStatus => "ReviewStatus",
            Self::ReviewerUserId => "ReviewerUserId",
            Self::Priority => "Priority",
            Self::Reference => "Reference",
            Self::ExceptionType => "ProcessingExceptionType",
            Self::DueDate => "DueDate",
            Self::DeferDate => "DeferDate",
            Self::RiskSlaDate => "RiskSlaDate",
            Self::CreationTime => "CreationTime",
            Self::StartProcessing => "StartProcessing",
            Self::EndProcessing => "EndProcessing",
            Self::SecondsInPreviousAttempts => "SecondsInPreviousAttempts",
            Self::RetryNumber => "RetryNumber",
            Self::ManualRetryNumber => "ManualRetryNumber",
            Self::AncestorId => "AncestorId",
            Self::ManualAncestorId => "ManualAncestorId",
            Self::Progress => "Progress",
            Self::RowVersion => "RowVersion",
            Self::RobotId => "RobotId",
            Self::ExecutorJobKey => "ExecutorJobKey",
            Self::CreatorJobKey => "CreatorJobKey",
            Self::OperationId => "OperationId",
            Self::ParentOperationId => "ParentOperationId",
        }
    }

    /// The field with this name, ignoring case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.name().eq_ignore_ascii_case(name))
    }

    /// What kind of values it has.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Reference | Self::Progress | Self::OperationId | Self::ParentOperationId => Kind::Text,
            Self::Key | Self::UniqueKey | Self::ExecutorJobKey | Self::CreatorJobKey => Kind::Key,
            Self::DueDate
            | Self::DeferDate
            | Self::RiskSlaDate
            | Self::CreationTime
            | Self::StartProcessing
            | Self::EndProcessing => Kind::Time,
            _ => Kind::Number,
        }
    }

    /// The number of an enumeration's value by its name, in any case; `None` for other fields and names.
    pub fn number_of(self, name: &str) -> Option<i64> {
        let number = match self {
            Self::Status => name.parse::<Status>().ok()?.number(),
            Self::ReviewStatus => name.parse::<ReviewStatus>().ok()?.number(),
            Self::Priority => name.parse::<Priority>().ok()?.number(),
            Self::ExceptionType => name.parse::<ExceptionType>().ok()?.number(),
            _ => return None,
        };
        Some(number.into())
    }

    /// Whether its values are those of an enumeration.
    pub const fn is_enumeration(self) -> bool {
        matches!(self, Self::Status | Self::ReviewStatus | Self::Priority | Self::ExceptionType)
    }

    /// The field of an item.
    pub fn of(self, item: &QueueItem) -> Value {
        let number = |number: Option<i64>| number.map_or(Value::Null, Value::Number);
        let text = |text: Option<&String>| text.cloned().map_or(Value::Null, Value::Text);
        let time = |time: Option<Timestamp>| time.map_or(Value::Null, Value::Time);
        let job = |job: Option<JobKey>| {
            job.map_or(Value::Null, |job| Value::Key(ItemKey::from_bytes(job.to_bytes())))
        };
        match self {
            Self::Id => Value::Number(item.id.0),
            Self::Key => Value::Key(item.key),
            Self::UniqueKey => Value::Key(item.unique_key),
            Self::QueueId => Value::Number(item.queue_id.0),
            Self::Status => Value::Number(item.status.number().into()),
            Self::ReviewStatus => Value::Number(item.review_status.number().into()),
            Self::ReviewerUserId => number(item.reviewer_user_id),
            Self::Priority => Value::Number(item.priority.number().into()),
            Self::Reference => text(item.reference.as_ref()),
            Self::ExceptionType => number(item.exception_type().map(|kind| kind.number().into())),
            Self::DueDate => time(item.due_date),
            Self::DeferDate => time(item.defer_date),
            Self::RiskSlaDate => time(item.risk_sla_date),
            Self::CreationTime => Value::Time(item.creation_time),
            Self::StartProcessing => time(item.start_processing),
            Self::EndProcessing => time(item.end_processing),
            Self::SecondsInPreviousAttempts => Value::Number(item.seconds_in_previous_attempts.into()),
            Self::RetryNumber => Value::Number(item.retry_number.into()),
            Self::ManualRetryNumber => Value::Number(item.manual_retry_number.into()),
            Self::AncestorId => number(item.ancestor_id.map(|id| id.0)),
            Self::ManualAncestorId => number(item.manual_ancestor_id.map(|id| id.0)),
            Self::Progress => text(item.progress.as_ref()),
            Self::RobotId => number(item.robot_id),
            Self::ExecutorJobKey => job(item.executor_job),
            Self::CreatorJobKey => job(item.creator_job),
            Self::OperationId => text(item.operation_id.as_ref()),
            Self::ParentOperationId => text(item.parent_operation_id.as_ref()),
            Self::RowVersion => Value::Number(i64::try_from(item.row_version).unwrap_or(i64::MAX)),
        }
    }
}

impl Value {
    /// The value in one case, if it is a text.
    fn in_case(self, case: Case) -> Self {
        match self {
            Self::Text(text) => Self::Text(case.of(&text)),
            other => other,
        }
    }

    /// The order of two values of one kind; null has none.
    fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Time(a), Self::Time(b)) => Some(a.cmp(b)),
            (Self::Key(a), Self::Key(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

impl Condition {
    /// Separates the conditions on the queue and the status, which every store finds quickly, from the rest. Together
    /// they are equivalent to the condition.
    pub fn split(self) -> (Option<Vec<QueueId>>, Option<Vec<Status>>, Option<Self>) {
        let parts = match self {
            Self::All(parts) => parts,
            other => vec![other],
        };
        let (mut queues, mut statuses, mut rest) = (None, None, Vec::new());
        for part in parts {
            if queues.is_none()
                && let Some(numbers) = part.one_of(Field::QueueId)
            {
                queues = Some(numbers.into_iter().map(QueueId).collect());
            } else if statuses.is_none()
                && let Some(numbers) = part.one_of(Field::Status)
            {
                // A number that is not a status matches no item.
                let known = numbers.into_iter().filter_map(|number| Status::from_number(number).ok());
                let mut known: Vec<Status> = known.collect();
                known.sort_unstable();
                known.dedup();
                statuses = Some(known);
            } else {
                rest.push(part);
            }
        }
        let rest = match rest.len() {
            0 => None,
            1 => rest.pop(),
            _ => Some(Self::All(rest)),
        };
        (queues, statuses, rest)
    }

    /// Separates the condition that the reference equals a text, or else that it starts with one, from the rest.
    pub fn split_reference(self) -> (Option<ReferenceFilter>, Option<Self>) {
        let mut parts = match self {
            Self::All(parts) => parts,
            other => vec![other],
        };
        let equals =
            |part: &Self| matches!(part, Self::Compare(Field::Reference, Comparison::Equal, Value::Text(_)));
        let starts = |part: &Self| matches!(part, Self::Text(Field::Reference, TextMatch::StartsWith, _));
        let at = parts.iter().position(equals).or_else(|| parts.iter().position(starts));
        let reference = match at.map(|at| parts.remove(at)) {
            Some(Self::Compare(_, _, Value::Text(text))) => Some(ReferenceFilter::Equals(text)),
            Some(Self::Text(_, _, text)) => Some(ReferenceFilter::StartsWith(text)),
            _ => None,
        };
        let rest = if parts.len() > 1 { Some(Self::All(parts)) } else { parts.pop() };
        (reference, rest)
    }

    /// The numbers that a field must be one of, if the condition says nothing else.
    pub fn one_of(&self, of: Field) -> Option<Vec<i64>> {
        match self {
            Self::Compare(field, Comparison::Equal, Value::Number(number)) if *field == of => {
                Some(vec![*number])
            }
            Self::Any(parts) if !parts.is_empty() => {
                let numbers: Option<Vec<Vec<i64>>> = parts.iter().map(|part| part.one_of(of)).collect();
                Some(numbers?.concat())
            }
            _ => None,
        }
    }

    /// Whether it holds for an item.
    pub fn holds(&self, item: &QueueItem) -> bool {
        match self {
            Self::All(conditions) => conditions.iter().all(|condition| condition.holds(item)),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(item)),
            Self::Not(condition) => !condition.holds(item),
            Self::Compare(field, comparison, value) => comparison.holds(&field.of(item), value),
            Self::CaseCompare(field, case, comparison, text) => {
                comparison.holds(&field.of(item).in_case(*case), &Value::Text(text.clone()))
            }
            Self::Text(field, matching, wanted) => matching.holds(&field.of(item), wanted),
            Self::CaseText(field, case, matching, wanted) => {
                matching.holds(&field.of(item).in_case(*case), wanted)
            }
        }
    }
}

impl Comparison {
    fn holds(self, value: &Value, wanted: &Value) -> bool {
        let order = value.order(wanted);
        match self {
            Self::Equal => value == wanted,
            Self::NotEqual => value != wanted,
            Self::Less => order.is_some_and(Ordering::is_lt),
            Self::LessOrEqual => order.is_some_and(Ordering::is_le),
            Self::Greater => order.is_some_and(Ordering::is_gt),
            Self::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    }
}

impl TextMatch {
    fn holds(self, value: &Value, wanted: &str) -> bool {
        match value {
            Value::Text(text) => match self {
                Self::Contains => text.contains(wanted),
                Self::StartsWith => text.starts_with(wanted),
                Self::EndsWith => text.ends_with(wanted),
            },
            _ => false,
        }
    }
}

/// Compares two items; those without a value come first, and ids decide between equal items.
pub fn compare(orders: &[Order], a: &QueueItem, b: &QueueItem) -> Ordering {
    for Order { field, descending } in orders {
        let (of_a, of_b) = (field.of(a), field.of(b));
        let order = match (&of_a, &of_b) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) => Ordering::Less,
            (_, Value::Null) => Ordering::Greater,
            _ => of_a.order(&of_b).unwrap_or(Ordering::Equal),
        };
        if order != Ordering::Equal {
            return if *descending { order.reverse() } else { order };
        }
    }
    a.id.cmp(&b.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_about_queue_and_status_is_found() {
        let is = |field, number| Condition::Compare(field, Comparison::Equal, Value::Number(number));
        let rest = Condition::Text(Field::Reference, TextMatch::StartsWith, "a".to_owned());
        let either = Condition::Any(vec![is(Field::Status, 2), is(Field::Status, 99), is(Field::Status, 2)]);
        let all = Condition::All(vec![is(Field::QueueId, 7), rest.clone(), either]);
        assert_eq!(all.split(), (Some(vec![QueueId(7)]), Some(vec![Status::Failed]), Some(rest)));
        assert_eq!(is(Field::Status, 0).split(), (None, Some(vec![Status::New]), None));
        let mixed = Condition::Any(vec![is(Field::Status, 2), is(Field::QueueId, 1)]);
        assert_eq!(mixed.clone().split(), (None, None, Some(mixed)));
        let twice = Condition::All(vec![is(Field::Status, 0), is(Field::Status, 1)]);
        assert_eq!(twice.split(), (None, Some(vec![Status::New]), Some(is(Field::Status, 1))));
        assert_eq!(Condition::Any(Vec::new()).split().2, Some(Condition::Any(Vec::new())));
    }

    #[test]
    fn letters_change_their_case_one_by_one() {
        for (text, lower, upper) in [
            ("INV-1", "inv-1", "INV-1"),
            ("Ørsted", "ørsted", "ØRSTED"),
            ("İstanbul ı", "istanbul ı", "İSTANBUL I"),
            ("Straße", "straße", "STRAßE"),
            ("ΟΔΟΣ", "οδοσ", "ΟΔΟΣ"),
            ("οδος", "οδος", "ΟΔΟΣ"),
            ("Ⴀ Ж 𐐀 ﬁ", "ⴀ ж 𐐨 ﬁ", "Ⴀ Ж 𐐀 ﬁ"),
        ] {
            assert_eq!((Case::Lower.of(text).as_str(), Case::Upper.of(text).as_str()), (lower, upper));
        }
    }

    #[test]
    fn every_field_is_found_by_its_name_in_any_case() {
        for field in Field::ALL {
            assert_eq!(Field::named(&field.name().to_lowercase()), Some(*field));
        }
        assert_eq!(Field::named("Password"), None);
        assert_eq!(Field::Status.number_of("inprogress"), Some(1));
        assert_eq!((Field::Status.number_of("x"), Field::Id.number_of("1")), (None, None));
    }
}
