//! `$filter` as an expression, and its evaluation for a JSON object. `parser.rs` parses it.

mod parser;

use std::cmp::Ordering;

use serde_json::Value;
use uuid::Uuid;

use super::super::ApiTime;
use super::{invalid, property, quoted};
use performer_core::model::Refusal;
use performer_core::model::query::{Case, Comparison, TextMatch};

/// Properties that are names, which are compared without regard to case.
const NAMES: [&str; 8] = [
    "name",
    "displayname",
    "fullyqualifiedname",
    "fullname",
    "username",
    "emailaddress",
    "queuedefinitionname",
    "organizationunitfullyqualifiedname",
];

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    Compare(Operand, Comparison, Literal),
    In(Operand, Vec<Literal>),
    Text(Operand, TextMatch, String),
}

/// A property, and how its letter case is converted before it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand {
    pub path: String,
    pub letters: LetterCase,
}

/// The conversion of letter case before a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterCase {
    AsTheyAre,
    /// By `tolower` or `toupper`.
    In(Case),
    /// Case-insensitive, as names of queues and folders are compared.
    Folded,
}

/// A value in an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    Null,
    Bool(bool),
    Number(i64),
    Decimal(f64),
    Text(String),
    Time(ApiTime),
    Guid(Uuid),
}

impl Expression {
    /// Parses an expression.
    ///
    /// # Errors
    ///
    /// Code 1000 for an invalid expression.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        parser::parse(text)
    }

    /// Applies a function to every comparison and text match.
    ///
    /// # Errors
    ///
    /// The first error of `each`.
    pub(super) fn map_comparisons(
        self,
        each: &mut dyn FnMut(Self) -> Result<Self, Refusal>,
    ) -> Result<Self, Refusal> {
        let mut all = |parts: Vec<Self>| {
            parts.into_iter().map(|part| part.map_comparisons(each)).collect::<Result<_, _>>()
        };
        match self {
            Self::All(parts) => Ok(Self::All(all(parts)?)),
            Self::Any(parts) => Ok(Self::Any(all(parts)?)),
            Self::Not(part) => Ok(Self::Not(Box::new(part.map_comparisons(each)?))),
            one => each(one),
        }
    }

    /// The values of which a property has to have one, if the expression says that.
    pub fn one_of(&self, property: &str) -> Option<&[Literal]> {
        let is_meant = |operand: &Operand| operand.path.eq_ignore_ascii_case(property);
        match self {
            Self::All(parts) => parts.iter().find_map(|part| part.one_of(property)),
            Self::Compare(operand, Comparison::Equal, literal) if is_meant(operand) => {
                Some(std::slice::from_ref(literal))
            }
            Self::In(operand, literals) if is_meant(operand) => Some(literals),
            _ => None,
        }
    }

    /// Makes comparisons of names case-insensitive, as in the vendor's database.
    pub fn with_folded_names(self) -> Self {
        let fold = |operand: Operand| {
            let last = operand.path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
            let is_name = NAMES.contains(&last.as_str());
            if is_name { Operand { letters: LetterCase::Folded, ..operand } } else { operand }
        };
        let text = |operand: &Operand, text: String| {
            if operand.letters == LetterCase::Folded { text.to_lowercase() } else { text }
        };
        let literal = |operand: &Operand, value: Literal| match value {
            Literal::Text(value) => Literal::Text(text(operand, value)),
            other => other,
        };
        let folded = self.map_comparisons(&mut |one| {
            Ok(match one {
                Self::Compare(operand, comparison, value) => {
                    let operand = fold(operand);
                    let value = literal(&operand, value);
                    Self::Compare(operand, comparison, value)
                }
                Self::In(operand, values) => {
                    let operand = fold(operand);
                    let values = values.into_iter().map(|value| literal(&operand, value)).collect();
                    Self::In(operand, values)
                }
                Self::Text(operand, matching, wanted) => {
                    let operand = fold(operand);
                    let wanted = text(&operand, wanted);
                    Self::Text(operand, matching, wanted)
                }
                other => other,
            })
        });
        folded.unwrap_or_else(|_| unreachable!("this conversion cannot fail"))
    }

    /// Evaluates the expression for a JSON object. Null equals only null.
    ///
    /// # Errors
    ///
    /// Code 1000 for an unknown property, or one that cannot be compared with the value.
    pub fn holds(&self, object: &Value) -> Result<bool, Refusal> {
        Ok(match self {
            Self::All(parts) => {
                let mut all = true;
                for part in parts {
                    all &= part.holds(object)?;
                }
                all
            }
            Self::Any(parts) => {
                let mut any = false;
                for part in parts {
                    any |= part.holds(object)?;
                }
                any
            }
            Self::Not(part) => !part.holds(object)?,
            Self::Compare(operand, comparison, literal) => compare(operand, *comparison, literal, object)?,
            Self::In(operand, literals) => {
                let mut any = false;
                for literal in literals {
                    any |= compare(operand, Comparison::Equal, literal, object)?;
                }
                any
            }
            Self::Text(operand, matching, wanted) => match property(object, &operand.path)? {
                Value::String(text) => {
                    let text = operand.letters.of(text);
                    match matching {
                        TextMatch::Contains => text.contains(wanted.as_str()),
                        TextMatch::StartsWith => text.starts_with(wanted.as_str()),
                        TextMatch::EndsWith => text.ends_with(wanted.as_str()),
                    }
                }
                Value::Null => false,
                _ => return Err(invalid(format!("{} is not a text", quoted(&operand.path)))),
            },
        })
    }
}

impl LetterCase {
    fn of(self, text: &str) -> String {
        match self {
            Self::AsTheyAre => text.to_owned(),
            Self::In(case) => case.of(text),
            Self::Folded => text.to_lowercase(),
        }
    }
}

fn compare(
    operand: &Operand,
    comparison: Comparison,
    literal: &Literal,
    object: &Value,
) -> Result<bool, Refusal> {
    let value = property(object, &operand.path)?;
    let order = match (value, literal) {
        (Value::Null, Literal::Null) => Some(Ordering::Equal),
        (Value::Null, _) | (_, Literal::Null) => None,
        (Value::Bool(value), Literal::Bool(wanted)) => Some(value.cmp(wanted)),
        (Value::Number(value), Literal::Number(wanted)) => match value.as_i64() {
            Some(value) => Some(value.cmp(wanted)),
            None => value.as_f64().zip(Some(decimal(*wanted))).and_then(|(a, b)| a.partial_cmp(&b)),
        },
        (Value::Number(value), Literal::Decimal(wanted)) => {
            value.as_f64().and_then(|value| value.partial_cmp(wanted))
        }
        (Value::String(value), Literal::Text(wanted)) => Some(operand.letters.of(value).as_str().cmp(wanted)),
        (Value::String(value), Literal::Time(wanted)) => match ApiTime::parse(value) {
            Some(value) => Some(value.cmp(wanted)),
            None => return Err(no_such_value(operand)),
        },
        (Value::String(value), Literal::Guid(wanted)) => match Uuid::parse_str(value) {
            Ok(value) => Some(value.cmp(wanted)),
            Err(_) => return Err(no_such_value(operand)),
        },
        // Quoted booleans and numbers.
        (Value::Bool(value), Literal::Text(wanted)) => match wanted.parse::<bool>() {
            Ok(wanted) => Some(value.cmp(&wanted)),
            Err(_) => return Err(no_such_value(operand)),
        },
        (Value::Number(value), Literal::Text(wanted)) => match (value.as_i64(), wanted.parse::<i64>()) {
            (Some(value), Ok(wanted)) => Some(value.cmp(&wanted)),
            _ => return Err(no_such_value(operand)),
        },
        _ => return Err(no_such_value(operand)),
    };
    Ok(match comparison {
        Comparison::Equal => order == Some(Ordering::Equal),
        Comparison::NotEqual => order != Some(Ordering::Equal),
        Comparison::Less => order.is_some_and(Ordering::is_lt),
        Comparison::LessOrEqual => order.is_some_and(Ordering::is_le) && *value != Value::Null,
        Comparison::Greater => order.is_some_and(Ordering::is_gt),
        Comparison::GreaterOrEqual => order.is_some_and(Ordering::is_ge) && *value != Value::Null,
    })
}

#[expect(clippy::cast_precision_loss, reason = "compared with a number that is itself not exact")]
fn decimal(number: i64) -> f64 {
    number as f64
}

pub(super) fn no_such_value(operand: &Operand) -> Refusal {
    invalid(format!("{} cannot be compared with this value", quoted(&operand.path)))
}

#[cfg(test)]
mod tests;
