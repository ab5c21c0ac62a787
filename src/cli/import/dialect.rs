//! How a file of CSV is written: what separates its cells.

use indicatif::ProgressBar;

use super::super::output::Problem;
use super::csv::{Dialect, Records};
use super::source::Source;

/// What separates cells in the world. The first of several that fit equally well is not taken: that would be a guess.
const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

/// How many rows are looked at.
const SAMPLE: usize = 200;

/// The most bytes of a row that is looked at: a wrong delimiter may open a quotation mark that nothing closes.
const MOST_SAMPLED: usize = 64 * 1024;

/// What a file would be with one delimiter.
struct Trial {
    delimiter: char,
    columns: usize,
    /// Whether every row that was looked at has as many cells as there are columns.
    fits: bool,
    /// How many of them do.
    fitting: usize,
}

/// Finds out how a file is written. A first line `sep=;` names its delimiter, as Excel has it; else it is the one with which the
/// rows have as many cells as there are columns.
///
/// # Errors
///
/// When the file cannot be read, or two delimiters fit.
pub(super) fn detect(
    source: &Source,
    given: Option<char>,
    quotes: bool,
    is_tsv: bool,
) -> Result<Dialect, Problem> {
    let bar = ProgressBar::hidden();
    let first = source.lines(&bar)?.next()?.map(|line| line.text).unwrap_or_default();
    let named = sep(&first);
    let dialect = |delimiter| Dialect { delimiter, quotes, has_sep_line: named.is_some() };
    if let Some(delimiter) = given.or(named) {
        return Ok(dialect(delimiter));
    }
    let mut trials = Vec::new();
    for delimiter in DELIMITERS {
        trials.extend(trial(source, dialect(delimiter))?);
    }
    if is_tsv && let Some(tab) = trials.iter().find(|trial| trial.delimiter == '\t') {
        return Ok(dialect(tab.delimiter));
    }
    let rank = |trial: &Trial| (trial.fits, if trial.fits { 0 } else { trial.fitting }, trial.columns);
    let best = trials.iter().map(rank).max();
    let mut fitting = trials.iter().filter(|trial| Some(rank(trial)) == best);
    match (fitting.next(), fitting.next()) {
        (None, _) => Ok(dialect(if is_tsv { '\t' } else { ',' })),
        (Some(one), None) => Ok(dialect(one.delimiter)),
        (Some(one), Some(other)) => Err(Problem::usage(format!(
            "the columns may be separated by {:?} or by {:?}; say which with --delimiter",
            one.delimiter, other.delimiter
        ))),
    }
}

/// The delimiter that a first line names, as in `sep=;`. Programs that write such a file may put it in quotation marks.
fn sep(first: &str) -> Option<char> {
    let first = first.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(first);
    let (name, delimiter) = first.split_at_checked(4)?;
    let mut delimiter = delimiter.chars();
    match (name.eq_ignore_ascii_case("sep="), delimiter.next(), delimiter.next()) {
        (true, Some(delimiter), None) => Some(delimiter),
        _ => None,
    }
}

/// Reads some rows with a delimiter; `None` when there is one column only.
fn trial(source: &Source, dialect: Dialect) -> Result<Option<Trial>, Problem> {
    let bar = ProgressBar::hidden();
    let mut records = Records::new(source.lines(&bar)?, dialect)?.at_most(MOST_SAMPLED);
    // What cannot be read with this delimiter may be read with another.
    let Ok(Some(heads)) = records.heads() else { return Ok(None) };
    let columns = heads.cells.len();
    let (mut fits, mut fitting) = (true, 0);
    for _ in 0..SAMPLE {
        match records.next() {
            Ok(None) => break,
            Ok(Some(record)) if record.cells.iter().all(|cell| cell.trim().is_empty()) => {}
            Ok(Some(record)) if record.cells.len() == columns => fitting += 1,
            Ok(Some(_)) => fits = false,
            Err(_) => {
                fits = false;
                break;
            }
        }
    }
    Ok((columns > 1).then_some(Trial { delimiter: dialect.delimiter, columns, fits, fitting }))
}

/// Reads the name of a delimiter on the command line.
///
/// # Errors
///
/// A message for what cannot separate cells.
pub(super) fn named(text: &str) -> Result<char, String> {
    let mut chars = text.chars();
    let delimiter = match (text.to_ascii_lowercase().as_str(), chars.next(), chars.next()) {
        ("tab" | "\\t", ..) => '\t',
        (_, Some(one), None) => one,
        _ => return Err("it is one character, or the word tab".to_owned()),
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
    fn the_delimiter_is_the_one_with_which_the_rows_fit() {
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
    fn a_first_line_may_name_it() {
        for text in ["sep=;\nA;B,C\n", "\"sep=;\"\r\nA;B\r\n", "SEP=;\nA,B\n1,2\n"] {
            let found = detect(&source(text.as_bytes(), None), None, true, false).unwrap();
            assert_eq!(found, Dialect { delimiter: ';', quotes: true, has_sep_line: true }, "{text:?}");
        }
        assert_eq!(delimiter("sep=\t\nA\tB\n"), Ok('\t'));
        assert_eq!(sep("sep"), None);
        assert_eq!(sep("sep=ab"), None);
        let given = detect(&source(b"sep=;\nA|B;C\n", None), Some('|'), true, false).unwrap();
        assert_eq!((given.delimiter, given.has_sep_line), ('|', true));
    }

    #[test]
    fn a_delimiter_has_a_name() {
        assert_eq!(
            (named(";"), named("tab"), named("\\t"), named("\t")),
            (Ok(';'), Ok('\t'), Ok('\t'), Ok('\t'))
        );
        for wrong in ["", ";;", "a", "\"", "\n"] {
            assert!(named(wrong).is_err(), "{wrong:?}");
        }
    }
}
