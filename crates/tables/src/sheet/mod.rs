//! Sheets of spreadsheets.
//!
//! A sheet is read once, and copied to a temporary file: one line of JSON for each row, with its number and its cells. The copy is
//! what an import reads several times, and its digest is that of the rows: a file that was saved again without a change in its
//! values has the same one.
//!
//! | file | what it does |
//! |---|---|
//! | `limits.rs` | measures a file before it is read, because a small one may need any amount of memory |
//! | `xlsx.rs`, `xls.rs` | read with the crate `calamine` |
//! | `ods.rs` | reads OpenDocument, of which `calamine` does not tell error values and covered cells from others |
//! | `dates.rs` | dates, times of day and durations as ISO 8601 |
//! | `copy.rs` | writes the copy, and reads it |

mod compound;
mod copy;
mod dates;
mod limits;
mod ods;
mod xls;
mod xlsx;

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};

use calamine::{Data, Sheet, SheetType, SheetVisible};

use super::error::TableError;
use super::numbers;
use super::record::CellKind;
use copy::SheetCopy;
pub(crate) use copy::SheetRecords;

/// The first bytes of a ZIP archive, which `.xlsx` and `.ods` are.
const ZIP: &[u8] = b"PK\x03\x04";
/// The first bytes of a compound file, which `.xls` is, and a spreadsheet with a password.
const COMPOUND: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// Why a spreadsheet with a password is refused.
const PASSWORD: &str = "the spreadsheet is protected with a password; save it without one";

/// A sheet that was copied to a temporary file.
pub(crate) struct CopiedSheet {
    pub(crate) file: File,
    /// The name of the sheet.
    pub(crate) sheet: String,
}

/// A sheet in the list of a spreadsheet.
#[derive(Clone, Debug)]
struct SheetName {
    name: String,
    is_hidden: bool,
}

/// A spreadsheet whose sheets can be read one by one.
trait Workbook {
    /// The sheets with cells, in their order.
    fn sheets(&self) -> Vec<SheetName>;

    /// Copies the cells of a sheet.
    ///
    /// # Errors
    ///
    /// A message when the file is broken, or the sheet is larger than the limits.
    fn read(&mut self, sheet: usize, copy: &mut SheetCopy) -> Result<(), String>;
}

/// Whether a file with these first bytes may be a spreadsheet, and is no text.
pub(crate) fn is_spreadsheet(first: &[u8]) -> bool {
    first.starts_with(ZIP) || first.starts_with(COMPOUND)
}

/// Copies a sheet: that with a name or a number, counted from 1, or else the first visible one in which something is.
///
/// # Errors
///
/// When the file is not a spreadsheet, cannot be read or is larger than the limits; when there is no such sheet.
pub(crate) fn copied(file: &File, wanted: Option<&str>) -> Result<CopiedSheet, TableError> {
    // Reading broken files is the work of libraries, and one of them may panic.
    let copied = catch_unwind(AssertUnwindSafe(|| copied_unguarded(file, wanted)));
    copied.unwrap_or_else(|_| Err(TableError::failed("the spreadsheet is broken, and cannot be read")))
}

fn copied_unguarded(file: &File, wanted: Option<&str>) -> Result<CopiedSheet, TableError> {
    let mut workbook = opened(file).map_err(TableError::failed)?;
    let sheets = workbook.sheets();
    let list = || {
        let shown = sheets.iter().enumerate().map(|(at, sheet)| {
            let hidden = if sheet.is_hidden { ", hidden" } else { "" };
            format!("{:?} ({}{hidden})", sheet.name, at + 1)
        });
        shown.collect::<Vec<_>>().join(", ")
    };
    let candidates: Vec<usize> = match wanted {
        Some(wanted) => {
            let by_name = sheets.iter().position(|sheet| sheet.name == wanted);
            let by_number = || {
                let at = wanted.parse::<usize>().ok()?.checked_sub(1)?;
                (at < sheets.len()).then_some(at)
            };
            let no_sheet =
                || TableError::usage(format!("there is no sheet {wanted:?}; the sheets are {}", list()));
            vec![by_name.or_else(by_number).ok_or_else(no_sheet)?]
        }
        None => (0..sheets.len()).filter(|at| !sheets[*at].is_hidden).collect(),
    };
    for at in candidates {
        let mut copy = SheetCopy::new()?;
        let read = workbook.read(at, &mut copy).and_then(|()| copy.finish());
        let file = read.map_err(|why| TableError::failed(format!("sheet {:?}: {why}", sheets[at].name)))?;
        if let Some(file) = file {
            return Ok(CopiedSheet { file, sheet: sheets[at].name.clone() });
        }
        if wanted.is_some() {
            return Err(TableError::failed(format!("nothing is in the sheet {:?}", sheets[at].name)));
        }
    }
    Err(TableError::failed(format!("nothing is in any visible sheet; the sheets are {}", list())))
}

/// Opens a spreadsheet by its content.
fn opened(mut file: &File) -> Result<Box<dyn Workbook + '_>, String> {
    let mut first = Vec::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(512).read_to_end(&mut first));
    read.map_err(|error| error.to_string())?;
    if first.starts_with(COMPOUND) {
        return Ok(Box::new(xls::Xls::open(file)?));
    }
    if first.starts_with(ZIP) {
        return Ok(match limits::check_archive(file)? {
            limits::Archive::Xlsx => Box::new(xlsx::Xlsx::open(file)?),
            limits::Archive::Ods => Box::new(ods::Ods::open(file)?),
        });
    }
    let shown: String = String::from_utf8_lossy(&first).chars().take(20).collect();
    Err(format!(
        "the file is not a spreadsheet: it begins with {shown:?}. Programs give such names to other files, too; text is \
         read with --format csv"
    ))
}

/// The kind and the text of a value as `calamine` has it; `None` if nothing is in the cell.
fn cell_of(value: Data, is_1904: bool) -> Option<(CellKind, String)> {
    let dated = |text: Result<String, String>| match text {
        Ok(text) => (CellKind::Text, text),
        Err(number) => (CellKind::BadDate, number),
    };
    Some(match value {
        Data::Empty => return None,
        Data::Int(number) => (CellKind::Number, number.to_string()),
        Data::Float(number) if number.is_finite() => (CellKind::Number, numbers::text_of(number)),
        Data::Float(_) => (CellKind::Error, "#NUM!".to_owned()),
        Data::String(text) => (CellKind::Text, text),
        Data::Bool(value) => (CellKind::Boolean, value.to_string()),
        Data::DateTime(date) if date.is_duration() => dated(dates::duration(date.as_f64())),
        Data::DateTime(date) => dated(dates::date(date.as_f64(), is_1904)),
        Data::DateTimeIso(text) => dated(dates::iso_date(&text)),
        Data::DurationIso(text) => dated(dates::iso_time(&text, false)),
        Data::Error(error) => (CellKind::Error, error.to_string()),
    })
}

/// The sheets with cells: charts and macros have none.
fn worksheets(sheets: &[Sheet]) -> Vec<SheetName> {
    let tables = sheets.iter().filter(|sheet| sheet.typ == SheetType::WorkSheet);
    tables
        .map(|sheet| SheetName {
            name: sheet.name.clone(),
            is_hidden: sheet.visible != SheetVisible::Visible,
        })
        .collect()
}

/// The message of an error of reading or writing.
fn io_error(error: &io::Error) -> String {
    error.to_string()
}
