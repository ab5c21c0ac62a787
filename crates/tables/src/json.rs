//! Reads rows of JSON: one object per line, or an array of objects.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::ReadError;
use super::numbers;
use super::source::{Lines, MAX_ROW_BYTES};
use performer_core::model::json::repaired_text;

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JsonRow {
    /// The line in which it begins, counted from 1.
    pub(crate) line: u64,
    pub(crate) text: String,
    /// The members of its object, or why it is none.
    pub(crate) members: Result<Vec<Member>, String>,
}

/// A member of an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) value: Value,
    /// The text of a number.
    pub(crate) number: Option<String>,
}

/// Reads the next row of a file with one object per line, and skips empty lines.
///
/// # Errors
///
/// When the file cannot be read.
pub(crate) fn next_line(lines: &mut Lines) -> Result<Option<JsonRow>, ReadError> {
    while let Some(line) = lines.next()? {
        if !line.text.trim().is_empty() {
            let members = object(&line.text).map_err(|error| located_message(&error, line.number));
            return Ok(Some(JsonRow { line: line.number, text: line.text, members }));
        }
    }
    Ok(None)
}

/// Reads the elements of an array one by one, because it may be larger than the memory.
pub(crate) struct ArrayElements {
    lines: Lines,
    /// The current line, its number, and the position in it.
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

impl ArrayElements {
    pub(crate) fn new(lines: Lines) -> Self {
        Self { lines, text: String::new(), number: 0, at: 0, state: State::Before }
    }

    /// Reads the next element. An element that is not an object is refused; invalid JSON is an error of the file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is not an array in JSON.
    pub(crate) fn next(&mut self) -> Result<Option<JsonRow>, ReadError> {
        if self.state == State::Before {
            let opens = self.peek()? == Some('[');
            if !opens {
                return Err(self.error(
                    "the file is not a JSON array of objects; for one object per line use --format jsonl",
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
                Some(_) => Err(self.error("something follows the end of the array")),
            };
        }
        self.state = State::Next;
        self.peek()?;
        let first_line = self.number;
        let text = self.element()?;
        match object(&text) {
            Ok(row) => Ok(Some(JsonRow { line: first_line, text, members: Ok(row) })),
            Err(error) if error.is_data() => {
                let members = Err(located_message(&error, first_line));
                Ok(Some(JsonRow { line: first_line, text, members }))
            }
            Err(error) => {
                let line = first_line + (error.line() as u64).saturating_sub(1);
                Err(ReadError {
                    line,
                    why: format!("the file is not JSON: {}", located_message(&error, first_line)),
                })
            }
        }
    }

    /// The text of an element, up to the comma or bracket after it.
    fn element(&mut self) -> Result<String, ReadError> {
        let first_line = self.number;
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
            if element.len() > MAX_ROW_BYTES {
                let why = format!("the element that begins here is longer than {} MiB", MAX_ROW_BYTES >> 20);
                return Err(ReadError { line: first_line, why });
            }
            if !self.line()? {
                return Err(ReadError {
                    line: first_line,
                    why: "the array is not closed behind the element that begins here".to_owned(),
                });
            }
        }
    }

    /// The next character that is not a space.
    fn peek(&mut self) -> Result<Option<char>, ReadError> {
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

    fn line(&mut self) -> Result<bool, ReadError> {
        let Some(line) = self.lines.next()? else { return Ok(false) };
        (self.text, self.number, self.at) = (line.text, line.number, 0);
        Ok(true)
    }

    fn error(&self, why: &str) -> ReadError {
        ReadError { line: self.number.max(1), why: why.to_owned() }
    }

    /// The digest of the bytes read so far, which at the end is that of the file.
    pub(crate) fn digest(&self) -> String {
        self.lines.digest()
    }
}

/// The message of an error in an element, with its line in the file.
fn located_message(error: &serde_json::Error, first_line: u64) -> String {
    let what = message_of(error);
    if error.line() == 0 {
        return what;
    }
    let line = first_line + (error.line() as u64).saturating_sub(1);
    format!("{what} (line {line}, column {})", error.column())
}

/// The message of an error without its position.
fn message_of(error: &serde_json::Error) -> String {
    error.to_string().split(" at line ").next().unwrap_or_default().to_owned()
}

/// The members of an object with their texts, also of one with duplicate names. `None`: the text is no object.
pub(crate) fn raw_members(text: &str) -> Option<Vec<(String, Box<RawValue>)>> {
    serde_json::from_str::<RawObject>(&repaired_text(text)).ok().map(|object| object.0)
}

struct RawObject(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = RawObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<RawObject, A::Error> {
                let mut object = Vec::new();
                while let Some(member) = members.next_entry()? {
                    object.push(member);
                }
                Ok(RawObject(object))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Parses an object. Duplicate names are refused, because the first value would be lost; so are numbers that would lose digits.
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
                        serde_json::from_str(raw.get()).map_err(|error| wrong(&message_of(&error)))?;
                    let number = value.is_number().then(|| raw.get().to_owned());
                    if let Some(number) = &number {
                        numbers::parse_any(number)
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
    use serde_json::json;

    use super::super::source::tests::source;
    use super::*;

    /// The line of a row, and its members or why it has none.
    type NumberedRow = (u64, Result<Vec<Member>, String>);

    fn numbered(row: JsonRow) -> NumberedRow {
        (row.line, row.members)
    }

    fn lines(text: &str) -> Result<Vec<NumberedRow>, ReadError> {
        let source = source(text.as_bytes(), None);
        let mut lines = source.lines().unwrap();
        std::iter::from_fn(|| next_line(&mut lines).transpose()).map(|row| row.map(numbered)).collect()
    }

    fn elements(text: &str) -> Result<Vec<NumberedRow>, ReadError> {
        let source = source(text.as_bytes(), None);
        let mut elements = ArrayElements::new(source.lines().unwrap());
        std::iter::from_fn(|| elements.next().transpose()).map(|row| row.map(numbered)).collect()
    }

    fn row(line: u64, value: &Value) -> NumberedRow {
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
    fn invalid_arrays_are_reported_with_their_line() {
        for (text, line, part) in [
            ("", 1, "not a JSON array"),
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
