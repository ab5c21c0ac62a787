//! Conditions on items and sort orders, as SQL. The text of a statement is ours alone; every value is bound.

use std::borrow::Cow;

use super::dialect::{Bound, Dialect, Values};
use performer_core::model::query::{Case, Comparison, Condition, Field, Kind, Order, Value};

/// The column of a field.
fn column<D: Dialect>(field: Field) -> Cow<'static, str> {
    let column = match field {
        Field::Id => "item.id",
        Field::Key => "coalesce(item_copy.chain_key, item.unique_key)",
        Field::UniqueKey => "item.unique_key",
        Field::QueueId => "item.queue_id",
        Field::Status => "coalesce(item_state.status, 0)",
        Field::ReviewStatus => "coalesce(item_state.review_status, 0)",
        Field::ReviewerUserId => "item_state.reviewer_user_id",
        Field::Priority => "item.priority",
        Field::Reference => "item.reference",
        // The numbers of outcomes and of exception types are documented in the model.
        Field::ExceptionType => "(CASE item_state.outcome WHEN 2 THEN 1 WHEN 3 THEN 0 END)",
        Field::DueDate => "item.due_date",
        Field::DeferDate => "item.defer_date",
        Field::RiskSlaDate => "item.risk_sla_date",
        Field::CreationTime => "item.creation_time",
        Field::StartProcessing => "item_state.start_processing",
        Field::EndProcessing => D::END_PROCESSING,
        Field::SecondsInPreviousAttempts => "coalesce(item_copy.seconds_in_previous_attempts, 0)",
        Field::RetryNumber => "coalesce(item_copy.retry_number, 0)",
        Field::ManualRetryNumber => "coalesce(item_copy.manual_retry_number, 0)",
        Field::AncestorId => "item_copy.ancestor_id",
        Field::ManualAncestorId => "item_copy.manual_ancestor_id",
        Field::Progress => "item_state.progress",
        Field::RobotId => "(CASE WHEN item_state.holder IS NOT NULL THEN item_state.robot_id END)",
        Field::ExecutorJobKey => {
            "(CASE WHEN item_state.holder IS NOT NULL THEN \
             coalesce(item_state.executor, (SELECT job.key FROM job WHERE job.number = item_state.holder)) END)"
        }
        Field::CreatorJobKey => "item.creator_job",
        Field::OperationId => "item_state.operation_id",
        Field::ParentOperationId => "item.parent_operation_id",
        Field::RowVersion => "coalesce(item_state.row_version, 1)",
    };
    match field.kind() {
        Kind::Text if !D::BY_BYTES.is_empty() => format!("({column}{})", D::BY_BYTES).into(),
        _ => column.into(),
    }
}

/// Writes a condition, and appends its values to those already bound. The text is true or false, never null, so that it
/// can be negated.
pub(crate) fn condition<D: Dialect>(condition: &Condition, values: &mut Values) -> String {
    match condition {
        Condition::All(all) => joined::<D>(all, " AND ", "true", values),
        Condition::Any(any) => joined::<D>(any, " OR ", "false", values),
        Condition::Not(inner) => format!("NOT {}", self::condition::<D>(inner, values)),
        Condition::Compare(field, comparison, value) => {
            compare::<D>(&column::<D>(*field), *field, *comparison, value, values)
        }
        Condition::CaseCompare(field, case, comparison, wanted) => {
            let column = in_case::<D>(*case, *field, values);
            compare::<D>(&column, *field, *comparison, &Value::Text(wanted.clone()), values)
        }
        // Other fields contain no text.
        Condition::Text(field, ..) | Condition::CaseText(field, ..) if field.kind() != Kind::Text => {
            "false".to_owned()
        }
        Condition::Text(field, matching, wanted) => {
            let value = values.bind_text::<D>(wanted);
            format!("coalesce({}, false)", D::matches(&column::<D>(*field), *matching, &value))
        }
        Condition::CaseText(field, case, matching, wanted) => {
            let column = in_case::<D>(*case, *field, values);
            let value = values.bind_text::<D>(wanted);
            format!("coalesce({}, false)", D::matches(&column, *matching, &value))
        }
    }
}

fn in_case<D: Dialect>(case: Case, field: Field, values: &mut Values) -> String {
    let column = column::<D>(field);
    if field.kind() == Kind::Text { D::in_case(case, &column, values) } else { column.into_owned() }
}

fn compare<D: Dialect>(
    column: &str,
    field: Field,
    comparison: Comparison,
    value: &Value,
    values: &mut Values,
) -> String {
    let value = match (field.kind(), value) {
        (_, Value::Null) => {
            return match comparison {
                Comparison::Equal => format!("({column} IS NULL)"),
                Comparison::NotEqual => format!("({column} IS NOT NULL)"),
                _ => "false".to_owned(),
            };
        }
        (Kind::Number, Value::Number(number)) => values.bind::<D>(*number),
        (Kind::Text, Value::Text(wanted)) => values.bind_text::<D>(wanted),
        (Kind::Time, Value::Time(at)) => values.bind::<D>(Bound::Time(*at)),
        (Kind::Key, Value::Key(key)) => values.bind::<D>(Bound::Key(key.to_bytes())),
        // Values of two kinds are different, and have no order.
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
    // No function around the column: no index would be used. An id is never null, and where a walk begins or ends.
    match field {
        Field::Id => format!("({column} {sign} {value})"),
        _ => format!("({column} IS NOT NULL AND {column} {sign} {value})"),
    }
}

fn joined<D: Dialect>(conditions: &[Condition], word: &str, of_none: &str, values: &mut Values) -> String {
    let written: Vec<String> = conditions.iter().map(|each| condition::<D>(each, values)).collect();
    if written.is_empty() { of_none.to_owned() } else { format!("({})", written.join(word)) }
}

fn direction(descending: bool) -> &'static str {
    if descending { "DESC" } else { "ASC" }
}

/// The direction of a key. Null is less than everything. Where there is no null nothing is said of it, because PostgreSQL
/// would not use the index.
fn direction_of(order: &Order) -> &'static str {
    match (order.field, order.descending) {
        (Field::Id | Field::UniqueKey, descending) => direction(descending),
        (_, true) => "DESC NULLS LAST",
        (_, false) => "ASC NULLS FIRST",
    }
}

/// The sort order of a list; ids decide between equal items.
pub(crate) fn order<D: Dialect>(orders: &[Order], descending: bool) -> String {
    let key = |order: &Order| format!("{} {}, ", column::<D>(order.field), direction_of(order));
    let keys: String = orders.iter().map(key).collect();
    format!("{keys}item.id {}", direction(orders.is_empty() && descending))
}

/// For a list that is put together from the lists of its parts: the columns that each part adds to its ids, and the sort order of
/// the whole by them.
pub(crate) fn order_of_parts<D: Dialect>(orders: &[Order], descending: bool) -> (String, String) {
    let column = |(number, order): (usize, &Order)| format!(", {} AS key{number}", column::<D>(order.field));
    let key = |(number, order): (usize, &Order)| format!("key{number} {}, ", direction_of(order));
    let columns: String = orders.iter().enumerate().map(column).collect();
    let keys: String = orders.iter().enumerate().map(key).collect();
    (columns, format!("{keys}id {}", direction(orders.is_empty() && descending)))
}
