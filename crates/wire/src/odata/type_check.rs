//! Checks a filter for an entity set before it is evaluated, and converts its literals to the types of the properties.

use std::cmp::Ordering;

use serde_json::Value;
use uuid::Uuid;

use super::super::ApiTime;
use super::entity_set::EntitySet;
use super::entity_set::PropertyType::{self, Choice, Flag, Guid, Number, Text, Time};
use super::expression::{Expression, LetterCase, Literal, Operand, no_such_value};
use performer_core::model::Refusal;
use performer_core::model::query::Comparison;

impl EntitySet {
    /// Compares two values of a property; null comes first.
    pub(super) fn order(&self, path: &str, a: &Value, b: &Value) -> Ordering {
        match (a, b) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) => Ordering::Less,
            (_, Value::Null) => Ordering::Greater,
            (Value::Number(a), Value::Number(b)) => {
                a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
            }
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::String(a), Value::String(b)) => match self.kind(path) {
                Ok(Time) => ApiTime::parse(a).cmp(&ApiTime::parse(b)),
                Ok(Choice(names)) => position_of(names, a).cmp(&position_of(names, b)),
                _ => a.cmp(b),
            },
            _ => Ordering::Equal,
        }
    }

    /// Checks that every property exists and is compared with a value of its type, and converts the literals.
    ///
    /// # Errors
    ///
    /// Code 1000 for an unknown property, or one that is compared with a value of another type.
    pub(super) fn type_checked(&self, expression: Expression) -> Result<Expression, Refusal> {
        expression.map_comparisons(&mut |one| match one {
            Expression::Compare(operand, comparison, literal) => {
                let kind = self.kind(&operand.path)?;
                let literal = value_of(&operand, kind, literal)?;
                // Enumerations are ordered by number, not by name.
                let (Choice(names), false) =
                    (kind, matches!(comparison, Comparison::Equal | Comparison::NotEqual))
                else {
                    return Ok(Expression::Compare(operand, comparison, literal));
                };
                let wanted = match literal {
                    Literal::Text(name) => position_of(names, &name),
                    _ => None,
                };
                let is_among = |at: &usize| {
                    wanted.is_some_and(|wanted| match comparison {
                        Comparison::Less => *at < wanted,
                        Comparison::LessOrEqual => *at <= wanted,
                        Comparison::Greater => *at > wanted,
                        _ => *at >= wanted,
                    })
                };
                let among = (0..names.len()).filter(is_among);
                let among = among.map(|at| Literal::Text(names[at].to_owned())).collect();
                Ok(Expression::In(operand, among))
            }
            Expression::In(operand, literals) => {
                let kind = self.kind(&operand.path)?;
                let literals = literals.into_iter().map(|literal| value_of(&operand, kind, literal));
                let literals = literals.collect::<Result<_, _>>()?;
                Ok(Expression::In(operand, literals))
            }
            Expression::Text(operand, matching, wanted) => match self.kind(&operand.path)? {
                Text => Ok(Expression::Text(operand, matching, wanted)),
                _ => Err(no_such_value(&operand)),
            },
            other => Ok(other),
        })
    }
}

fn position_of(names: &[&str], name: &str) -> Option<usize> {
    names.iter().position(|known| known.eq_ignore_ascii_case(name))
}

/// Converts a literal to the type of a property.
fn value_of(operand: &Operand, kind: PropertyType, literal: Literal) -> Result<Literal, Refusal> {
    let wrong = || no_such_value(operand);
    if operand.letters != LetterCase::AsTheyAre && !matches!(kind, Text) {
        return Err(wrong());
    }
    match (kind, literal) {
        (_, Literal::Null) => Ok(Literal::Null),
        // Enumerations are names or numbers, with or without quotes.
        (Choice(names), Literal::Text(text)) => {
            let at = position_of(names, &text).or_else(|| text.trim().parse().ok());
            let name = at.and_then(|at| names.get(at)).ok_or_else(wrong)?;
            Ok(Literal::Text((*name).to_owned()))
        }
        (Choice(names), Literal::Number(number)) => {
            let name = usize::try_from(number).ok().and_then(|at| names.get(at)).ok_or_else(wrong)?;
            Ok(Literal::Text((*name).to_owned()))
        }
        (Number, literal @ (Literal::Number(_) | Literal::Decimal(_)))
        | (Flag, literal @ Literal::Bool(_))
        | (Time, literal @ Literal::Time(_))
        | (Guid, literal @ Literal::Guid(_))
        | (Text, literal @ Literal::Text(_)) => Ok(literal),
        (Number, Literal::Text(text)) => text.trim().parse().map(Literal::Number).map_err(|_| wrong()),
        (Flag, Literal::Text(text)) => {
            text.to_ascii_lowercase().parse().map(Literal::Bool).map_err(|_| wrong())
        }
        (Time, Literal::Text(text)) => ApiTime::parse(&text).map(Literal::Time).ok_or_else(wrong),
        (Guid, Literal::Text(text)) => Uuid::parse_str(&text).map(Literal::Guid).map_err(|_| wrong()),
        // Some clients write a text that looks like a GUID without quotes.
        (Text, Literal::Guid(guid)) => Ok(Literal::Text(guid.to_string())),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::entity_set::{USERS, USERS_OF_FOLDERS};
    use super::*;

    fn holds(filter: &str) -> Result<bool, String> {
        let user = json!({
            "Name": null, "UserName": "Ørsted", "Type": "Robot", "IsActive": true, "Id": 7,
            "CreationTime": "2026-01-02T00:00:00.5Z", "Key": "6f1c2d3a-5b55-4c55-9d52-0a6d0c0f5a11", "RolesList": [],
        });
        let typed = Expression::parse(filter).and_then(|expression| USERS.type_checked(expression));
        typed.and_then(|typed| typed.with_folded_names().holds(&user)).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn literals_are_accepted_in_the_formats_of_clients() {
        for filter in [
            "Type eq '1'",
            "Type eq 1",
            "type eq 'robot'",
            "Type ne '0' and Type in ('0',1)",
            "Type gt 'User' and Type le 1 and not (Type gt 1)",
            "IsActive eq true and IsActive eq 'True'",
            "Id eq '7' and Id lt 7.5",
            "CreationTime gt '2026-01-02T00:00:00Z' and CreationTime lt 2026-01-02T00:00:01Z",
            "Key eq '6F1C2D3A-5B55-4C55-9D52-0A6D0C0F5A11' and Key eq 6f1c2d3a-5b55-4c55-9d52-0a6d0c0f5a11",
            "contains(tolower(UserName), tolower('ØRS')) and UserName eq 'ørsted'",
            "Name eq null and RolesList ne null",
        ] {
            assert_eq!(holds(filter), Ok(true), "{filter}");
        }
    }

    #[test]
    fn wrong_types_are_refused_with_the_property() {
        for (filter, name) in [
            ("Nope eq 1", "Nope"),
            ("Name/First eq 'x'", "Name/First"),
            ("Type eq 'Chief'", "Type"),
            ("Type eq 6", "Type"),
            ("contains(Type,'Rob')", "Type"),
            ("tolower(Type) eq 'robot'", "Type"),
            ("Id eq 'x'", "Id"),
            ("IsActive eq 'maybe'", "IsActive"),
            ("CreationTime eq 'soon'", "CreationTime"),
            ("Key eq 'x'", "Key"),
            ("RolesList eq 'Administrator'", "RolesList"),
            ("length(Name) eq 1", "length"),
        ] {
            let refused = holds(filter).unwrap_err();
            assert!(refused.contains(&format!("{name:?}")), "{filter}: {refused}");
        }
    }

    #[test]
    fn times_and_enumerations_are_sorted_by_value() {
        let order = |path: &str, a: &str, b: &str| USERS.order(path, &json!(a), &json!(b));
        assert_eq!(order("creationtime", "2026-01-02T00:00:00Z", "2026-01-02T00:00:00.5Z"), Ordering::Less);
        assert_eq!(order("Type", "User", "DirectoryUser"), Ordering::Less);
        assert_eq!(order("UserName", "b", "a"), Ordering::Greater);
        assert_eq!(USERS.order("UserName", &Value::Null, &json!("a")), Ordering::Less);
        assert!(USERS.check_order("RolesList").is_err() && USERS.check_order("Nope").is_err());
        assert!(USERS_OF_FOLDERS.check_order("UserEntity/Type").is_ok() && USERS.has("rolesList"));
    }
}
