//! Measures an archive before its parts are read.
//!
//! A small archive may unpack to any size, and what a reader keeps in memory grows with some of its parts: the texts that cells
//! share, the formats, one single value. So all parts are unpacked once, within limits, and nothing is kept.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::rc::Rc;

use quick_xml::events::{BytesStart, Event};
use zip::ZipArchive;

use super::super::source::MAX_ROW_BYTES;

/// The maximum number of bytes that a file unpacks to.
const MAX_UNPACKED: u64 = 4 << 30;

/// The maximum of what is kept in memory, as far as it can be foreseen.
const MAX_KEPT: u64 = 256 << 20;

/// What an element that is kept needs beside its text.
const KEPT_ELEMENT: u64 = 32;

/// The maximum number of files in an archive.
const MAX_PARTS: u64 = 10_000;

/// How deep elements may be nested.
const MAX_DEPTH: usize = 256;

/// The signature of an entry in the directory of an archive.
const DIRECTORY_ENTRY: &[u8] = b"PK\x01\x02";

/// What an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Archive {
    Xlsx,
    Ods,
}

/// Checks that an archive is a spreadsheet that can be read in bounded memory.
///
/// # Errors
///
/// A message when it is not.
pub(super) fn check_archive(file: &File) -> Result<Archive, String> {
    count_parts(file)?;
    let mut archive = open(file)?;
    let names: Result<Vec<String>, _> = archive.file_names().map(|name| name.map(Into::into)).collect();
    let names = names.map_err(|error| broken(&error))?;
    let has = |wanted: &str| names.iter().any(|name| name.eq_ignore_ascii_case(wanted));
    if has("mimetype") {
        return ods(&mut archive);
    }
    if names.iter().any(|name| name.to_ascii_lowercase().ends_with("workbook.bin")) {
        return Err("the file is an .xlsb, which is not supported; save it as .xlsx".to_owned());
    }
    if !has("[Content_Types].xml") {
        return Err("the file is an archive and not a spreadsheet".to_owned());
    }
    let unpacked = Rc::new(Cell::new(0));
    let mut kept = 0;
    for (at, name) in names.iter().enumerate() {
        let part = archive.by_index(at).map_err(|error| broken(&error))?;
        measure(part, &unpacked, &mut kept).map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(Archive::Xlsx)
}

/// Opens an archive.
pub(super) fn open(mut file: &File) -> Result<ZipArchive<BufReader<&File>>, String> {
    file.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    ZipArchive::new(BufReader::new(file)).map_err(|error| broken(&error))
}

pub(super) fn broken(error: &zip::result::ZipError) -> String {
    format!("the spreadsheet is broken: {error}")
}

/// Checks the number of parts, whose list is in memory as a whole.
fn count_parts(mut file: &File) -> Result<(), String> {
    file.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    let (mut reader, mut parts) = (BufReader::with_capacity(64 * 1024, file), 0_u64);
    let (mut buffer, mut matched) = (vec![0; 64 * 1024], 0);
    loop {
        let read = reader.read(&mut buffer).map_err(|error| error.to_string())?;
        if read == 0 {
            return Ok(());
        }
        for byte in &buffer[..read] {
            // No byte of the signature but its first one begins it anew.
            matched = match (*byte == DIRECTORY_ENTRY[matched], *byte == DIRECTORY_ENTRY[0]) {
                (true, _) => matched + 1,
                (false, true) => 1,
                (false, false) => 0,
            };
            if matched == DIRECTORY_ENTRY.len() {
                (parts, matched) = (parts + 1, 0);
            }
        }
        if parts > MAX_PARTS {
            return Err(format!("the archive has more than {MAX_PARTS} files"));
        }
    }
}

/// Checks that an archive is an OpenDocument spreadsheet without a password. Its content is read without keeping it.
fn ods(archive: &mut ZipArchive<BufReader<&File>>) -> Result<Archive, String> {
    let mut kind = String::new();
    let part = archive.by_name("mimetype").map_err(|error| broken(&error))?;
    part.take(100).read_to_string(&mut kind).map_err(|error| error.to_string())?;
    if !kind.starts_with("application/vnd.oasis.opendocument.spreadsheet") {
        return Err(format!("the file is not a spreadsheet but {:?}", kind.trim()));
    }
    let part = archive.by_name("META-INF/manifest.xml").map_err(|error| broken(&error))?;
    let mut xml = XmlPart::new(part, Rc::new(Cell::new(0)));
    let mut buffer = Vec::new();
    loop {
        match xml.next(&mut buffer)? {
            Event::Start(element) if element.local_name().as_ref() == "encryption-data" => {
                return Err(super::PASSWORD.to_owned());
            }
            Event::Eof => return Ok(Archive::Ods),
            _ => {}
        }
    }
}

/// The XML of a part of an archive, of which no event is longer than a row may be.
pub(super) struct XmlPart<R: Read> {
    xml: quick_xml::Reader<BufReader<Limited<R>>>,
    since_event: Rc<Cell<u64>>,
    /// The number of elements around the place that is read.
    depth: usize,
}

/// Counts what is read, and refuses more than the limits.
pub(super) struct Limited<R> {
    part: R,
    since_event: Rc<Cell<u64>>,
    unpacked: Rc<Cell<u64>>,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.part.read(buffer)?;
        self.since_event.set(self.since_event.get() + read as u64);
        self.unpacked.set(self.unpacked.get() + read as u64);
        if self.since_event.get() > 2 * MAX_ROW_BYTES as u64 {
            return Err(io::Error::other(format!("one value is longer than {} MiB", MAX_ROW_BYTES >> 20)));
        }
        if self.unpacked.get() > MAX_UNPACKED {
            return Err(io::Error::other(format!(
                "the file unpacks to more than {} GiB",
                MAX_UNPACKED >> 30
            )));
        }
        Ok(read)
    }
}

impl<R: Read> XmlPart<R> {
    /// `unpacked` counts the bytes of all parts.
    pub(super) fn new(part: R, unpacked: Rc<Cell<u64>>) -> Self {
        let since_event = Rc::new(Cell::new(0));
        let part = Limited { part, since_event: since_event.clone(), unpacked };
        let mut xml = quick_xml::Reader::from_reader(BufReader::new(part));
        let config = xml.config_mut();
        config.trim_text(false);
        config.expand_empty_elements = true;
        Self { xml, since_event, depth: 0 }
    }

    /// The next event.
    ///
    /// # Errors
    ///
    /// A message when the XML is broken or exceeds a limit.
    pub(super) fn next<'b>(&mut self, buffer: &'b mut Vec<u8>) -> Result<Event<'b>, String> {
        buffer.clear();
        self.since_event.set(0);
        let event = self.xml.read_event_into(buffer).map_err(|error| match error {
            quick_xml::Error::Io(error) => error.to_string(),
            error => format!("the XML is broken: {error}"),
        })?;
        match event {
            Event::Start(_) => self.depth += 1,
            Event::End(_) => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if self.depth > MAX_DEPTH {
            return Err(format!("elements are nested more than {MAX_DEPTH} deep"));
        }
        Ok(event)
    }

    fn position(&self) -> u64 {
        self.xml.buffer_position()
    }
}

/// The elements of the cells of a sheet, which are read one after the other and not kept.
const OF_CELLS: [&str; 9] = ["worksheet", "sheetData", "row", "c", "v", "f", "is", "t", "r"];

/// The elements by which the parts of a workbook are known.
const OF_WORKBOOKS: [&str; 6] = ["sst", "si", "worksheet", "styleSheet", "workbook", "Relationships"];

/// Reads a part to its end. `kept` grows with what has to be kept of it.
fn measure(part: impl Read, unpacked: &Rc<Cell<u64>>, kept: &mut u64) -> Result<(), String> {
    let mut xml = XmlPart::new(part, unpacked.clone());
    let mut buffer = Vec::new();
    // Inside of how many elements that are kept; how deep the cell is, and where it began.
    let (mut inside_kept, mut cell_depth, mut cell_start) = (0_usize, None, 0);
    let mut is_of_workbook = false;
    loop {
        let (before, depth) = (xml.position(), xml.depth);
        let event = match xml.next(&mut buffer) {
            Ok(event) => event,
            // A picture is no XML, and nobody reads it as such.
            Err(why) if why.starts_with("the XML") && !is_of_workbook => return Ok(()),
            Err(why) => return Err(why),
        };
        let mut counts = inside_kept > 0;
        match &event {
            Event::Start(element) => {
                let name = element.local_name();
                let is_of_cells = OF_CELLS.contains(&name.as_ref());
                is_of_workbook = is_of_workbook || OF_WORKBOOKS.contains(&name.as_ref());
                if !is_of_cells {
                    inside_kept += 1;
                    *kept += KEPT_ELEMENT + reserved(element);
                    counts = true;
                } else if cell_depth.is_none() && name.as_ref() == "c" {
                    (cell_start, cell_depth) = (before, Some(depth + 1));
                }
            }
            Event::End(element) => {
                if !OF_CELLS.contains(&element.local_name().as_ref()) {
                    inside_kept = inside_kept.saturating_sub(1);
                }
                if cell_depth == Some(depth) {
                    cell_depth = None;
                }
            }
            Event::Eof => return Ok(()),
            _ => {}
        }
        drop(event);
        let length = xml.position() - before;
        if counts {
            *kept += length;
        }
        if cell_depth.is_some() && xml.position() - cell_start > 2 * MAX_ROW_BYTES as u64 {
            return Err(format!("one value is longer than {} MiB", MAX_ROW_BYTES >> 20));
        }
        if *kept > MAX_KEPT {
            return Err(format!(
                "its texts and formats need more than {} MiB of memory; save the sheet as CSV",
                MAX_KEPT >> 20
            ));
        }
    }
}

/// The memory that a reader reserves because the list of texts says how many there are.
fn reserved(element: &BytesStart<'_>) -> u64 {
    if element.local_name().as_ref() != "sst" {
        return 0;
    }
    let count = element.try_get_attribute("uniqueCount").ok().flatten();
    let count = count.map_or(0, |count| count.value.trim().parse::<u64>().unwrap_or(u64::MAX >> 8));
    count.saturating_mul(size_of::<String>() as u64).min(u64::MAX >> 8)
}
