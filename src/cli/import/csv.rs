//! Rows of CSV (RFC 4180), with the lines they begin in.
//!
//! It is read here and not by the crate `csv`, which cannot tell that a quotation mark is never closed, nor that text
//! follows a closed one, and counts lines by LF alone.

use super::source::{Fault, Line, Lines, MOST_ROW};

/// How the rows of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    /// What separates the cells.
    pub(super) delimiter: char,
    /// Whether a cell may stand in quotation marks; else they are text.
    pub(super) quotes: bool,
    /// Whether the first line is `sep=` and the delimiter, and no row.
    pub(super) has_sep_line: bool,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The line in which it begins, counted from 1.
    pub(super) line: u64,
    pub(super) cells: Vec<String>,
}

/// The rows of a file, the one with the names of the columns included.
pub(super) struct Records<'a> {
    lines: Lines<'a>,
    dialect: Dialect,
    most: usize,
}

/// Where in a cell the reader is.
#[derive(Clone, Copy)]
enum At {
    /// Before its first character that is not a space.
    Start,
    /// In a cell without quotation marks.
    Plain,
    /// Between quotation marks, the first of them in this line.
    Quoted(u64),
    /// Behind the second one.
    Closed(u64),
}

impl<'a> Records<'a> {
    /// # Errors
    ///
    /// When the line with `sep=` cannot be read.
    pub(super) fn new(mut lines: Lines<'a>, dialect: Dialect) -> Result<Self, Fault> {
        if dialect.has_sep_line {
            lines.next()?;
        }
        Ok(Self { lines, dialect, most: MOST_ROW })
    }

    /// With rows of at most so many bytes.
    pub(super) fn at_most(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// The row with the names of the columns: the first one in which something is written.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub(super) fn heads(&mut self) -> Result<Option<Record>, Fault> {
        while let Some(record) = self.next()? {
            if record.cells.len() > 1 || !record.cells[0].trim().is_empty() {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// The next row. A line without anything in it is a row with one empty cell.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, a quotation mark is not closed, or text follows a closed one.
    pub(super) fn next(&mut self) -> Result<Option<Record>, Fault> {
        let Some(mut line) = self.lines.next()? else { return Ok(None) };
        let mut record = Record { line: line.number, cells: Vec::new() };
        let (mut cell, mut at, mut length) = (String::new(), At::Start, 0);
        loop {
            self.read(&line, &mut record.cells, &mut cell, &mut at)?;
            let At::Quoted(began) = at else { break };
            cell.push_str(line.end);
            length += line.text.len();
            let open = |why: &str| Fault {
                line: began,
                why: format!(
                    "the quotation mark that begins a cell here {why}; --no-quotes takes quotation marks as text"
                ),
            };
            if length > self.most {
                return Err(open(&format!("is not closed within {} MiB", self.most >> 20)));
            }
            line = self.lines.next()?.ok_or_else(|| open("is never closed"))?;
        }
        record.cells.push(cell);
        Ok(Some(record))
    }

    /// Reads a line, which may begin and end within quotation marks. The cell that the line ends with stays in `cell`.
    fn read(
        &self,
        line: &Line,
        cells: &mut Vec<String>,
        cell: &mut String,
        at: &mut At,
    ) -> Result<(), Fault> {
        let Dialect { delimiter, quotes, .. } = self.dialect;
        for c in line.text.chars() {
            *at = match *at {
                At::Quoted(began) => {
                    if c == '"' {
                        At::Closed(began)
                    } else {
                        cell.push(c);
                        At::Quoted(began)
                    }
                }
                At::Closed(began) if c == '"' => {
                    cell.push('"');
                    At::Quoted(began)
                }
                _ if c == delimiter => {
                    cells.push(std::mem::take(cell));
                    At::Start
                }
                At::Start if c == '"' && quotes => {
                    cell.clear();
                    At::Quoted(line.number)
                }
                At::Start if c == ' ' => {
                    cell.push(c);
                    At::Start
                }
                At::Closed(began) if c == ' ' || c == '\t' => At::Closed(began),
                At::Closed(began) => {
                    let why = format!(
                        "text follows the end of a cell in quotation marks that began in line {began}; a quotation mark \
                         within a cell is written twice, and --no-quotes takes quotation marks as text"
                    );
                    return Err(Fault { line: line.number, why });
                }
                At::Start | At::Plain => {
                    cell.push(c);
                    At::Plain
                }
            };
        }
        Ok(())
    }

    /// The digest of what was read; at the end of the rows, that of the file.
    pub(super) fn digest(&self) -> String {
        self.lines.digest()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use indicatif::ProgressBar;

    use super::super::source::tests::source;
    use super::*;

    pub(in super::super) const COMMAS: Dialect =
        Dialect { delimiter: ',', quotes: true, has_sep_line: false };

    fn read(text: &str, dialect: Dialect) -> Result<Vec<(u64, Vec<String>)>, Fault> {
        let source = source(text.as_bytes(), None);
        let mut records = Records::new(source.lines(&ProgressBar::hidden()).unwrap(), dialect).unwrap();
        std::iter::from_fn(|| records.next().transpose())
            .map(|record| record.map(|record| (record.line, record.cells)))
            .collect()
    }

    fn rows(expected: &[(u64, &[&str])]) -> Result<Vec<(u64, Vec<String>)>, Fault> {
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
    fn a_quotation_mark_that_is_not_closed_is_found_where_it_began() {
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
        let records = Records::new(source.lines(&ProgressBar::hidden()).unwrap(), COMMAS).unwrap();
        assert!(records.at_most(50).next().unwrap_err().why.contains("not closed within"));
    }
}
