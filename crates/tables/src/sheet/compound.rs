//! Measures an `.xls` before it is read: a compound file whose stream `Workbook` has records of a type, a length and data.
//!
//! Its reader keeps a value for every cell of the rectangle that the cells of a sheet span, for all sheets, so two cells in opposite
//! corners of many sheets would need any amount of memory.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};

/// The maximum size of a file.
const MAX_FILE: u64 = 256 << 20;

/// The maximum number of cells in the rectangles of all sheets.
const MAX_CELLS: u64 = 4_000_000;

/// The maximum number of characters in the cells of all sheets: a short file can name the same long text in every cell.
const MAX_CHARACTERS: u64 = 128 << 20;

/// The maximum number of sheets.
const MAX_SHEETS: usize = 1_000;

const BROKEN: &str = "the spreadsheet is broken, and cannot be read";

/// Checks that a file is an `.xls` without a password that can be read in bounded memory.
///
/// # Errors
///
/// A message when it is not.
pub(super) fn check(file: &File) -> Result<(), String> {
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    if size > MAX_FILE {
        return Err(format!("an .xls of more than {} MiB is not read; save it as .xlsx", MAX_FILE >> 20));
    }
    check_sectors(file, size)?;
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    let mut compound = cfb::CompoundFile::open(reader).map_err(|error| format!("{BROKEN}: {error}"))?;
    if compound.is_stream("EncryptedPackage") {
        return Err(super::PASSWORD.to_owned());
    }
    let name = ["Workbook", "Book"].into_iter().find(|name| compound.is_stream(name));
    let name = name.ok_or("the file is a document of another program and not a spreadsheet")?;
    let mut stream = Vec::new();
    let part = compound.open_stream(name).map_err(|error| format!("{BROKEN}: {error}"))?;
    part.take(size).read_to_end(&mut stream).map_err(|error| format!("{BROKEN}: {error}"))?;
    check_records(&stream)
}

/// Checks that the table of sectors lists none of its own sectors twice: it is read into memory.
fn check_sectors(mut file: &File, size: u64) -> Result<(), String> {
    let mut header = [0; 512];
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_exact(&mut header));
    read.map_err(|_| BROKEN.to_owned())?;
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let sector_size: u64 = if header[26] == 4 { 4096 } else { 512 };
    let (mut seen, mut lists) = (HashSet::new(), HashSet::new());
    let mut once = |sector: u32| sector >= 0xffff_fffa || seen.insert(sector);
    if !(76..512).step_by(4).all(|at| once(number(at))) {
        return Err(BROKEN.to_owned());
    }
    let mut next = number(68);
    while next < 0xffff_fffa {
        let start = (u64::from(next) + 1) * sector_size;
        if !lists.insert(next) || start + sector_size > size {
            return Err(BROKEN.to_owned());
        }
        let mut sector = vec![0; sector_size as usize];
        let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut sector));
        read.map_err(|_| BROKEN.to_owned())?;
        let mut entries =
            sector.chunks_exact(4).map(|entry| u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]));
        next = entries.next_back().unwrap_or(u32::MAX);
        if !entries.all(&mut once) {
            return Err(BROKEN.to_owned());
        }
    }
    Ok(())
}

// Types of records.
const FORMULA: u16 = 0x0006;
const END: u16 = 0x000a;
const PASSWORD: u16 = 0x002f;
const SHEET: u16 = 0x0085;
const NUMBERS: u16 = 0x00bd;
const TEXT_WITH_FORMATS: u16 = 0x00d6;
const CONTINUED: u16 = 0x003c;
const SHARED_TEXTS: u16 = 0x00fc;
const SHARED_TEXT: u16 = 0x00fd;
const DIMENSIONS: u16 = 0x0200;
const NUMBER: u16 = 0x0203;
const TEXT: u16 = 0x0204;
const BOOLEAN_OR_ERROR: u16 = 0x0205;
const SHORT_NUMBER: u16 = 0x027e;
const BEGINNING: u16 = 0x0809;

/// The records of a stream, each with its type, until the stream ends or a record is longer than it.
fn records(mut stream: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = stream.split_at_checked(4)?;
        let (data, rest) = rest.split_at_checked(usize::from(word(head, 2)?))?;
        stream = rest;
        Some((word(head, 0)?, data))
    })
}

fn word(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes([*data.get(at)?, *data.get(at + 1)?]))
}

fn long(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(word(data, at)?) | u32::from(word(data, at + 2)?) << 16)
}

fn check_records(stream: &[u8]) -> Result<(), String> {
    let (mut sheets, mut texts, mut last) = (Vec::new(), Vec::new(), 0);
    for (kind, data) in records(stream) {
        match kind {
            PASSWORD if word(data, 0) != Some(0) => return Err(super::PASSWORD.to_owned()),
            SHEET => sheets.push(long(data, 0).ok_or(BROKEN)?),
            SHARED_TEXTS => texts = vec![data.get(8..).ok_or(BROKEN)?],
            CONTINUED if last == SHARED_TEXTS => texts.push(data),
            END => break,
            _ => {}
        }
        last = if kind == CONTINUED { last } else { kind };
    }
    if sheets.len() > MAX_SHEETS {
        return Err(format!("the file has more than {MAX_SHEETS} sheets"));
    }
    let lengths = text_lengths(texts);
    let (mut cells, mut characters) = (0, 0);
    for start in sheets {
        let sheet = stream.get(start as usize..).ok_or(BROKEN)?;
        let measured = measure(sheet, &lengths)?;
        cells += measured.cells;
        characters += measured.characters;
        if cells > MAX_CELLS {
            return Err(format!("its sheets span more than {MAX_CELLS} cells; save the file as .xlsx"));
        }
        if characters > MAX_CHARACTERS {
            return Err(format!(
                "its cells have more than {MAX_CHARACTERS} characters; save the file as .xlsx"
            ));
        }
    }
    Ok(())
}

/// What is kept of a sheet.
struct Measured {
    cells: u64,
    characters: u64,
}

fn measure(sheet: &[u8], text_lengths: &[u16]) -> Result<Measured, String> {
    let (mut values, mut formulas, mut declared) = (Rectangle::default(), Rectangle::default(), 0);
    let (mut kept, mut characters) = (0, 0);
    // Charts within the sheet have records of the same types.
    let mut depth = 0_usize;
    for (kind, data) in records(sheet) {
        match kind {
            BEGINNING => depth += 1,
            END if depth <= 1 => break,
            END => depth -= 1,
            _ if depth > 1 => {}
            DIMENSIONS => declared += declared_cells(data).ok_or(BROKEN)?,
            NUMBERS => {
                let last = data.len().checked_sub(2).and_then(|at| word(data, at)).ok_or(BROKEN)?;
                values.include(data)?;
                values.columns(last);
                kept += data.len() as u64 / 6;
            }
            FORMULA => {
                values.include(data)?;
                formulas.include(data)?;
                kept += 1;
            }
            NUMBER | TEXT | TEXT_WITH_FORMATS | SHARED_TEXT | BOOLEAN_OR_ERROR | SHORT_NUMBER => {
                values.include(data)?;
                kept += 1;
                if kind == SHARED_TEXT {
                    let text = long(data, 6).and_then(|text| text_lengths.get(text as usize));
                    characters += text.copied().map_or(0, u64::from);
                }
            }
            _ => {}
        }
        if kept > MAX_CELLS {
            break;
        }
    }
    Ok(Measured { cells: kept.max(values.cells()) + formulas.cells() + declared, characters })
}

/// The lengths of the texts that cells share, in characters, as far as they can be read. They are in one record and those that
/// continue it; characters that go on in the next record begin there with a byte that says how wide they are.
fn text_lengths(records: Vec<&[u8]>) -> Vec<u16> {
    let mut texts = SharedTexts { records: records.into_iter(), data: &[] };
    let mut lengths = Vec::new();
    while let Some(length) = texts.skip_text() {
        lengths.push(length);
    }
    lengths
}

struct SharedTexts<'a> {
    records: std::vec::IntoIter<&'a [u8]>,
    data: &'a [u8],
}

impl SharedTexts<'_> {
    /// The next bytes of the same record, or of the next one at its end.
    fn bytes(&mut self, count: usize) -> Option<&[u8]> {
        if self.data.is_empty() {
            self.data = self.records.next()?;
        }
        let (bytes, rest) = self.data.split_at_checked(count)?;
        self.data = rest;
        Some(bytes)
    }

    fn skip(&mut self, mut count: usize) -> Option<()> {
        while count > self.data.len() {
            count -= self.data.len();
            self.data = self.records.next()?;
        }
        self.data = &self.data[count..];
        Some(())
    }

    /// Skips a text, and returns its length.
    fn skip_text(&mut self) -> Option<u16> {
        let head = self.bytes(3)?;
        let (length, mut flags) = (word(head, 0)?, head[2]);
        let runs = if flags & 8 > 0 { usize::from(word(self.bytes(2)?, 0)?) } else { 0 };
        let extra = if flags & 4 > 0 { long(self.bytes(4)?, 0)? as usize } else { 0 };
        let mut left = usize::from(length);
        while left > 0 {
            if self.data.is_empty() {
                self.data = self.records.next()?;
                flags = *self.data.first()?;
                self.data = &self.data[1..];
            }
            let width = 1 + usize::from(flags & 1);
            let here = left.min(self.data.len() / width);
            if here == 0 {
                return None;
            }
            self.data = &self.data[here * width..];
            left -= here;
        }
        self.skip(4 * runs)?;
        self.skip(extra)?;
        Some(length)
    }
}

/// The number of cells in the rectangle that a sheet says it has. `None`: its end is before its beginning.
fn declared_cells(data: &[u8]) -> Option<u64> {
    let (first_row, last_row, at) = match data.len() {
        10 => (u32::from(word(data, 0)?), u32::from(word(data, 2)?), 4),
        _ => (long(data, 0)?, long(data, 4)?, 8),
    };
    let (first_column, last_column) = (word(data, at)?, word(data, at + 2)?);
    if last_row == 0 || last_column == 0 {
        return Some(1);
    }
    let first_column = if first_column > 0xff || last_column < first_column { 0 } else { first_column };
    let rows = u64::from(last_row.checked_sub(first_row).filter(|rows| *rows > 0)?);
    let columns = u64::from(last_column.checked_sub(first_column).filter(|columns| *columns > 0)?);
    Some(rows * columns)
}

/// The rectangle that some cells span.
#[derive(Default)]
struct Rectangle(Option<[u16; 4]>);

impl Rectangle {
    /// Includes the cell of a record, which begins with its row and its column.
    fn include(&mut self, record: &[u8]) -> Result<(), String> {
        let (Some(row), Some(column)) = (word(record, 0), word(record, 2)) else {
            return Err(BROKEN.to_owned());
        };
        let [top, bottom, left, right] = self.0.unwrap_or([row, row, column, column]);
        self.0 = Some([top.min(row), bottom.max(row), left.min(column), right.max(column)]);
        Ok(())
    }

    fn columns(&mut self, last: u16) {
        if let Some([.., right]) = &mut self.0 {
            *right = last.max(*right);
        }
    }

    fn cells(&self) -> u64 {
        self.0.map_or(0, |[top, bottom, left, right]| {
            (u64::from(bottom - top) + 1) * (u64::from(right - left) + 1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u16, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len()).unwrap();
        [&kind.to_le_bytes()[..], &length.to_le_bytes(), data].concat()
    }

    fn cell(row: u16, column: u16) -> Vec<u8> {
        let place = [row.to_le_bytes(), column.to_le_bytes()].concat();
        record(NUMBER, &[&place[..], &[0; 10]].concat())
    }

    /// A stream with one list of sheets, and the same sheet for all of them.
    fn workbook(sheets: usize, sheet: &[u8]) -> Vec<u8> {
        let start = u32::try_from(4 + sheets * 12 + 4).unwrap();
        let listed = [&start.to_le_bytes()[..], &[0; 4]].concat();
        [record(BEGINNING, &[]), record(SHEET, &listed).repeat(sheets), record(END, &[]), sheet.to_vec()]
            .concat()
    }

    #[test]
    fn two_cells_span_all_cells_between_them() {
        let small = [record(BEGINNING, &[]), cell(0, 0), cell(9, 9), record(END, &[])].concat();
        assert_eq!(check_records(&workbook(1, &small)), Ok(()));
        let large = [record(BEGINNING, &[]), cell(0, 0), cell(65_535, 255), record(END, &[])].concat();
        assert!(check_records(&workbook(1, &large)).unwrap_err().contains("more than 4000000 cells"));
        // Many small ones together, though the file has only one.
        let medium = [record(BEGINNING, &[]), cell(0, 0), cell(9_999, 9), record(END, &[])].concat();
        assert_eq!(check_records(&workbook(40, &medium)), Ok(()));
        assert!(check_records(&workbook(41, &medium)).is_err());
    }

    #[test]
    fn what_a_sheet_declares_counts() {
        let declared = |rows: (u32, u32), columns: (u16, u16)| {
            let rows = [rows.0.to_le_bytes(), rows.1.to_le_bytes()].concat();
            let columns = [columns.0.to_le_bytes(), columns.1.to_le_bytes()].concat();
            let data = [rows, columns, vec![0; 2]].concat();
            let sheet = [record(BEGINNING, &[]), record(DIMENSIONS, &data), record(END, &[])].concat();
            check_records(&workbook(1, &sheet))
        };
        assert_eq!(declared((0, 1_000), (0, 200)), Ok(()));
        assert_eq!(declared((0, 0), (0, 0)), Ok(()));
        assert!(declared((0, u32::MAX), (0, u16::MAX)).is_err());
        assert_eq!(declared((10, 5), (0, 1)), Err(BROKEN.to_owned()), "its end is before its beginning");
    }

    #[test]
    fn a_sheet_outside_of_the_stream_is_refused() {
        let mut stream = workbook(1, &[]);
        stream[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(check_records(&stream), Err(BROKEN.to_owned()));
    }

    #[test]
    fn one_long_text_in_every_cell_is_refused() {
        let texts = |length: u16, continued: bool| {
            let (head, text) = ([&length.to_le_bytes()[..], &[0]].concat(), vec![b'x'; usize::from(length)]);
            let begins = [&[0; 8][..], &head];
            if continued {
                let records = [record(SHARED_TEXTS, &[&begins.concat()[..], &text[..100]].concat())];
                [&records.concat()[..], &record(CONTINUED, &[&[0], &text[100..]].concat())].concat()
            } else {
                record(SHARED_TEXTS, &[&begins.concat()[..], &text].concat())
            }
        };
        let cells: Vec<u8> = (0..10_000)
            .flat_map(|row: u16| record(SHARED_TEXT, &[&row.to_le_bytes()[..], &[0; 8]].concat()))
            .collect();
        let sheet = [record(BEGINNING, &[]), cells, record(END, &[])].concat();
        let book = |texts: Vec<u8>| {
            let start = u32::try_from(4 + 12 + texts.len() + 4).unwrap();
            let listed = [&start.to_le_bytes()[..], &[0; 4]].concat();
            check_records(
                &[record(BEGINNING, &[]), record(SHEET, &listed), texts, record(END, &[]), sheet.clone()]
                    .concat(),
            )
        };
        assert_eq!(book(texts(1_000, false)), Ok(()));
        for continued in [false, true] {
            let refused = book(texts(20_000, continued)).unwrap_err();
            assert!(refused.contains("characters"), "{refused}");
        }
    }
}
