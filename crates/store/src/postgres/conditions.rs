//! Conditions on items, as SQL. The text of a statement is ours alone; every value is bound.

use std::sync::LazyLock;

use tokio_postgres::types::ToSql;

use super::columns::{date, text, uuid};
use performer_core::model::query::{Case, Comparison, Condition, Field, Kind, Order, TextMatch, Value};
use performer_core::model::stored_time::stored;

/// A value to bind.
pub(super) type FilterValue = Box<dyn ToSql + Sync>;

/// The join for the columns below, in a statement that already has `item` and `item_state`.
pub(super) const COPIES: &str =
    " LEFT JOIN item_copy ON item_copy.item_id = item.id AND item.root_id IS NOT NULL";

/// The column of a field. Text is compared by its bytes, whatever the database's collation.
const fn column(field: Field) -> &'static str {
    match field {
        Field::Id => "item.id",
        Field::Key => "coalesce(item_copy.chain_key, item.unique_key)",
        Field::UniqueKey => "item.unique_key",
        Field::QueueId => "item.queue_id",
        Field::Status => "coalesce(item_state.status, 0)",
        Field::ReviewStatus => "coalesce(item_state.review_status, 0)",
        Field::ReviewerUserId => "item_state.reviewer_user_id",
        Field::Priority => "item.priority",
        Field::Reference => "(item.reference COLLATE \"C\")",
        // The numbers of outcomes and of exception types are documented in the model.
        Field::ExceptionType => "(CASE item_state.outcome WHEN 2 THEN 1 WHEN 3 THEN 0 END)",
        Field::DueDate => "item.due_date",
        Field::DeferDate => "item.defer_date",
        Field::RiskSlaDate => "item.risk_sla_date",
        Field::CreationTime => "item.creation_time",
        Field::StartProcessing => "item_state.start_processing",
        Field::EndProcessing => "item_state.end_processing",
        Field::SecondsInPreviousAttempts => "coalesce(item_copy.seconds_in_previous_attempts, 0)",
        Field::RetryNumber => "coalesce(item_copy.retry_number, 0)",
        Field::ManualRetryNumber => "coalesce(item_copy.manual_retry_number, 0)",
        Field::AncestorId => "item_copy.ancestor_id",
        Field::ManualAncestorId => "item_copy.manual_ancestor_id",
        Field::Progress => "(item_state.progress COLLATE \"C\")",
        Field::RobotId => "(CASE WHEN item_state.holder IS NOT NULL THEN item_state.robot_id END)",
        Field::ExecutorJobKey => {
            "(CASE WHEN item_state.holder IS NOT NULL THEN \
             coalesce(item_state.executor, (SELECT job.key FROM job WHERE job.number = item_state.holder)) END)"
        }
        Field::CreatorJobKey => "item.creator_job",
        Field::OperationId => "(item_state.operation_id COLLATE \"C\")",
        Field::ParentOperationId => "(item.parent_operation_id COLLATE \"C\")",
        Field::RowVersion => "coalesce(item_state.row_version, 1)",
    }
}

/// Writes a condition, and appends its values to those already bound. The text is true or false, never null, so that it
/// can be negated.
pub(super) fn condition(condition: &Condition, values: &mut Vec<FilterValue>) -> String {
    match condition {
        Condition::All(all) => joined(all, " AND ", "true", values),
        Condition::Any(any) => joined(any, " OR ", "false", values),
        Condition::Not(inner) => format!("NOT {}", self::condition(inner, values)),
        Condition::Compare(field, comparison, value) => {
            compare(column(*field), field.kind(), *comparison, value, values)
        }
        Condition::Text(field, matching, wanted) => {
            matches(column(*field), field.kind(), *matching, wanted, values)
        }
        Condition::CaseCompare(field, case, comparison, wanted) => {
            let wanted = Value::Text(wanted.clone());
            let column = in_case(*case, *field, values);
            compare(&column, field.kind(), *comparison, &wanted, values)
        }
        Condition::CaseText(field, case, matching, wanted) => {
            let column = in_case(*case, *field, values);
            matches(&column, field.kind(), *matching, wanted, values)
        }
    }
}

/// A field in one case. With the collation of its column, `lower` and `upper` handle only ASCII letters; others are
/// replaced one by one, because what a database knows about letters depends on how it was created.
fn in_case(case: Case, field: Field, values: &mut Vec<FilterValue>) -> String {
    let column = column(field);
    if field.kind() != Kind::Text {
        return column.to_owned();
    }
    let (function, letters) = match case {
        Case::Lower => ("lower", &*LOWER),
        Case::Upper => ("upper", &*UPPER),
    };
    let (from, to) = (bind(letters.0.as_str(), "text", values), bind(letters.1.as_str(), "text", values));
    format!(
        "(CASE WHEN octet_length({column}) = char_length({column}) THEN {function}({column}) \
         ELSE translate({column}, {from}, {to}) END)"
    )
}

/// Every letter that changes, and what it becomes.
type Letters = (String, String);

static LOWER: LazyLock<Letters> = LazyLock::new(|| letters(Case::Lower));
static UPPER: LazyLock<Letters> = LazyLock::new(|| letters(Case::Upper));

fn letters(case: Case) -> Letters {
    let changed = ('\0'..=char::MAX).map(|letter| (letter, case.of_letter(letter)));
    changed.filter(|(letter, mapped)| letter != mapped).unzip()
}

fn compare(
    column: &str,
    kind: Kind,
    comparison: Comparison,
    value: &Value,
    values: &mut Vec<FilterValue>,
) -> String {
    let value = match (kind, value) {
        (_, Value::Null) => {
            return match comparison {
                Comparison::Equal => format!("({column} IS NULL)"),
                Comparison::NotEqual => format!("({column} IS NOT NULL)"),
                _ => "false".to_owned(),
            };
        }
        (Kind::Number, Value::Number(number)) => bind(*number, "bigint", values),
        (Kind::Text, Value::Text(wanted)) => bind(text(wanted).into_owned(), "text", values),
        (Kind::Time, Value::Time(at)) => bind(date(stored(*at)), "timestamptz", values),
        (Kind::Key, Value::Key(key)) => bind(uuid(key.to_bytes()), "uuid", values),
        // PostgreSQL refuses to compare two kinds of values; in the model they are different, and have no order.
        _ => return (comparison == Comparison::NotEqual).to_string(),
    };
    let sign = match comparison {
        Comparison::Equal => "=",
        Comparison::NotEqual => return format!("({column} IS DISTINCT FROM {value})"),
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    };
    // Not IS NOT DISTINCT FROM, and no function around the column: no index would be used.
    format!("({column} IS NOT NULL AND {column} {sign} {value})")
}

fn matches(
    column: &str,
    kind: Kind,
    matching: TextMatch,
    wanted: &str,
    values: &mut Vec<FilterValue>,
) -> String {
    if kind != Kind::Text {
        return "false".to_owned(); // it contains no text
    }
    let value = bind(text(wanted).into_owned(), "text", values);
    match matching {
        TextMatch::Contains => format!("coalesce(strpos({column}, {value}) > 0, false)"),
        TextMatch::StartsWith => format!("coalesce(starts_with({column}, {value}), false)"),
        TextMatch::EndsWith => format!("coalesce(right({column}, length({value})) = {value}, false)"),
    }
}

fn joined(conditions: &[Condition], word: &str, of_none: &str, values: &mut Vec<FilterValue>) -> String {
    let written: Vec<String> = conditions.iter().map(|each| condition(each, values)).collect();
    if written.is_empty() { of_none.to_owned() } else { format!("({})", written.join(word)) }
}

/// Binds a value. Returns its placeholder, with the type, which PostgreSQL cannot always infer.
pub(super) fn bind(value: impl ToSql + Sync + 'static, kind: &str, values: &mut Vec<FilterValue>) -> String {
    values.push(Box::new(value));
    format!("${}::{kind}", values.len())
}

/// The sort order of a list; ids decide between equal items.
pub(super) fn order(orders: &[Order], descending: bool) -> String {
    let direction = |descending: bool| if descending { "DESC" } else { "ASC" };
    let mut words: Vec<String> = orders
        .iter()
        .map(|order| {
            let nulls = match order.field {
                // Without a NULLS clause where there is no null: otherwise the index would not be used.
                Field::Id | Field::UniqueKey => "",
                // Null is less than everything.
                _ if order.descending => " NULLS LAST",
                _ => " NULLS FIRST",
            };
            format!("{} {}{nulls}", column(order.field), direction(order.descending))
        })
        .collect();
    words.push(format!("item.id {}", direction(orders.is_empty() && descending)));
    words.join(", ")
}

/// For a list that is put together from the lists of its parts: the columns that each part adds to its ids, and the sort order of
/// the whole by them.
pub(super) fn order_of_parts(orders: &[Order], descending: bool) -> (String, String) {
    let (mut keys, mut words) = (String::new(), Vec::new());
    for (number, order) in orders.iter().enumerate() {
        keys.push_str(&format!(", {} AS key{number}", column(order.field)));
        // Null is less than everything.
        let direction = if order.descending { "DESC NULLS LAST" } else { "ASC NULLS FIRST" };
        words.push(format!("key{number} {direction}"));
    }
    words.push(format!("id {}", if orders.is_empty() && descending { "DESC" } else { "ASC" }));
    (keys, words.join(", "))
}
