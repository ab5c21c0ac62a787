//! Reads the rows of CSV (RFC 4180), with their line numbers.
//!
//! The crate `csv` is not used, because it does not detect a quotation mark that is never closed, nor text after a closed
//! one, and counts only LF as a line end.

use super::error::ReadError;
use super::record::Record;
use super::source::{Line, Lines, MAX_ROW_BYTES};

/// The dialect of a CSV file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// The character between cells.
    pub(crate) delimiter: char,
    /// Whether quotation marks enclose cells; otherwise they are text.
    pub(crate) quotes: bool,
    /// Whether the first line is `sep=` with the delimiter, and not a row.
    pub(crate) has_sep_line: bool,
}

/// The rows of a file, including the header.
pub(crate) struct Records {
    lines: Lines,
    dialect: Dialect,
    max_bytes: usize,
}

/// The state of the reader within a cell.
#[derive(Clone, Copy)]
enum CellState {
    /// Before the first character that is not a space.
    Start,
    /// In an unquoted cell.
    Plain,
    /// In a quoted cell whose opening quotation mark is in this line.
    Quoted(u64),
    /// After the closing quotation mark of that cell.
    Closed(u64),
}

impl Records {
    /// Starts to read, and skips the line with `sep=`.
    ///
    /// # Errors
    ///
    /// If the line with `sep=` cannot be read.
    pub(crate) fn new(mut lines: Lines, dialect: Dialect) -> Result<Self, ReadError> {
        if dialect.has_sep_line {
            lines.next()?;
        }
        Ok(Self { lines, dialect, max_bytes: MAX_ROW_BYTES })
    }

    /// Limits the length of a row.
    pub(crate) fn with_max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Reads the next row. An empty line is a row with one empty cell.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, a quotation mark is not closed, or text follows a closed one.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, ReadError> {
        let Some(mut line) = self.lines.next()? else { return Ok(None) };
        let mut record = Record { line: line.number, ..Record::default() };
        let (mut cell, mut at, mut length) = (String::new(), CellState::Start, 0);
        loop {
            self.read(&line, &mut record.cells, &mut cell, &mut at)?;
            let CellState::Quoted(began) = at else { break };
            cell.push_str(line.end);
            length += line.text.len();
            let open = |why: &str| ReadError {
                line: began,
                why: format!(
                    "the quotation mark that begins a cell here {why}; use --no-quotes to treat quotation marks as text"
                ),
            };
            if length > self.max_bytes {
                return Err(open(&format!("is not closed within {} MiB", self.max_bytes >> 20)));
            }
            line = self.lines.next()?.ok_or_else(|| open("is never closed"))?;
        }
        record.cells.push(cell);
        Ok(Some(record))
    }

    /// Reads a line, which may begin and end within a quoted cell. The last cell of the line stays in `cell`.
    fn read(
        &self,
        line: &Line,
        cells: &mut Vec<String>,
        cell: &mut String,
        at: &mut CellState,
    ) -> Result<(), ReadError> {
        let Dialect { delimiter, quotes, .. } = self.dialect;
        for c in line.text.chars() {
            *at = match *at {
                CellState::Quoted(began) => {
                    if c == '"' {
                        CellState::Closed(began)
                    } else {
                        cell.push(c);
                        CellState::Quoted(began)
                    }
                }
                CellState::Closed(began) if c == '"' => {
                    cell.push('"');
                    CellState::Quoted(began)
                }
                _ if c == delimiter => {
                    cells.push(std::mem::take(cell));
                    CellState::Start
                }
                CellState::Start if c == '"' && quotes => {
                    cell.clear();
                    CellState::Quoted(line.number)
                }
                CellState::Start if c == ' ' => {
                    cell.push(c);
                    CellState::Start
                }
                CellState::Closed(began) if c == ' ' || c == '\t' => CellState::Closed(began),
                CellState::Closed(began) => {
                    let why = format!(
                        "text follows the end of a cell in quotation marks that began in line {began}; a quotation mark \
                         within a cell is written twice; use --no-quotes to treat quotation marks as text"
                    );
                    return Err(ReadError { line: line.number, why });
                }
                CellState::Start | CellState::Plain => {
                    cell.push(c);
                    CellState::Plain
                }
            };
        }
        Ok(())
    }

    /// The digest of the bytes read so far, which at the end is that of the file.
    pub(crate) fn digest(&self) -> String {
        self.lines.digest()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::source::tests::source;
    use super::*;

    pub(crate) const COMMAS: Dialect = Dialect { delimiter: ',', quotes: true, has_sep_line: false };

    fn read(text: &str, dialect: Dialect) -> Result<Vec<(u64, Vec<String>)>, ReadError> {
        let source = source(text.as_bytes(), None);
        let mut records = Records::new(source.lines().unwrap(), dialect).unwrap();
        std::iter::from_fn(|| records.next().transpose())
            .map(|record| record.map(|record| (record.line, record.cells)))
            .collect()
    }

    fn rows(expected: &[(u64, &[&str])]) -> Result<Vec<(u64, Vec<String>)>, ReadError> {
        Ok(expected
            .iter()
            .map(|(line, cells)| (*line, cells.iter().map(|&cell| cell.to_owned()).collect()))
            .collect())
    }

    #[test]
    fn cells_are_read_as_they_are_written() {
        let cells = |text: &str| read(text, COMMAS).unwrap().remove(0).1;
        assert_eq!(cells("a,b,c"), ["a", "b", "c"]);
        assert_eq!(cells(",,"), ["", "", ""]);
        assert_eq!(cells(r#""a,b","say ""hi""","""#), ["a,b", "say \"hi\"", ""]);
        assert_eq!(cells(r#"5" pipe, x ,"y" , "a, b""#), ["5\" pipe", " x ", "y", "a, b"]);
        assert_eq!(cells(r#""""#), [""]);
        assert_eq!(cells(r#""""""#), ["\""]);
        let tabs = Dialect { delimiter: '\t', quotes: false, ..COMMAS };
        assert_eq!(read("\"a\tb\"\n", tabs), rows(&[(1, &["\"a", "b\""])]));
    }

    #[test]
    fn a_row_has_the_line_it_begins_in() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["a,b", "1,\"x", "y\"", "", "2,z"].join(end);
            let quoted = format!("x{end}y");
            let expected: [(u64, &[&str]); 4] =
                [(1, &["a", "b"]), (2, &["1", &quoted]), (4, &[""]), (5, &["2", "z"])];
            assert_eq!(read(&text, COMMAS), rows(&expected), "{end:?}");
        }
        let with_sep = Dialect { delimiter: ';', has_sep_line: true, ..COMMAS };
        assert_eq!(read("sep=;\r\na;b\r\n", with_sep), rows(&[(2, &["a", "b"])]));
    }

    #[test]
    fn an_unclosed_quotation_mark_is_reported_where_it_began() {
        let fault = read("a,b\r\n1,x\r\n2,\"y\r\n3,z\r\n", COMMAS).unwrap_err();
        assert_eq!(fault.line, 3);
        assert!(fault.why.contains("never closed"), "{fault:?}");
        let fault = read("a,b\n1,\"x\n\"y,2\n", COMMAS).unwrap_err();
        assert_eq!(fault.line, 3);
        assert!(fault.why.contains("began in line 2"), "{fault:?}");
        let fault = read(r#"a,"say \"hi\"""#, COMMAS).unwrap_err();
        assert!(fault.why.contains("written twice"), "{fault:?}");
        let source =
            source(&[b"a,\"".to_vec(), vec![b'\n'; 3], vec![b'x'; 100], vec![b'\n'; 3]].concat(), None);
        let records = Records::new(source.lines().unwrap(), COMMAS).unwrap();
        assert!(records.with_max_bytes(50).next().unwrap_err().why.contains("not closed within"));
    }
}
