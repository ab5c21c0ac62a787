//! Rows of JSON: an object a line, or an array of objects.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::numbers;
use super::source::{Fault, Lines, MOST_ROW};
use crate::model::json::repaired_text;

/// A row, and the line in which it begins.
pub(super) type Row = (u64, Result<Vec<Member>, String>);

/// A member of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) value: Value,
    /// A number as it is written.
    pub(super) number: Option<String>,
}

/// The next row of a file with an object a line; lines without anything in them are none.
///
/// # Errors
///
/// When the file cannot be read.
pub(super) fn next_line(lines: &mut Lines<'_>) -> Result<Option<Row>, Fault> {
    while let Some(line) = lines.next()? {
        if !line.text.trim().is_empty() {
            return Ok(Some((line.number, object(&line.text).map_err(|error| told(&error, line.number)))));
        }
    }
    Ok(None)
}

/// The elements of an array, one after the other: it may be larger than memory.
pub(super) struct Elements<'a> {
    lines: Lines<'a>,
    /// The line that is read, its number, and how far.
    text: String,
    number: u64,
    at: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Before,
    First,
    Next,
    Over,
}

impl<'a> Elements<'a> {
    pub(super) fn new(lines: Lines<'a>) -> Self {
        Self { lines, text: String::new(), number: 0, at: 0, state: State::Before }
    }

    /// The next element. One that is no object is refused; what is no JSON is a fault of the file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is no array in JSON.
    pub(super) fn next(&mut self) -> Result<Option<Row>, Fault> {
        if self.state == State::Before {
            let opens = self.peek()? == Some('[');
            if !opens {
                return Err(self.fault(
                    "the file is not an array of objects in JSON; an object a line is --format jsonl",
                ));
            }
            self.at += 1;
            self.state = State::First;
        }
        if self.state == State::First && self.peek()? == Some(']') {
            self.at += 1;
            self.state = State::Over;
        }
        if self.state == State::Over {
            return match self.peek()? {
                None => Ok(None),
                Some(_) => Err(self.fault("something follows the end of the array")),
            };
        }
        self.state = State::Next;
        self.peek()?;
        let began = self.number;
        let text = self.element()?;
        match object(&text) {
            Ok(row) => Ok(Some((began, Ok(row)))),
            Err(error) if error.is_data() => Ok(Some((began, Err(told(&error, began))))),
            Err(error) => {
                let line = began + (error.line() as u64).saturating_sub(1);
                Err(Fault { line, why: format!("the file is not JSON: {}", told(&error, began)) })
            }
        }
    }

    /// The text of an element, up to the comma or bracket behind it.
    fn element(&mut self) -> Result<String, Fault> {
        let began = self.number;
        let mut element = String::new();
        let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
        loop {
            let from = self.at;
            for (at, byte) in self.text.as_bytes().iter().enumerate().skip(from) {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if in_text => escaped = true,
                    b'"' => in_text = !in_text,
                    _ if in_text => {}
                    b'[' | b'{' => depth += 1,
                    b',' | b']' if depth == 0 => {
                        if *byte == b']' {
                            self.state = State::Over;
                        }
                        element.push_str(&self.text[from..at]);
                        self.at = at + 1;
                        return Ok(element);
                    }
                    b']' | b'}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
            element.push_str(&self.text[from..]);
            element.push('\n');
            if element.len() > MOST_ROW {
                let why = format!("the element that begins here is longer than {} MiB", MOST_ROW >> 20);
                return Err(Fault { line: began, why });
            }
            if !self.line()? {
                return Err(Fault {
                    line: began,
                    why: "the array is not closed behind the element that begins here".to_owned(),
                });
            }
        }
    }

    /// The next character that is no space.
    fn peek(&mut self) -> Result<Option<char>, Fault> {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if let Some(c) = trimmed.chars().next() {
                return Ok(Some(c));
            }
            if !self.line()? {
                return Ok(None);
            }
        }
    }

    fn line(&mut self) -> Result<bool, Fault> {
        let Some(line) = self.lines.next()? else { return Ok(false) };
        (self.text, self.number, self.at) = (line.text, line.number, 0);
        Ok(true)
    }

    fn fault(&self, why: &str) -> Fault {
        Fault { line: self.number.max(1), why: why.to_owned() }
    }

    /// The digest of what was read; at the end, that of the file.
    pub(super) fn digest(&self) -> String {
        self.lines.digest()
    }
}

/// What is wrong with an element that begins in a line of the file, in the lines of the file.
fn told(error: &serde_json::Error, began: u64) -> String {
    let what = what(error);
    if error.line() == 0 {
        return what;
    }
    let line = began + (error.line() as u64).saturating_sub(1);
    format!("{what} (line {line}, column {})", error.column())
}

/// What is wrong, without the place.
fn what(error: &serde_json::Error) -> String {
    error.to_string().split(" at line ").next().unwrap_or_default().to_owned()
}

/// Reads an object, in which each name may be there once: of two members with one name the first would be lost. So would digits of a
/// number that JSON values here cannot hold.
fn object(text: &str) -> Result<Vec<Member>, serde_json::Error> {
    serde_json::from_str::<Object>(&repaired_text(text)).map(|object| object.0)
}

struct Object(Vec<Member>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Object, A::Error> {
                let mut names = HashSet::new();
                let mut object = Vec::new();
                while let Some((name, raw)) = members.next_entry::<String, &RawValue>()? {
                    let wrong = |why: &dyn fmt::Display| A::Error::custom(format_args!("{name:?}: {why}"));
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom(format_args!("the name {name:?} is there twice")));
                    }
                    let value: Value =
                        serde_json::from_str(raw.get()).map_err(|error| wrong(&what(&error)))?;
                    let number = value.is_number().then(|| raw.get().to_owned());
                    if let Some(number) = &number {
                        numbers::any(number)
                            .map_err(|why| wrong(&format_args!("{why}; write it as a text")))?;
                    }
                    object.push(Member { name, value, number });
                }
                Ok(Object(object))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressBar;
    use serde_json::json;

    use super::super::source::tests::source;
    use super::*;

    fn lines(text: &str) -> Result<Vec<Row>, Fault> {
        let source = source(text.as_bytes(), None);
        let mut lines = source.lines(&ProgressBar::hidden()).unwrap();
        std::iter::from_fn(|| next_line(&mut lines).transpose()).collect()
    }

    fn elements(text: &str) -> Result<Vec<Row>, Fault> {
        let source = source(text.as_bytes(), None);
        let mut elements = Elements::new(source.lines(&ProgressBar::hidden()).unwrap());
        std::iter::from_fn(|| elements.next().transpose()).collect()
    }

    fn row(line: u64, value: &Value) -> Row {
        let member = |(name, value): (&String, &Value)| Member {
            name: name.clone(),
            value: value.clone(),
            number: value.is_number().then(|| value.to_string()),
        };
        (line, Ok(value.as_object().unwrap().iter().map(member).collect()))
    }

    #[test]
    fn a_line_is_a_row() {
        let rows = lines("\u{feff}{\"a\":1}\r\n\r\n  \r\n{\"a\":\"\\n\"}\r\n{}").unwrap();
        assert_eq!(rows, [row(1, &json!({"a": 1})), row(4, &json!({"a": "\n"})), row(5, &json!({}))]);
        let rows = lines("{\"a\":1,\"a\":2}\n[1]\n{\"a\"\n7\n{}\n").unwrap();
        let refused: Vec<(u64, &str)> =
            rows.iter().filter_map(|(line, row)| Some((*line, row.as_ref().err()?.as_str()))).collect();
        assert_eq!(refused.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(refused[0].1.contains("\"a\" is there twice"), "{refused:?}");
        assert!(refused[1].1.contains("expected an object"), "{refused:?}");
        assert!(refused[2].1.contains("(line 3, column 4)"), "{refused:?}");
    }

    #[test]
    fn no_digit_of_a_number_is_lost() {
        let rows = lines(
            "{\"a\":100000000000000000000000000001}\n{\"b\":1234567890123456.78}\n{\"c\":20.40}\n{\"d\":1e400}\n",
        );
        let rows = rows.unwrap();
        for (at, part) in
            [(0, "\"a\": \"100000000000000000000000000001\" would lose digits"), (1, "\"b\":"), (3, "\"d\":")]
        {
            assert!(rows[at].1.as_ref().unwrap_err().contains(part), "{rows:?}");
        }
        let member = &rows[2].1.as_ref().unwrap()[0];
        assert_eq!((&member.value, member.number.as_deref()), (&json!(20.4), Some("20.40")));
    }

    #[test]
    fn an_array_is_read_element_by_element() {
        let text = "\u{feff} [ {\"a\": \"],\\\"[\", \"b\": 1},\r\n {\r\n\"a\": 2 },{}\n] \n";
        let expected = [row(1, &json!({"a": "],\"[", "b": 1})), row(2, &json!({"a": 2})), row(3, &json!({}))];
        assert_eq!(elements(text), Ok(expected.to_vec()));
        assert_eq!(elements("[]"), Ok(vec![]));
        assert_eq!(elements("[\n]"), Ok(vec![]));
        let rows = elements("[{},\n[1, {\"a\": 2}],\n{\"a\":{\"b\":[1]}}]").unwrap();
        assert!(rows[1].0 == 2 && rows[1].1.as_ref().unwrap_err().contains("expected an object"), "{rows:?}");
        assert_eq!(rows[2], row(3, &json!({"a": {"b": [1]}})));
    }

    #[test]
    fn what_is_no_array_is_found_with_its_line() {
        for (text, line, part) in [
            ("", 1, "not an array"),
            ("\n{\"a\":1}", 2, "--format jsonl"),
            ("[{}", 1, "not closed"),
            ("[{},\n{\"a\":\"x]", 2, "not closed"),
            ("[{},\n\n{\"a\" 1}]", 3, "not JSON"),
            ("[{},\n{\n\n\"a\": x}]", 4, "not JSON"),
            ("[{},]", 1, "not JSON"),
            ("[{}\n{}]", 2, "not JSON"),
            ("[]\n[]", 2, "follows the end"),
        ] {
            let fault = elements(text).unwrap_err();
            assert!(fault.line == line && fault.why.contains(part), "{text:?}: {fault:?}");
        }
    }
}
