//! Reads OpenDocument spreadsheets, cell by cell.
//!
//! The crate `calamine` reads them, too, but has an error as a text like any other, the value of a covered cell as that of a cell,
//! no difference between a time of day and a duration, and all sheets in memory, with each repeated cell.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::rc::Rc;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};
use zip::ZipArchive;

use super::super::numbers;
use super::super::record::CellKind;
use super::super::source::MAX_ROW_BYTES;
use super::copy::{MAX_COLUMNS, MAX_ROWS, SheetCopy};
use super::limits::{self, XmlPart};
use super::{SheetName, Workbook, dates};

pub(super) struct Ods<'a> {
    archive: ZipArchive<BufReader<&'a File>>,
    sheets: Vec<SheetName>,
}

impl<'a> Ods<'a> {
    /// Opens a file that was checked ([`limits::check_archive`]).
    pub(super) fn open(file: &'a File) -> Result<Self, String> {
        let mut archive = limits::open(file)?;
        let sheets = {
            let part = archive.by_name("content.xml").map_err(|error| limits::broken(&error))?;
            let mut content = Content::new(part, None);
            content.read(&mut Vec::new())?;
            content.sheets
        };
        Ok(Self { archive, sheets })
    }
}

impl Workbook for Ods<'_> {
    fn sheets(&self) -> Vec<SheetName> {
        self.sheets.clone()
    }

    fn read(&mut self, sheet: usize, copy: &mut SheetCopy) -> Result<(), String> {
        let part = self.archive.by_name("content.xml").map_err(|error| limits::broken(&error))?;
        Content::new(part, Some((sheet, copy))).read(&mut Vec::new())
    }
}

/// The part of a file that has its sheets.
struct Content<'c, R: Read> {
    xml: XmlPart<R>,
    /// The sheet to copy; without it only their names are read.
    wanted: Option<(usize, &'c mut SheetCopy)>,
    sheets: Vec<SheetName>,
    styles: Styles,
    /// The number of bytes of names that are kept.
    kept: usize,
}

/// The maximum number of bytes of the names of sheets and styles.
const MAX_NAMES: usize = 16 << 20;

/// What the styles say about sheets and cells.
#[derive(Default)]
struct Styles {
    /// The styles of sheets that are hidden.
    hidden: HashSet<String>,
    /// The formats of times that count hours beyond a day.
    durations: HashSet<String>,
    /// The format of each style.
    formats: HashMap<String, String>,
}

impl Styles {
    fn is_duration(&self, style: Option<&str>) -> bool {
        style.and_then(|style| self.formats.get(style)).is_some_and(|format| self.durations.contains(format))
    }
}

/// A cell of a row, with its place and how often it is repeated.
struct RowCell {
    column: u32,
    repeated: u32,
    kind: CellKind,
    text: String,
}

impl<'c, R: Read> Content<'c, R> {
    fn new(part: R, wanted: Option<(usize, &'c mut SheetCopy)>) -> Self {
        let xml = XmlPart::new(part, Rc::new(Cell::new(0)));
        Self { xml, wanted, sheets: Vec::new(), styles: Styles::default(), kept: 0 }
    }

    /// The value of an attribute that is kept.
    fn name(&mut self, element: &BytesStart<'_>, name: &str) -> Result<Option<String>, String> {
        let value = attribute(element, name)?;
        self.kept += value.as_ref().map_or(0, |value| value.len() + 64);
        if self.kept > MAX_NAMES {
            return Err(format!("the names of its sheets and styles need more than {} MiB", MAX_NAMES >> 20));
        }
        Ok(value)
    }

    fn read(&mut self, buffer: &mut Vec<u8>) -> Result<(), String> {
        let mut style = String::new();
        loop {
            let element = match self.xml.next(buffer)? {
                Event::Start(element) => element.into_owned(),
                Event::Eof => return Ok(()),
                _ => continue,
            };
            match element.name().as_ref() {
                "number:time-style"
                    if attribute(&element, "number:truncate-on-overflow")?.as_deref() == Some("false") =>
                {
                    let name = self.name(&element, "style:name")?;
                    self.styles.durations.extend(name);
                }
                "style:style" => {
                    style = self.name(&element, "style:name")?.unwrap_or_default();
                    if let Some(format) = self.name(&element, "style:data-style-name")? {
                        self.styles.formats.insert(style.clone(), format);
                    }
                }
                "style:table-properties"
                    if attribute(&element, "table:display")?.as_deref() == Some("false") =>
                {
                    self.styles.hidden.insert(style.clone());
                }
                "table:table" => {
                    let Some(name) = self.name(&element, "table:name")? else { continue };
                    let style = attribute(&element, "table:style-name")?;
                    let is_hidden = style.is_some_and(|style| self.styles.hidden.contains(&style));
                    let is_wanted = self.wanted.as_ref().is_some_and(|(at, _)| *at == self.sheets.len());
                    self.sheets.push(SheetName { name, is_hidden });
                    if is_wanted {
                        return self.table(buffer);
                    }
                }
                _ => {}
            }
        }
    }

    /// Copies the rows of a sheet, up to its end.
    fn table(&mut self, buffer: &mut Vec<u8>) -> Result<(), String> {
        let mut row = 0_u32;
        // The style of the cells of so many columns.
        let mut columns: Vec<(u32, Option<String>)> = Vec::new();
        loop {
            match self.xml.next(buffer)? {
                Event::Start(element) => match element.to_owned().name().as_ref() {
                    "table:table-column" => {
                        let repeated = count(&element, "table:number-columns-repeated", MAX_COLUMNS)?;
                        let style = self.name(&element, "table:default-cell-style-name")?;
                        if columns.len() < MAX_COLUMNS as usize {
                            columns.push((repeated, style));
                        }
                    }
                    "table:table-row" => {
                        let repeated = count(&element, "table:number-rows-repeated", MAX_ROWS)?;
                        let cells = self.row(buffer, &columns)?;
                        let Some((_, copy)) = &mut self.wanted else { return Ok(()) };
                        if !cells.is_empty() {
                            let length =
                                |cell: &RowCell| (cell.text.len() as u64 + 4) * u64::from(cell.repeated);
                            copy.expect(cells.iter().map(length).sum::<u64>() * u64::from(repeated))?;
                            for row in row..row.saturating_add(repeated) {
                                copy_row(row, &cells, copy)?;
                            }
                        }
                        row = row.saturating_add(repeated);
                    }
                    // Pictures and charts of the sheet.
                    "table:shapes" => self.skip(buffer)?,
                    _ => {}
                },
                Event::End(element) if element.name().as_ref() == "table:table" => return Ok(()),
                Event::Eof => return Err("the spreadsheet is broken: a sheet has no end".to_owned()),
                _ => {}
            }
        }
    }

    /// The cells of a row in which something is.
    fn row(
        &mut self,
        buffer: &mut Vec<u8>,
        columns: &[(u32, Option<String>)],
    ) -> Result<Vec<RowCell>, String> {
        let (mut cells, mut column, mut bytes) = (Vec::new(), 0_u32, 0_usize);
        loop {
            match self.xml.next(buffer)? {
                Event::Start(element) => {
                    let is_covered = match element.name().as_ref() {
                        "table:table-cell" => false,
                        // Its value belongs to the upper left cell of the merged ones, whatever the file has for it.
                        "table:covered-table-cell" => true,
                        _ => {
                            self.skip(buffer)?;
                            continue;
                        }
                    };
                    let repeated = count(&element, "table:number-columns-repeated", MAX_COLUMNS)?;
                    let properties = CellProperties::of(&element, column, columns, &self.styles)?;
                    let text = self.text(buffer)?;
                    if !is_covered && let Some((kind, text)) = properties.value(text) {
                        bytes += text.len();
                        if bytes > MAX_ROW_BYTES || column >= MAX_COLUMNS {
                            return Err(format!(
                                "a row is longer than {} MiB or has more than {MAX_COLUMNS} cells",
                                MAX_ROW_BYTES >> 20
                            ));
                        }
                        cells.push(RowCell { column, repeated, kind, text });
                    }
                    column = column.saturating_add(repeated);
                }
                Event::End(element) if element.name().as_ref() == "table:table-row" => return Ok(cells),
                Event::Eof => return Err("the spreadsheet is broken: a row has no end".to_owned()),
                _ => {}
            }
        }
    }

    /// The text of a cell, up to its end: its paragraphs, one a line, without comments and pictures.
    fn text(&mut self, buffer: &mut Vec<u8>) -> Result<String, String> {
        let (mut text, mut paragraphs, mut depth) = (String::new(), 0, 0_usize);
        loop {
            match self.xml.next(buffer)? {
                Event::Start(element) => match element.name().as_ref() {
                    "text:p" | "text:h" if depth == 0 => {
                        if paragraphs > 0 {
                            text.push('\n');
                        }
                        paragraphs += 1;
                        depth += 1;
                    }
                    "text:s" if depth > 0 => {
                        let spaces = count(&element, "text:c", MAX_COLUMNS)? as usize;
                        text.push_str(&" ".repeat(spaces));
                        depth += 1;
                    }
                    "text:tab" if depth > 0 => {
                        text.push('\t');
                        depth += 1;
                    }
                    "text:line-break" if depth > 0 => {
                        text.push('\n');
                        depth += 1;
                    }
                    "text:span" | "text:a" if depth > 0 => depth += 1,
                    _ => self.skip(buffer)?,
                },
                Event::End(_) if depth == 0 => return Ok(text),
                Event::End(_) => depth -= 1,
                Event::Text(part) if depth > 0 => text.push_str(&part.xml10_content()),
                Event::CData(part) if depth > 0 => text.push_str(&part.xml10_content()),
                Event::GeneralRef(reference) if depth > 0 => text.push(character(&reference)?),
                Event::Eof => return Err("the spreadsheet is broken: a cell has no end".to_owned()),
                _ => {}
            }
            if text.len() > MAX_ROW_BYTES {
                return Err(format!("a cell is longer than {} MiB", MAX_ROW_BYTES >> 20));
            }
        }
    }

    /// Skips an element whose beginning was read.
    fn skip(&mut self, buffer: &mut Vec<u8>) -> Result<(), String> {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.xml.next(buffer)? {
                Event::Start(_) => depth += 1,
                Event::End(_) => depth -= 1,
                Event::Eof => return Err("the spreadsheet is broken: an element has no end".to_owned()),
                _ => {}
            }
        }
        Ok(())
    }
}

fn copy_row(row: u32, cells: &[RowCell], copy: &mut SheetCopy) -> Result<(), String> {
    for cell in cells {
        for column in cell.column..cell.column.saturating_add(cell.repeated) {
            copy.cell(row, column, cell.kind, &cell.text)?;
        }
    }
    Ok(())
}

/// What the attributes of a cell say about its value.
struct CellProperties {
    value_type: Option<String>,
    value: Option<String>,
    is_error: bool,
    has_formula: bool,
    is_duration: bool,
}

impl CellProperties {
    fn of(
        element: &BytesStart<'_>,
        column: u32,
        columns: &[(u32, Option<String>)],
        styles: &Styles,
    ) -> Result<Self, String> {
        let value_type = attribute(element, "office:value-type")?;
        let value = match value_type.as_deref() {
            Some("float" | "percentage" | "currency") => attribute(element, "office:value")?,
            Some("date") => attribute(element, "office:date-value")?,
            Some("time") => attribute(element, "office:time-value")?,
            Some("boolean") => attribute(element, "office:boolean-value")?,
            Some("string") => attribute(element, "office:string-value")?,
            _ => None,
        };
        let is_error = attribute(element, "calcext:value-type")?.as_deref() == Some("error");
        let has_formula = attribute(element, "table:formula")?.is_some();
        let is_duration = value_type.as_deref() == Some("time")
            && match attribute(element, "table:style-name")? {
                Some(style) => styles.is_duration(Some(&style)),
                None => styles.is_duration(style_of_column(column, columns)),
            };
        Ok(Self { value_type, value, is_error, has_formula, is_duration })
    }

    /// The kind and the text of the value; `None` if nothing is in the cell.
    fn value(self, shown: String) -> Option<(CellKind, String)> {
        if self.is_error {
            return Some((CellKind::Error, shown));
        }
        let Some(value_type) = self.value_type else {
            return self.has_formula.then(|| (CellKind::NoValue, String::new()));
        };
        let value = self.value.unwrap_or_else(|| shown.clone());
        let dated = |text: Result<String, String>| match text {
            Ok(text) => (CellKind::Text, text),
            Err(wrong) => (CellKind::BadDate, wrong),
        };
        Some(match &*value_type {
            "float" | "percentage" | "currency" => match value.trim().parse::<f64>() {
                Ok(number) if number.is_finite() => (CellKind::Number, numbers::text_of(number)),
                _ => (CellKind::Error, shown),
            },
            "date" => dated(dates::iso_date(&value)),
            "time" => dated(dates::iso_time(&value, self.is_duration)),
            "boolean" => (CellKind::Boolean, value),
            _ => (CellKind::Text, value),
        })
    }
}

/// The style that the cells of a column have.
fn style_of_column(column: u32, columns: &[(u32, Option<String>)]) -> Option<&str> {
    let mut end = 0_u32;
    let found = columns.iter().find(|(repeated, _)| {
        end = end.saturating_add(*repeated);
        column < end
    });
    found.and_then(|(_, style)| style.as_deref())
}

/// The value of an attribute.
fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, String> {
    let broken = |error: &dyn std::fmt::Display| format!("the XML is broken: {error}");
    let found = element.try_get_attribute(name).map_err(|error| broken(&error))?;
    let Some(found) = found else { return Ok(None) };
    found
        .normalized_value(XmlVersion::Implicit1_0)
        .map(|value| Some(value.into_owned()))
        .map_err(|error| broken(&error))
}

/// How often something is repeated, at most as often as a sheet has place for.
fn count(element: &BytesStart<'_>, name: &str, most: u32) -> Result<u32, String> {
    let Some(text) = attribute(element, name)? else { return Ok(1) };
    let count = text.trim().parse::<u64>().map_err(|_| format!("the XML is broken: {name} is {text:?}"))?;
    Ok(u32::try_from(count).unwrap_or(most).clamp(1, most))
}

/// The character that a reference such as `&amp;` or `&#10;` stands for.
fn character(reference: &BytesRef<'_>) -> Result<char, String> {
    let unknown = || format!("the XML is broken: it refers to {:?}", reference.xml10_content());
    if reference.is_char_ref() {
        return reference.resolve_char_ref().ok().flatten().ok_or_else(unknown);
    }
    Ok(match &*reference.xml10_content() {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => return Err(unknown()),
    })
}
