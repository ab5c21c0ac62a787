//! Detects the delimiter of a CSV file.

use super::csv::{Dialect, Records};
use super::error::TableError;
use super::refused::LINE_COLUMN;
use super::source::Source;

/// The delimiters that are tried. If several fit equally well, none is chosen.
const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

/// The maximum number of rows that are examined.
const SAMPLED_ROWS: usize = 200;

/// The maximum length of an examined row: with a wrong delimiter a quotation mark may never be closed.
const MAX_SAMPLED_BYTES: usize = 64 * 1024;

/// The result of reading a file with one delimiter.
struct Candidate {
    delimiter: char,
    columns: usize,
    /// Whether every examined row has as many cells as there are columns.
    fits: bool,
    /// The number of rows that have.
    fitting: usize,
}

/// Detects the dialect of a file. A first line such as `sep=;` names the delimiter, as in files for Excel, and so does the header of
/// a file of refused rows; otherwise it is the one with which the rows have as many cells as there are columns.
///
/// # Errors
///
/// If the file cannot be read, or two delimiters fit.
pub(crate) fn detect(
    source: &Source,
    given: Option<char>,
    quotes: bool,
    is_tsv: bool,
) -> Result<Dialect, TableError> {
    let first = source.sample()?.next()?.map(|line| line.text).unwrap_or_default();
    let named = sep_line_delimiter(&first);
    let dialect = |delimiter| Dialect { delimiter, quotes, has_sep_line: named.is_some() };
    if let Some(delimiter) = given.or(named).or_else(|| refused_rows_delimiter(&first)) {
        return Ok(dialect(delimiter));
    }
    let mut candidates = Vec::new();
    for delimiter in DELIMITERS {
        candidates.extend(try_delimiter(source, dialect(delimiter))?);
    }
    if is_tsv && let Some(tab) = candidates.iter().find(|candidate| candidate.delimiter == '\t') {
        return Ok(dialect(tab.delimiter));
    }
    let rank = |candidate: &Candidate| {
        (candidate.fits, if candidate.fits { 0 } else { candidate.fitting }, candidate.columns)
    };
    let best = candidates.iter().map(rank).max();
    let mut fitting = candidates.iter().filter(|candidate| Some(rank(candidate)) == best);
    match (fitting.next(), fitting.next()) {
        (None, _) => Ok(dialect(if is_tsv { '\t' } else { ',' })),
        (Some(one), None) => Ok(dialect(one.delimiter)),
        (Some(one), Some(other)) => Err(TableError::usage(format!(
            "the columns may be separated by {:?} or by {:?}; choose one with --delimiter",
            one.delimiter, other.delimiter
        ))),
    }
}

/// The delimiter in a first line such as `sep=;`, which some programs put in quotation marks.
fn sep_line_delimiter(first: &str) -> Option<char> {
    let first = first.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(first);
    let (name, delimiter) = first.split_at_checked(4)?;
    let mut delimiter = delimiter.chars();
    match (name.eq_ignore_ascii_case("sep="), delimiter.next(), delimiter.next()) {
        (true, Some(delimiter), None) => Some(delimiter),
        _ => None,
    }
}

/// The delimiter of a file of refused rows: the character after the name of its first column.
fn refused_rows_delimiter(first: &str) -> Option<char> {
    first.strip_prefix(LINE_COLUMN)?.chars().next().filter(|c| !c.is_alphanumeric())
}

/// Reads some rows with a delimiter. `None` if there is only one column.
fn try_delimiter(source: &Source, dialect: Dialect) -> Result<Option<Candidate>, TableError> {
    let mut records = Records::new(source.sample()?, dialect)?.with_max_bytes(MAX_SAMPLED_BYTES);
    // A file that cannot be read with this delimiter may be readable with another.
    let header = loop {
        match records.next() {
            Ok(Some(record)) if record.cells.len() > 1 || !record.is_empty() => break record,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return Ok(None),
        }
    };
    let columns = header.cells.len();
    let (mut fits, mut fitting) = (true, 0);
    for _ in 0..SAMPLED_ROWS {
        match records.next() {
            Ok(None) => break,
            Ok(Some(record)) if record.is_empty() => {}
            Ok(Some(record)) if record.cells.len() == columns => fitting += 1,
            Ok(Some(_)) => fits = false,
            Err(_) => {
                fits = false;
                break;
            }
        }
    }
    Ok((columns > 1).then_some(Candidate { delimiter: dialect.delimiter, columns, fits, fitting }))
}

/// Parses the argument of `--delimiter`.
///
/// # Errors
///
/// A message for a character that cannot be a delimiter.
pub fn parse_delimiter(text: &str) -> Result<char, String> {
    let mut chars = text.chars();
    let delimiter = match (text.to_ascii_lowercase().as_str(), chars.next(), chars.next()) {
        ("tab" | "\\t", ..) => '\t',
        (_, Some(one), None) => one,
        _ => return Err("must be one character, or the word tab".to_owned()),
    };
    if delimiter.is_alphanumeric() || matches!(delimiter, '"' | '\n' | '\r' | ' ') {
        return Err(format!("{delimiter:?} cannot separate cells"));
    }
    Ok(delimiter)
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::source;
    use super::*;

    fn delimiter(text: &str) -> Result<char, String> {
        let found = detect(&source(text.as_bytes(), None), None, true, false);
        found.map(|dialect| dialect.delimiter).map_err(|problem| problem.to_string())
    }

    #[test]
    fn the_delimiter_is_detected_from_the_rows() {
        for (text, expected) in [
            ("A;B\nx;1", ';'),
            ("A\tB\nx\t1\n", '\t'),
            ("A|B|C\n1|2|3\n", '|'),
            ("A,B\nx,1\n", ','),
            ("Name;Betrag;Rabatt\nx;1,5;2,5\ny;1;2\n", ';'),
            ("Name, Vorname;Betrag\nMaier, Anna;12,50\n", ';'),
            ("id,note\n1,\"a;b\"\n2,\"c;d\"\n", ','),
            ("id;note\n1;\"a\nb,c\"\n\n2;x\n", ';'),
            ("A\n1\n", ','),
            ("A\nx;1\n", ','),
            ("", ','),
            ("a;b;c\n1;2;3\n1;2\n1;2;3;4\n5;6;7\n", ';'),
            ("a;b,c\n1;2\n", ';'),
        ] {
            assert_eq!(delimiter(text), Ok(expected), "{text:?}");
        }
        let both = delimiter("Name, Vorname;Betrag\nMaier, Anna;12\n").unwrap_err();
        assert!(both.contains("',' or by ';'") && both.contains("--delimiter"), "{both}");
    }

    #[test]
    fn a_sep_line_gives_the_delimiter() {
        for text in ["sep=;\nA;B,C\n", "\"sep=;\"\r\nA;B\r\n", "SEP=;\nA,B\n1,2\n"] {
            let found = detect(&source(text.as_bytes(), None), None, true, false).unwrap();
            assert_eq!(found, Dialect { delimiter: ';', quotes: true, has_sep_line: true }, "{text:?}");
        }
        assert_eq!(delimiter("sep=\t\nA\tB\n"), Ok('\t'));
        assert_eq!(sep_line_delimiter("sep"), None);
        assert_eq!(sep_line_delimiter("sep=ab"), None);
        let given = detect(&source(b"sep=;\nA|B;C\n", None), Some('|'), true, false).unwrap();
        assert_eq!((given.delimiter, given.has_sep_line), ('|', true));
    }

    #[test]
    fn delimiter_arguments_are_parsed() {
        assert_eq!(
            (parse_delimiter(";"), parse_delimiter("tab"), parse_delimiter("\\t"), parse_delimiter("\t")),
            (Ok(';'), Ok('\t'), Ok('\t'), Ok('\t'))
        );
        for wrong in ["", ";;", "a", "\"", "\n"] {
            assert!(parse_delimiter(wrong).is_err(), "{wrong:?}");
        }
    }
}
