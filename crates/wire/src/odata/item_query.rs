//! Converts a filter and an order of items to a query of the store.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::expression::{Expression, LetterCase, Literal, Operand, no_such_value};
use super::{OrderBy, unknown_property};
use performer_core::model::Refusal;
use performer_core::model::key::{ItemId, ItemKey};
use performer_core::model::query::{Comparison, Condition, Field, Kind, Order, Value};
use performer_core::model::stored_time::stored;

/// The ids and names of entities that items refer to, for conditions on these names.
#[derive(Debug, Default)]
pub struct ReferencedNames {
    pub queues: Vec<(i64, String)>,
    pub robots: Vec<(i64, String)>,
    pub users: Vec<(i64, String)>,
}

/// Converts an expression to a condition.
///
/// # Errors
///
/// Code 1000 for an unknown property, or one that is compared with a value of another type.
pub fn condition(expression: &Expression, links: &ReferencedNames) -> Result<Condition, Refusal> {
    let each = |parts: &[Expression]| -> Result<Vec<Condition>, Refusal> {
        parts.iter().map(|part| condition(part, links)).collect()
    };
    let operand = match expression {
        Expression::All(parts) => return Ok(Condition::All(each(parts)?)),
        Expression::Any(parts) => return Ok(Condition::Any(each(parts)?)),
        Expression::Not(part) => return Ok(Condition::Not(Box::new(condition(part, links)?))),
        Expression::Compare(operand, ..) | Expression::In(operand, _) | Expression::Text(operand, ..) => {
            operand
        }
    };
    if let Some((field, names)) = link(operand, links) {
        return linked(expression, operand, field, names);
    }
    let field = Field::named(&operand.path).ok_or_else(|| unknown_property(&operand.path))?;
    if operand.letters != LetterCase::AsTheyAre && field.kind() != Kind::Text {
        return Err(no_such_value(operand));
    }
    match expression {
        Expression::Compare(_, comparison, literal) => compare(operand, field, *comparison, literal),
        Expression::In(_, literals) => {
            let each = literals.iter().map(|literal| compare(operand, field, Comparison::Equal, literal));
            Ok(Condition::Any(each.collect::<Result<_, _>>()?))
        }
        Expression::Text(_, matching, text) if field.kind() == Kind::Text => Ok(match operand.letters {
            LetterCase::In(case) => Condition::CaseText(field, case, *matching, text.clone()),
            LetterCase::AsTheyAre | LetterCase::Folded => Condition::Text(field, *matching, text.clone()),
        }),
        _ => Err(no_such_value(operand)),
    }
}

/// What an expression on entities that belong to items says of these items: `property` is where the entities name their
/// item. Entities of other items do not fulfil the expression; those of these may or may not. `None`: it says nothing.
///
/// # Errors
///
/// Code 1000 for a value that is no number.
pub fn said_of_items(expression: &Expression, property: &str) -> Result<Option<Condition>, Refusal> {
    let is_item = |operand: &Operand| operand.path.eq_ignore_ascii_case(property);
    let each = |parts: &[Expression]| -> Result<Vec<Option<Condition>>, Refusal> {
        parts.iter().map(|part| said_of_items(part, property)).collect()
    };
    Ok(match expression {
        Expression::All(parts) => {
            let said: Vec<Condition> = each(parts)?.into_iter().flatten().collect();
            (!said.is_empty()).then_some(Condition::All(said))
        }
        // An alternative that says nothing may be fulfilled whatever the item.
        Expression::Any(parts) => each(parts)?.into_iter().collect::<Option<_>>().map(Condition::Any),
        Expression::Compare(operand, comparison, literal) if is_item(operand) => {
            Some(compare(operand, Field::Id, *comparison, literal)?)
        }
        Expression::In(operand, literals) if is_item(operand) => {
            let each = literals.iter().map(|literal| compare(operand, Field::Id, Comparison::Equal, literal));
            Some(Condition::Any(each.collect::<Result<_, _>>()?))
        }
        Expression::Not(_) | Expression::Compare(..) | Expression::In(..) | Expression::Text(..) => None,
    })
}

/// The ids of which an item must have one, if a condition says that.
pub fn ids(condition: &Condition) -> Option<Vec<ItemId>> {
    match condition {
        Condition::All(parts) => parts.iter().find_map(ids),
        other => Some(other.one_of(Field::Id)?.into_iter().map(ItemId).collect()),
    }
}

/// What a list of items is sorted by.
///
/// # Errors
///
/// Code 1000 for an unknown property.
pub fn order(orders: &[OrderBy]) -> Result<Vec<Order>, Refusal> {
    let field = |name: &str| Field::named(name).ok_or_else(|| unknown_property(name));
    orders.iter().map(|by| Ok(Order { field: field(&by.property)?, descending: by.descending })).collect()
}

fn compare(
    operand: &Operand,
    field: Field,
    comparison: Comparison,
    literal: &Literal,
) -> Result<Condition, Refusal> {
    let wrong = || no_such_value(operand);
    let exactly = |value: Value| Ok(Condition::Compare(field, comparison, value));
    match (field.kind(), literal) {
        (_, Literal::Null) => exactly(Value::Null),
        (Kind::Number, Literal::Number(number)) => exactly(Value::Number(*number)),
        (Kind::Number, Literal::Decimal(number)) => Ok(between(field, comparison, *number)),
        // Enumerations are quoted names or numbers.
        (Kind::Number, Literal::Text(text)) => {
            let number = if field.is_enumeration() { field.number_of(text) } else { text.parse().ok() };
            exactly(Value::Number(number.ok_or_else(wrong)?))
        }
        (Kind::Text, Literal::Text(text)) => match operand.letters {
            LetterCase::In(case) => Ok(Condition::CaseCompare(field, case, comparison, text.clone())),
            LetterCase::AsTheyAre | LetterCase::Folded => exactly(Value::Text(text.clone())),
        },
        (Kind::Time, Literal::Time(at)) => Ok(at_time(field, comparison, at.0)),
        (Kind::Time, Literal::Text(text)) => {
            let at = super::super::ApiTime::parse(text).ok_or_else(wrong)?;
            Ok(at_time(field, comparison, at.0))
        }
        (Kind::Key, Literal::Guid(guid)) => exactly(Value::Key(ItemKey::from_bytes(guid.into_bytes()))),
        (Kind::Key, Literal::Text(text)) => exactly(Value::Key(text.parse().map_err(|_| wrong())?)),
        _ => Err(wrong()),
    }
}

/// Compares an integer field with a decimal number.
fn between(field: Field, comparison: Comparison, number: f64) -> Condition {
    #[expect(clippy::cast_possible_truncation, reason = "a number that is too large ends at the largest one")]
    let below = number.floor() as i64;
    #[expect(clippy::float_cmp, reason = "whether it is a whole number")]
    let is_whole = number.floor() == number;
    if is_whole {
        return Condition::Compare(field, comparison, Value::Number(below));
    }
    around(field, comparison, Value::Number(below))
}

/// Compares a time field with a time that may be more precise than stored times.
fn at_time(field: Field, comparison: Comparison, at: Timestamp) -> Condition {
    let below = stored(at);
    if below == at {
        return Condition::Compare(field, comparison, Value::Time(at));
    }
    let below = if below > at { below - std::time::Duration::from_micros(1) } else { below };
    around(field, comparison, Value::Time(below))
}

/// Compares a field with something between `below` and the next value.
fn around(field: Field, comparison: Comparison, below: Value) -> Condition {
    match comparison {
        Comparison::Equal => Condition::Any(Vec::new()),
        Comparison::NotEqual => Condition::All(Vec::new()),
        Comparison::Less | Comparison::LessOrEqual => {
            Condition::Compare(field, Comparison::LessOrEqual, below)
        }
        Comparison::Greater | Comparison::GreaterOrEqual => {
            Condition::Compare(field, Comparison::Greater, below)
        }
    }
}

/// The names that a path refers to, and the field with their ids.
fn link<'a>(operand: &Operand, links: &'a ReferencedNames) -> Option<(Field, &'a [(i64, String)])> {
    let is = |path: &str| operand.path.eq_ignore_ascii_case(path);
    if is("QueueDefinition/Name") || is("QueueDefinitionName") {
        Some((Field::QueueId, &links.queues))
    } else if is("Robot/Name") {
        Some((Field::RobotId, &links.robots))
    } else if is("ReviewerUser/UserName") {
        Some((Field::ReviewerUserId, &links.users))
    } else {
        None
    }
}

/// Converts a condition on a name to one on the ids of the matching entities.
fn linked(
    expression: &Expression,
    operand: &Operand,
    field: Field,
    names: &[(i64, String)],
) -> Result<Condition, Refusal> {
    // Evaluated for an object with the name at the path of the operand.
    let holds = |expression: &Expression, name: Json| {
        let object = match operand.path.split_once('/') {
            Some((first, second)) => json!({ first: { second: name } }),
            None => json!({ operand.path.as_str(): name }),
        };
        expression.holds(&object)
    };
    let expression = expression.clone().with_folded_names();
    let holds = |name: Json| holds(&expression, name);
    let mut any = Vec::new();
    for (number, name) in names {
        if holds(Json::from(name.as_str()))? {
            any.push(Condition::Compare(field, Comparison::Equal, Value::Number(*number)));
        }
    }
    if holds(Json::Null)? {
        any.push(Condition::Compare(field, Comparison::Equal, Value::Null));
    }
    Ok(Condition::Any(any))
}

#[cfg(test)]
mod tests {
    use super::*;
    use performer_core::model::query::{Case, TextMatch};

    fn links() -> ReferencedNames {
        ReferencedNames {
            queues: vec![(7, "Invoices".to_owned()), (8, "Payroll".to_owned())],
            robots: vec![(3, "R1".to_owned())],
            users: vec![(4, "ann".to_owned())],
        }
    }

    fn of(filter: &str) -> Result<Condition, Refusal> {
        condition(&Expression::parse(filter)?, &links())
    }

    #[test]
    fn expressions_are_converted_to_conditions() {
        let is = |field, value| Condition::Compare(field, Comparison::Equal, value);
        let number = |field, number| is(field, Value::Number(number));
        for (filter, expected) in [
            ("status eq 'failed'", number(Field::Status, 2)),
            ("Status eq '2'", number(Field::Status, 2)),
            ("Priority eq 0", number(Field::Priority, 0)),
            ("queuedefinitionid eq 5", number(Field::QueueId, 5)),
            ("Reference eq null", is(Field::Reference, Value::Null)),
            ("Id in (1,2)", Condition::Any(vec![number(Field::Id, 1), number(Field::Id, 2)])),
            ("QueueDefinition/Name eq 'Invoices'", Condition::Any(vec![number(Field::QueueId, 7)])),
            ("QueueDefinitionName eq 'Payroll'", Condition::Any(vec![number(Field::QueueId, 8)])),
            (
                "tolower(QueueDefinition/Name) in ('invoices')",
                Condition::Any(vec![number(Field::QueueId, 7)]),
            ),
            ("Robot/Name ne 'R1'", Condition::Any(vec![is(Field::RobotId, Value::Null)])),
            (
                "tolower(Reference) eq 'inv'",
                Condition::CaseCompare(Field::Reference, Case::Lower, Comparison::Equal, "inv".to_owned()),
            ),
            (
                "toupper(Reference) lt toupper('Ørsted')",
                Condition::CaseCompare(Field::Reference, Case::Upper, Comparison::Less, "ØRSTED".to_owned()),
            ),
            (
                "startswith(toupper(Reference),'INV')",
                Condition::CaseText(Field::Reference, Case::Upper, TextMatch::StartsWith, "INV".to_owned()),
            ),
            ("RetryNumber eq 1.5", Condition::Any(Vec::new())),
            (
                "RetryNumber lt 1.5",
                Condition::Compare(Field::RetryNumber, Comparison::LessOrEqual, Value::Number(1)),
            ),
            (
                "CreationTime gt 2026-01-01T00:00:00.0000001Z",
                Condition::Compare(
                    Field::CreationTime,
                    Comparison::Greater,
                    Value::Time("2026-01-01T00:00:00Z".parse().unwrap()),
                ),
            ),
        ] {
            assert_eq!(of(filter), Ok(expected), "{filter}");
        }
    }

    #[test]
    fn what_is_said_of_items_is_found() {
        let is = |comparison, number| Condition::Compare(Field::Id, comparison, Value::Number(number));
        let equals = |number| is(Comparison::Equal, number);
        for (filter, expected) in [
            ("ItemId eq 1", Some(equals(1))),
            ("2 lt itemid", Some(is(Comparison::Greater, 2))),
            ("ItemId eq '3' and Text ne 'x'", Some(Condition::All(vec![equals(3)]))),
            ("ItemId in (1,2)", Some(Condition::Any(vec![equals(1), equals(2)]))),
            ("ItemId eq 1 or (Id eq 9 and ItemId eq 2)", {
                Some(Condition::Any(vec![equals(1), Condition::All(vec![equals(2)])]))
            }),
            ("ItemId eq 1 or Id eq 2", None),
            ("not (ItemId eq 1)", None),
            ("Id eq 1 and contains(Text,'ItemId')", None),
        ] {
            let said = said_of_items(&Expression::parse(filter).unwrap(), "ItemId");
            assert_eq!(said, Ok(expected), "{filter}");
        }
        assert!(said_of_items(&Expression::parse("ItemId eq 'x'").unwrap(), "ItemId").is_err());
    }

    #[test]
    fn the_ids_that_are_named_are_found() {
        let named = |filter: &str| {
            let said = said_of_items(&Expression::parse(filter).unwrap(), "ItemId").unwrap();
            said.and_then(|said| ids(&said)).map(|ids| ids.into_iter().map(|id| id.0).collect::<Vec<_>>())
        };
        assert_eq!(named("ItemId eq 7"), Some(vec![7]));
        assert_eq!(named("ItemId gt 1 and ItemId in (1,2) and Text eq 'x'"), Some(vec![1, 2]));
        for all in ["ItemId gt 1", "ItemId eq 1 or ItemId gt 2", "ItemId ne 1", "Text eq 'x'"] {
            assert_eq!(named(all), None, "{all}");
        }
    }

    #[test]
    fn unknown_properties_of_items_are_refused() {
        for filter in [
            "Cat eq 1",
            "Status eq 'Done'",
            "Id eq 'x'",
            "contains(Id,'1')",
            "contains(DueDate,'1')",
            "tolower(Id) eq 'a'",
            "Key eq 5",
            "Reference eq 5",
            "Reference eq true",
            "CreationTime eq 'soon'",
            "SpecificContent eq 'x'",
            "ProcessingException/Reason eq 'x'",
            "Reference/x eq 'x'",
            "QueueDefinition/Name eq 5",
        ] {
            assert!(of(filter).is_err(), "{filter}");
        }
        let by = |name: &str| order(&[OrderBy { property: name.to_owned(), descending: true }]);
        assert_eq!(by("defERDATE"), Ok(vec![Order { field: Field::DeferDate, descending: true }]));
        assert!(by("Cat").is_err() && by("Robot/Name").is_err());
    }
}
