//! `$filter`: the parser, and the evaluation for a JSON object. Over 500 lines, because the grammar and the tests of valid and
//! invalid expressions are kept together.
//!
//! ```text
//! or         = and *( "or" and )
//! and        = unary *( "and" unary )
//! unary      = "not" unary / "(" or ")" / match / comparison
//! match      = ( "contains" / "startswith" / "endswith" ) "(" operand "," text ")" [ "eq" ( "true" / "false" ) ]
//! comparison = operand ( "eq" / "ne" / "lt" / "le" / "gt" / "ge" ) literal / literal comparison-operator operand
//!            / operand "in" "(" literal *( "," literal ) ")"
//! operand    = path / ( "tolower" / "toupper" ) "(" path ")"
//! literal    = "null" / "true" / "false" / number / date / guid / text
//! text       = quoted text / ( "tolower" / "toupper" ) "(" text ")"
//! ```
//!
//! Keywords are case-insensitive. At most 100 comparisons, 16 levels of brackets, 100 values in a list.

use std::cmp::Ordering;

use serde_json::Value;
use uuid::Uuid;

use super::super::ApiTime;
use super::lexer::{Token, is_path, tokens};
use super::{invalid, property, quoted};
use performer_core::model::Refusal;
use performer_core::model::query::{Case, Comparison, TextMatch};

/// The maximum number of comparisons in one filter (orchestrator-api 4.1).
const MAX_EXPRESSIONS: usize = 100;
/// The maximum nesting of brackets.
const MAX_DEPTH: usize = 16;
/// The maximum number of values in one list.
const MAX_VALUES: usize = 100;

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
        let mut parser = Parser { tokens: tokens(text)?, at: 0, expressions: 0, depth: 0 };
        let expression = parser.or()?;
        match parser.next() {
            None => Ok(expression),
            Some(token) => Err(unexpected(&token)),
        }
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

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    expressions: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn needed(&mut self) -> Result<Token, Refusal> {
        self.next().ok_or_else(|| invalid("$filter ends too early".to_owned()))
    }

    fn expect(&mut self, wanted: &Token) -> Result<(), Refusal> {
        let token = self.needed()?;
        if token == *wanted { Ok(()) } else { Err(unexpected(&token)) }
    }

    /// Consumes a keyword if it is next.
    fn keyword(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted));
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Result<Expression, Refusal> {
        let mut parts = vec![self.and()?];
        while self.keyword("or") {
            parts.push(self.and()?);
        }
        Ok(if parts.len() > 1 { Expression::Any(parts) } else { parts.remove(0) })
    }

    fn and(&mut self) -> Result<Expression, Refusal> {
        let mut parts = vec![self.unary()?];
        while self.keyword("and") {
            parts.push(self.unary()?);
        }
        Ok(if parts.len() > 1 { Expression::All(parts) } else { parts.remove(0) })
    }

    fn unary(&mut self) -> Result<Expression, Refusal> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(invalid(format!("$filter is nested deeper than {MAX_DEPTH} levels")));
        }
        let expression = if self.keyword("not") {
            Expression::Not(Box::new(self.unary()?))
        } else if self.peek() == Some(&Token::Open) {
            self.at += 1;
            let inner = self.or()?;
            self.expect(&Token::Close)?;
            inner
        } else {
            self.expressions += 1;
            if self.expressions > MAX_EXPRESSIONS {
                return Err(invalid(format!("$filter has more than {MAX_EXPRESSIONS} expressions")));
            }
            self.comparison()?
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn comparison(&mut self) -> Result<Expression, Refusal> {
        let first = self.needed()?;
        if let Token::Word(word) = &first
            && self.peek() == Some(&Token::Open)
            && let Some(matching) = text_match(word)
        {
            return self.text_match(matching);
        }
        let operand = match self.term(&first)? {
            Term::Operand(operand) => operand,
            Term::Literal(literal) => {
                // A literal on the left, as in 5 eq Id.
                let comparison = self.comparison_word()?.ok_or_else(|| unexpected(&first))?;
                let operand = self.needed_operand()?;
                return Ok(Expression::Compare(operand, mirrored(comparison), literal));
            }
        };
        match self.comparison_word()? {
            Some(comparison) => Ok(Expression::Compare(operand, comparison, self.needed_literal()?)),
            None => {
                self.expect(&Token::Open)?;
                let mut literals = Vec::new();
                loop {
                    literals.push(self.needed_literal()?);
                    if literals.len() > MAX_VALUES {
                        return Err(invalid(format!("a list has more than {MAX_VALUES} values")));
                    }
                    match self.needed()? {
                        Token::Comma => {}
                        Token::Close => return Ok(Expression::In(operand, literals)),
                        other => return Err(unexpected(&other)),
                    }
                }
            }
        }
    }

    fn text_match(&mut self, matching: TextMatch) -> Result<Expression, Refusal> {
        self.expect(&Token::Open)?;
        let operand = self.needed_operand()?;
        self.expect(&Token::Comma)?;
        let Literal::Text(text) = self.needed_literal()? else {
            return Err(invalid("a text in quotes is expected".to_owned()));
        };
        self.expect(&Token::Close)?;
        let expression = Expression::Text(operand, matching, text);
        if !self.keyword("eq") {
            return Ok(expression);
        }
        match self.needed()? {
            Token::Word(word) if word.eq_ignore_ascii_case("true") => Ok(expression),
            Token::Word(word) if word.eq_ignore_ascii_case("false") => {
                Ok(Expression::Not(Box::new(expression)))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The comparison operator; `None` for `in`.
    fn comparison_word(&mut self) -> Result<Option<Comparison>, Refusal> {
        let token = self.needed()?;
        let Token::Word(word) = &token else { return Err(unexpected(&token)) };
        Ok(Some(match word.to_ascii_lowercase().as_str() {
            "eq" => Comparison::Equal,
            "ne" => Comparison::NotEqual,
            "lt" => Comparison::Less,
            "le" => Comparison::LessOrEqual,
            "gt" => Comparison::Greater,
            "ge" => Comparison::GreaterOrEqual,
            "in" => return Ok(None),
            _ => return Err(unexpected(&token)),
        }))
    }

    fn needed_operand(&mut self) -> Result<Operand, Refusal> {
        let token = self.needed()?;
        match self.term(&token)? {
            Term::Operand(operand) => Ok(operand),
            Term::Literal(_) => Err(unexpected(&token)),
        }
    }

    fn needed_literal(&mut self) -> Result<Literal, Refusal> {
        let token = self.needed()?;
        match self.term(&token)? {
            Term::Literal(literal) => Ok(literal),
            Term::Operand(_) => Err(unexpected(&token)),
        }
    }

    /// A property or a literal, with `tolower` or `toupper` around it.
    fn term(&mut self, token: &Token) -> Result<Term, Refusal> {
        if let Token::Word(word) = token
            && self.peek() == Some(&Token::Open)
        {
            let case = match word.to_ascii_lowercase().as_str() {
                "tolower" => Case::Lower,
                "toupper" => Case::Upper,
                _ => return Err(invalid(format!("there is no function {}", quoted(word)))),
            };
            self.at += 1;
            let inner = self.needed()?;
            self.expect(&Token::Close)?;
            return match inner {
                Token::Text(None, text) => Ok(Term::Literal(Literal::Text(case.of(&text)))),
                Token::Word(path) if is_path(&path) => {
                    Ok(Term::Operand(Operand { path, letters: LetterCase::In(case) }))
                }
                other => Err(unexpected(&other)),
            };
        }
        if let Some(literal) = literal(token)? {
            return Ok(Term::Literal(literal));
        }
        match token {
            Token::Word(word) if is_path(word) => {
                Ok(Term::Operand(Operand { path: word.clone(), letters: LetterCase::AsTheyAre }))
            }
            _ => Err(unexpected(token)),
        }
    }
}

/// One side of a comparison.
enum Term {
    Operand(Operand),
    Literal(Literal),
}

fn text_match(word: &str) -> Option<TextMatch> {
    Some(match word.to_ascii_lowercase().as_str() {
        "contains" => TextMatch::Contains,
        "startswith" => TextMatch::StartsWith,
        "endswith" => TextMatch::EndsWith,
        _ => return None,
    })
}

/// The literal of a token; `None` if it is not a literal.
fn literal(token: &Token) -> Result<Option<Literal>, Refusal> {
    let (word, text) = match token {
        Token::Text(None, text) => return Ok(Some(Literal::Text(text.clone()))),
        Token::Text(Some(kind), text) => (kind.to_ascii_lowercase(), text),
        Token::Word(word) => return Ok(bare_literal(word)),
        Token::Open | Token::Close | Token::Comma => return Ok(None),
    };
    let wrong = || invalid(format!("{} is not a {word}", quoted(text)));
    Ok(Some(match word.as_str() {
        "guid" => Literal::Guid(Uuid::parse_str(text).map_err(|_| wrong())?),
        "datetime" | "datetimeoffset" => Literal::Time(ApiTime::parse(text).ok_or_else(wrong)?),
        // A value of an enumeration with the name of its type as prefix.
        kind if kind.contains('.') => Literal::Text(text.clone()),
        _ => return Err(invalid(format!("there are no values of the kind {}", quoted(&word)))),
    }))
}

fn bare_literal(word: &str) -> Option<Literal> {
    match word {
        _ if word.eq_ignore_ascii_case("null") => return Some(Literal::Null),
        _ if word.eq_ignore_ascii_case("true") => return Some(Literal::Bool(true)),
        _ if word.eq_ignore_ascii_case("false") => return Some(Literal::Bool(false)),
        _ => {}
    }
    if let Ok(guid) = Uuid::parse_str(word)
        && word.len() == 36
    {
        return Some(Literal::Guid(guid));
    }
    if !word.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') {
        return None;
    }
    if let Ok(number) = word.parse::<i64>() {
        return Some(Literal::Number(number));
    }
    let is_decimal = word.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E'));
    match word.parse::<f64>() {
        Ok(number) if is_decimal && number.is_finite() => Some(Literal::Decimal(number)),
        _ => date(word).map(Literal::Time),
    }
}

/// A date, with or without a time of day.
fn date(word: &str) -> Option<ApiTime> {
    let date = word.as_bytes();
    let begins_as_one = date.len() >= 10 && date[4] == b'-' && date[7] == b'-';
    if !begins_as_one {
        return None;
    }
    if date.len() == 10 { ApiTime::parse(&format!("{word}T00:00:00Z")) } else { ApiTime::parse(word) }
}

/// The equivalent comparison with swapped sides.
fn mirrored(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Equal => Comparison::Equal,
        Comparison::NotEqual => Comparison::NotEqual,
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
    }
}

fn unexpected(token: &Token) -> Refusal {
    let shown = match token {
        Token::Open => "'('".to_owned(),
        Token::Close => "')'".to_owned(),
        Token::Comma => "','".to_owned(),
        Token::Word(word) | Token::Text(_, word) => quoted(word),
    };
    invalid(format!("$filter: {shown} is not expected"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(filter: &str) -> Result<bool, String> {
        let object = json!({
            "Id": 7, "Name": "O'Neil", "Ratio": 1.5, "On": true, "Nothing": null, "Status": "New",
            "Key": "6f1c2d3a-5b55-4c55-9d52-0a6d0c0f5a11", "At": "2026-01-02T00:00:00Z",
            "Queue": {"Name": "Invoices"}, "Robot": null, "Town": "Ørsted",
        });
        let expression = Expression::parse(filter).map_err(|refusal| refusal.to_string())?;
        expression.holds(&object).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn the_documented_grammar_is_parsed() {
        for filter in [
            "Id eq 7",
            "ID EQ 7",
            "7 eq id",
            "8 gt Id and 7 le Id",
            "Id in (1,2,7)",
            "Id in ( 7 )",
            "Name eq 'O''Neil'",
            "contains(Name,'Nei')",
            "startswith(Name, 'O''') eq true",
            "endswith(name,'l') and not endswith(Name,'x')",
            "startswith(Name,'x') eq false",
            "tolower(Name) eq 'o''neil'",
            "contains(toupper(Name),'NEIL')",
            "contains(tolower(Name), tolower('NEIL'))",
            "tolower('O''NEIL') eq tolower(Name) and tolower(Name) in (tolower('X'), toLower('O''Neil'))",
            "tolower(Town) eq 'ørsted' and toupper(Town) eq toupper('ørsted')",
            "Ratio gt 1 and Ratio lt 1.6 and Ratio eq 1.5",
            "On eq true and On ne false and On eq 'true'",
            "Nothing eq null and Id ne null and not (Nothing ne null)",
            "not (Nothing lt 5) and not (Nothing ge 5)",
            "Key eq 6f1c2d3a-5b55-4c55-9d52-0a6d0c0f5a11",
            "Key eq guid'6F1C2D3A-5B55-4C55-9D52-0A6D0C0F5A11'",
            "At ge 2026-01-01T00:00:00Z and At lt 2026-01-03",
            "At eq 2026-01-02T02:00:00.000+02:00",
            "At le datetime'2026-01-02T00:00:00'",
            "Queue/Name eq 'Invoices'",
            "Robot/Name eq null",
            "Status eq UiPath.Core.Status'New'",
            "Id eq 1 or Id eq 7 and Name ne 'x'",
            "(Id eq 1 or Id eq 7) and (Name ne 'x')",
            "Id gt -5",
        ] {
            assert_eq!(holds(filter), Ok(true), "{filter}");
        }
        for filter in ["Id eq 8", "not (Id eq 7)", "Nothing gt 1", "Name eq ''", "Id in (1,2)"] {
            assert_eq!(holds(filter), Ok(false), "{filter}");
        }
    }

    #[test]
    fn invalid_expressions_are_refused() {
        for filter in [
            "",
            "Id",
            "Id eq",
            "eq 7",
            "Id eq 7 and",
            "(Id eq 7",
            "Id eq 7)",
            "Id eq 'x",
            "Id = 7",
            "Id eq 7;",
            "Id eq eq",
            "Id in ()",
            "Id in (1,",
            "Id in 1",
            "contains(Name)",
            "contains(Name,5)",
            "concat(Name,'x') eq 'y'",
            "length(Name) eq 1",
            "tolower(5) eq 'x'",
            "tolower('x') eq 'x'",
            "tolower(tolower(Name)) eq 'x'",
            "contains('x',Name)",
            "Id eq Name",
            "7 eq 7",
            "Name eq guid'x'",
            "Name eq cat'x'",
            "Queue/any(x:x eq 1)",
            "a/b/c/d eq 1",
            "1a eq 1",
            "Id eq 1 1",
            "Id eq 99999999999999999999x",
            "\u{0} eq 1",
            "Id eq ‘7’",
            "Id eq 7 -- x",
            "Id eq 7 || 1",
            "not",
            "Name eq \"x\"",
            "Key eq 5",
            "Id eq 'x'",
            "Cat eq 1",
            "On eq 'maybe'",
            "At eq 'x' and At gt 5",
        ] {
            assert!(holds(filter).is_err(), "{filter}");
        }
    }

    #[test]
    fn names_are_compared_without_regard_to_case() {
        let object = json!({"Name": "Ärger", "Reference": "Ä"});
        let holds =
            |filter: &str| Expression::parse(filter).unwrap().with_folded_names().holds(&object).unwrap();
        assert!(holds("Name eq 'ÄRGER'") && holds("name in ('x','ärger')") && holds("contains(Name,'RG')"));
        assert!(holds("tolower(Name) eq 'ÄRGER'") && holds("contains(tolower(Name), tolower('RG'))"));
        assert!(
            !holds("Name ne 'ÄRGER'") && !holds("Reference eq 'ä'") && !holds("not startswith(Name,'är')")
        );
    }

    #[test]
    fn expressions_have_limits() {
        let comparisons = |count: usize| vec!["Id eq 7"; count].join(" and ");
        assert_eq!(holds(&comparisons(MAX_EXPRESSIONS)), Ok(true));
        assert!(holds(&comparisons(MAX_EXPRESSIONS + 1)).unwrap_err().contains("more than 100"));
        let nested = |depth: usize| format!("{}Id eq 7{}", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(holds(&nested(MAX_DEPTH - 1)), Ok(true));
        assert!(holds(&nested(MAX_DEPTH)).unwrap_err().contains("deeper"));
        assert!(holds(&nested(100_000)).is_err() && holds(&"not ".repeat(100_000)).is_err());
        let list = |count: usize| format!("Id in ({})", vec!["7"; count].join(","));
        assert_eq!(holds(&list(MAX_VALUES)), Ok(true));
        assert!(holds(&list(MAX_VALUES + 1)).is_err());
    }
}
