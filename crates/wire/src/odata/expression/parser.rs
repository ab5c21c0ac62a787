//! The parser of `$filter`.
//!
//! ```text
//! or         = and *( "or" and )
//! and        = unary *( "and" unary )
//! unary      = "not" unary / "(" or ")" / match / comparison
//! match      = ( "contains" / "startswith" / "endswith" ) "(" operand "," text ")" [ "eq" ( "true" / "false" ) ]
//! comparison = operand ( "eq" / "ne" / "lt" / "le" / "gt" / "ge" ) literal / literal comparison-operator operand
//!            / operand "in" "(" literal *( "," literal ) ")" / path
//! operand    = path / ( "tolower" / "toupper" ) "(" path ")"
//! literal    = "null" / "true" / "false" / number / date / guid / text
//! text       = quoted text / ( "tolower" / "toupper" ) "(" text ")"
//! ```
//!
//! A path alone is a comparison with `true`. Keywords are case-insensitive. At most 100 comparisons, 16 levels of brackets, 100 values in a list.

use uuid::Uuid;

use super::super::super::ApiTime;
use super::super::lexer::{Token, is_path, tokens};
use super::super::{invalid, quoted};
use super::{Expression, LetterCase, Literal, Operand};
use performer_core::model::Refusal;
use performer_core::model::query::{Case, Comparison, TextMatch};

/// The maximum number of comparisons in one filter (orchestrator-api 4.1).
pub(super) const MAX_EXPRESSIONS: usize = 100;
/// The maximum nesting of brackets.
pub(super) const MAX_DEPTH: usize = 16;
/// The maximum number of values in one list.
pub(super) const MAX_VALUES: usize = 100;

/// Parses an expression.
///
/// # Errors
///
/// Code 1000 for an invalid expression.
pub(super) fn parse(text: &str) -> Result<Expression, Refusal> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, expressions: 0, depth: 0 };
    let expression = parser.or()?;
    match parser.next() {
        None => Ok(expression),
        Some(token) => Err(unexpected(&token)),
    }
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
        if operand.letters == LetterCase::AsTheyAre && self.ends_comparison() {
            return Ok(Expression::Compare(operand, Comparison::Equal, Literal::Bool(true)));
        }
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

    /// Whether nothing of a comparison follows, so that its operand stands alone.
    fn ends_comparison(&self) -> bool {
        match self.peek() {
            None | Some(Token::Close) => true,
            Some(Token::Word(word)) => word.eq_ignore_ascii_case("and") || word.eq_ignore_ascii_case("or"),
            Some(_) => false,
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
