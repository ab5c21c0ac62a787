//! Writes `$filter` and `$orderby` for the client (orchestrator-api 4.1).

use performer_core::model::item::{ItemFilter, ReferenceFilter};
use performer_core::model::key::QueueId;
use performer_core::model::query::{Case, Comparison, Condition, Field, Order, TextMatch, Value};

/// A text literal.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The `$filter` for an item filter; `None` if it has no conditions. The queue is given by its id.
pub fn of_items(filter: &ItemFilter, queue: Option<QueueId>) -> Option<String> {
    let any_of = |field: &str, names: Vec<&str>| {
        let each: Vec<String> = names.iter().map(|name| format!("{field} eq {}", quoted(name))).collect();
        match each.len() {
            0 => None,
            1 => each.into_iter().next(),
            _ => Some(format!("({})", each.join(" or "))),
        }
    };
    let conditions = [
        queue.map(|queue| format!("QueueDefinitionId eq {queue}")),
        any_of("Status", filter.status.iter().map(|status| status.name()).collect()),
        any_of("ReviewStatus", filter.review_status.iter().map(|status| status.name()).collect()),
        filter.priority.map(|priority| format!("Priority eq {}", quoted(priority.name()))),
        filter.reference.as_ref().map(|reference| match reference {
            ReferenceFilter::Equals(text) => format!("Reference eq {}", quoted(text)),
            ReferenceFilter::StartsWith(text) => format!("startswith(Reference,{})", quoted(text)),
        }),
        filter.exception_type.map(|kind| format!("ProcessingExceptionType eq {}", quoted(kind.name()))),
        filter.key.map(|key| format!("Key eq {key}")),
        filter.created_from.map(|from| format!("CreationTime ge {}", super::ApiTime(from))),
        filter.created_before.map(|before| format!("CreationTime lt {}", super::ApiTime(before))),
        filter.condition.as_ref().map(condition),
    ];
    let conditions: Vec<String> = conditions.into_iter().flatten().collect();
    (!conditions.is_empty()).then(|| conditions.join(" and "))
}

/// Both filters, if there are two.
pub fn and(one: Option<String>, other: Option<String>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) => Some(format!("{one} and {other}")),
        (one, other) => one.or(other),
    }
}

/// A condition, with parentheses where they are needed.
pub fn condition(condition: &Condition) -> String {
    let joined = |all: &[Condition], word: &str, of_none: &str| {
        let each: Vec<String> = all.iter().map(self::condition).collect();
        if each.is_empty() { of_none.to_owned() } else { format!("({})", each.join(word)) }
    };
    match condition {
        // Conditions that are always or never true, on a field that every item has.
        Condition::All(all) => joined(all, " and ", "Id ne null"),
        Condition::Any(any) => joined(any, " or ", "Id eq null"),
        Condition::Not(inner) => format!("not ({})", self::condition(inner)),
        Condition::Compare(field, comparison, value) => {
            format!("{} {} {}", field.name(), word(*comparison), literal(*field, value))
        }
        Condition::Text(field, matching, text) => {
            format!("{}({},{})", function(*matching), field.name(), quoted(text))
        }
        Condition::CaseCompare(field, case, comparison, text) => {
            format!("{}({}) {} {}", in_case(*case), field.name(), word(*comparison), quoted(text))
        }
        Condition::CaseText(field, case, matching, text) => {
            format!("{}({}({}),{})", function(*matching), in_case(*case), field.name(), quoted(text))
        }
    }
}

fn word(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "eq",
        Comparison::NotEqual => "ne",
        Comparison::Less => "lt",
        Comparison::LessOrEqual => "le",
        Comparison::Greater => "gt",
        Comparison::GreaterOrEqual => "ge",
    }
}

fn in_case(case: Case) -> &'static str {
    match case {
        Case::Lower => "tolower",
        Case::Upper => "toupper",
    }
}

fn function(matching: TextMatch) -> &'static str {
    match matching {
        TextMatch::Contains => "contains",
        TextMatch::StartsWith => "startswith",
        TextMatch::EndsWith => "endswith",
    }
}

fn literal(field: Field, value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        // Enumerations travel as quoted names or quoted numbers.
        Value::Number(number) if field.is_enumeration() => quoted(&number.to_string()),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => quoted(text),
        Value::Time(at) => super::ApiTime(*at).to_string(),
        Value::Key(key) => key.to_string(),
    }
}

/// The `$orderby` of a list; the id is the last criterion.
pub fn order(orders: &[Order], descending: bool) -> String {
    let word = |descending: bool| if descending { "desc" } else { "asc" };
    let mut words: Vec<String> =
        orders.iter().map(|order| format!("{} {}", order.field.name(), word(order.descending))).collect();
    words.push(format!("Id {}", word(orders.is_empty() && descending)));
    words.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use performer_core::model::exception::ExceptionType;
    use performer_core::model::item::Priority;
    use performer_core::model::status::{ReviewStatus, Status};

    #[test]
    fn every_condition_is_written_as_documented() {
        assert_eq!(of_items(&ItemFilter::default(), None), None);
        let filter = ItemFilter::default()
            .status([Status::Failed, Status::Abandoned])
            .review_status([ReviewStatus::InReview])
            .priority(Priority::High)
            .reference(ReferenceFilter::StartsWith("O'Neil".to_owned()))
            .exception_type(ExceptionType::BusinessException)
            .key("1d9a1d3a-5b55-4c55-9d52-0a6d0c0f5a11".parse().unwrap())
            .created_from("2026-01-01T00:00:00Z".parse().unwrap())
            .created_before("2026-02-01T00:00:00Z".parse().unwrap());
        assert_eq!(
            of_items(&filter, Some(QueueId(5))).unwrap(),
            "QueueDefinitionId eq 5 and (Status eq 'Failed' or Status eq 'Abandoned') and ReviewStatus eq 'InReview' \
             and Priority eq 'High' and startswith(Reference,'O''Neil') and ProcessingExceptionType eq 'BusinessException' \
             and Key eq 1d9a1d3a-5b55-4c55-9d52-0a6d0c0f5a11 \
             and CreationTime ge 2026-01-01T00:00:00Z and CreationTime lt 2026-02-01T00:00:00Z"
        );
        let all = Condition::All(vec![
            Condition::Compare(Field::Status, Comparison::NotEqual, Value::Number(6)),
            Condition::Any(vec![
                Condition::Text(Field::Reference, TextMatch::EndsWith, "'".to_owned()),
                Condition::Not(Box::new(Condition::Compare(Field::DueDate, Comparison::Equal, Value::Null))),
                Condition::Any(Vec::new()),
            ]),
        ]);
        let other = ItemFilter::default().condition(all);
        assert_eq!(
            of_items(&other, None).unwrap(),
            "(Status ne '6' and (endswith(Reference,'''') or not (DueDate eq null) or Id eq null))"
        );
        let by_date = [Order { field: Field::DueDate, descending: true }];
        assert_eq!(order(&by_date, false), "DueDate desc,Id asc");
        assert_eq!(order(&[], true), "Id desc");
        let equals = ItemFilter::default().reference(ReferenceFilter::Equals("a".to_owned()));
        assert_eq!(of_items(&equals, None).unwrap(), "Reference eq 'a'");
    }
}
