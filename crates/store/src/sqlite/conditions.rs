//! Conditions on items, as SQL. The text of a statement is ours alone; every value is bound.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::Value as Bound;

use super::columns::micros;
use performer_core::model::query::{Case, Comparison, Condition, Field, Order, TextMatch, Value};

/// The joins for the columns below, in a statement that already has `item` and `item_state`.
pub(super) const COPIES: &str =
    " LEFT JOIN item_copy ON item_copy.item_id = iif(item.root_id IS NULL, NULL, item.id)";

/// The column of a field.
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
        Field::Reference => "item.reference",
        // The numbers of outcomes and of exception types are documented in the model.
        Field::ExceptionType => "CASE item_state.outcome WHEN 2 THEN 1 WHEN 3 THEN 0 END",
        Field::DueDate => "item.due_date",
        Field::DeferDate => "item.defer_date",
        Field::RiskSlaDate => "item.risk_sla_date",
        Field::CreationTime => "item.creation_time",
        Field::StartProcessing => "item_state.start_processing",
        // Until there is an outcome the column only reserves room.
        Field::EndProcessing => "iif(item_state.outcome IS NULL, NULL, item_state.end_processing)",
        Field::SecondsInPreviousAttempts => "coalesce(item_copy.seconds_in_previous_attempts, 0)",
        Field::RetryNumber => "coalesce(item_copy.retry_number, 0)",
        Field::ManualRetryNumber => "coalesce(item_copy.manual_retry_number, 0)",
        Field::AncestorId => "item_copy.ancestor_id",
        Field::ManualAncestorId => "item_copy.manual_ancestor_id",
        Field::Progress => "item_state.progress",
        Field::RobotId => "iif(item_state.holder IS NULL, NULL, item_state.robot_id)",
        Field::ExecutorJobKey => {
            "iif(item_state.holder IS NULL, NULL, \
             coalesce(item_state.executor, (SELECT job.key FROM job WHERE job.number = item_state.holder)))"
        }
        Field::CreatorJobKey => "item.creator_job",
        Field::OperationId => "item_state.operation_id",
        Field::ParentOperationId => "item.parent_operation_id",
        Field::RowVersion => "coalesce(item_state.row_version, 1)",
    }
}

/// Writes a condition, and appends its values to those already bound. The text is true or false, never null, so that it
/// can be negated.
pub(super) fn condition(condition: &Condition, values: &mut Vec<Bound>) -> String {
    match condition {
        Condition::All(all) => joined(all, " AND ", "1", values),
        Condition::Any(any) => joined(any, " OR ", "0", values),
        Condition::Not(inner) => format!("NOT {}", self::condition(inner, values)),
        // An id is never null; and said without a function around it, it is where a walk by id begins or ends.
        Condition::Compare(field @ Field::Id, comparison, value @ Value::Number(_)) => {
            let sign = match comparison {
                Comparison::Equal => "=",
                Comparison::NotEqual => "<>",
                Comparison::Less => "<",
                Comparison::LessOrEqual => "<=",
                Comparison::Greater => ">",
                Comparison::GreaterOrEqual => ">=",
            };
            format!("({} {sign} {})", column(*field), bind(value, values))
        }
        Condition::Compare(field, comparison, value) => {
            compare(column(*field), *comparison, &bind(value, values))
        }
        Condition::Text(field, matching, text) => {
            matches(column(*field), *matching, &bind(&Value::Text(text.clone()), values))
        }
        Condition::CaseCompare(field, case, comparison, text) => {
            let value = bind(&Value::Text(text.clone()), values);
            compare(&in_case(*case, *field), *comparison, &value)
        }
        Condition::CaseText(field, case, matching, text) => {
            let value = bind(&Value::Text(text.clone()), values);
            matches(&in_case(*case, *field), *matching, &value)
        }
    }
}

fn in_case(case: Case, field: Field) -> String {
    format!("{}({})", function(case), column(field))
}

/// SQLite's own `lower` and `upper` handle only ASCII letters.
const fn function(case: Case) -> &'static str {
    match case {
        Case::Lower => "performer_lower",
        Case::Upper => "performer_upper",
    }
}

/// Defines functions that handle the letters of every script.
pub(super) fn define_functions(connection: &Connection) -> rusqlite::Result<()> {
    for case in [Case::Lower, Case::Upper] {
        let flags = FunctionFlags::SQLITE_UTF8
            | FunctionFlags::SQLITE_DETERMINISTIC
            | FunctionFlags::SQLITE_INNOCUOUS;
        connection.create_scalar_function(function(case), 1, flags, move |context| {
            let text = context.get_raw(0).as_str_or_null()?;
            Ok(text.map(|text| case.of(text)))
        })?;
    }
    Ok(())
}

fn compare(column: &str, comparison: Comparison, value: &str) -> String {
    match comparison {
        // IS compares null too; the other operators would give null.
        Comparison::Equal => format!("({column} IS {value})"),
        Comparison::NotEqual => format!("({column} IS NOT {value})"),
        Comparison::Less => format!("coalesce({column} < {value}, 0)"),
        Comparison::LessOrEqual => format!("coalesce({column} <= {value}, 0)"),
        Comparison::Greater => format!("coalesce({column} > {value}, 0)"),
        Comparison::GreaterOrEqual => format!("coalesce({column} >= {value}, 0)"),
    }
}

fn matches(column: &str, matching: TextMatch, value: &str) -> String {
    match matching {
        TextMatch::Contains => format!("coalesce(instr({column}, {value}) > 0, 0)"),
        TextMatch::StartsWith => format!("coalesce(substr({column}, 1, length({value})) = {value}, 0)"),
        // From the end; an empty text would match the whole one.
        TextMatch::EndsWith => format!(
            "coalesce({column} IS NOT NULL AND ({value} = '' OR length({column}) >= length({value}) AND substr({column}, -length({value})) = {value}), 0)"
        ),
    }
}

fn joined(conditions: &[Condition], word: &str, of_none: &str, values: &mut Vec<Bound>) -> String {
    let written: Vec<String> = conditions.iter().map(|each| condition(each, values)).collect();
    if written.is_empty() { of_none.to_owned() } else { format!("({})", written.join(word)) }
}

fn bind(value: &Value, values: &mut Vec<Bound>) -> String {
    values.push(match value {
        Value::Null => Bound::Null,
        Value::Number(number) => (*number).into(),
        Value::Text(text) => text.clone().into(),
        Value::Time(at) => micros(*at).into(),
        Value::Key(key) => key.to_bytes().to_vec().into(),
    });
    format!("?{}", values.len())
}

/// The sort order of a list; ids decide between equal items.
pub(super) fn order(orders: &[Order], descending: bool) -> String {
    let direction = |descending: bool| if descending { "DESC" } else { "ASC" };
    let mut words: Vec<String> = orders
        .iter()
        .map(|order| format!("{} {}", column(order.field), direction(order.descending)))
        .collect();
    words.push(format!("item.id {}", direction(orders.is_empty() && descending)));
    words.join(", ")
}

/// For a list that is put together from the lists of its parts: the columns that each part adds to its ids, and the sort order of
/// the whole by them.
pub(super) fn order_of_parts(orders: &[Order], descending: bool) -> (String, String) {
    let direction = |descending: bool| if descending { "DESC" } else { "ASC" };
    let (mut keys, mut words) = (String::new(), Vec::new());
    for (number, order) in orders.iter().enumerate() {
        keys.push_str(&format!(", {} AS key{number}", column(order.field)));
        words.push(format!("key{number} {}", direction(order.descending)));
    }
    words.push(format!("id {}", direction(orders.is_empty() && descending)));
    (keys, words.join(", "))
}
