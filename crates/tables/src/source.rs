//! Reads a file as lines of text, in any encoding.
//!
//! A file is read several times, because all of it is checked before anything is done with it. So the input from a pipe is copied
//! to a temporary file first, and so is a sheet of a spreadsheet, as one line of JSON for each of its rows.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::error::{ReadError, TableError};
use super::sheet;

/// The maximum length of a line or a row, in bytes of UTF-8. An item may have 256,000 code units; a longer row shows a file of
/// another kind, or a quotation mark that is not closed.
pub(crate) const MAX_ROW_BYTES: usize = 16 * 1024 * 1024;

/// The number of bytes read at once.
const READ_SIZE: usize = 64 * 1024;

/// A file that can be read from its beginning repeatedly, by one reader after the other.
#[derive(Clone)]
pub struct Source(Arc<Inner>);

struct Inner {
    file: File,
    encoding: &'static Encoding,
    /// The length of its byte order mark, in bytes.
    bom_length: u64,
    /// The name of the file, without its folder; `-` for stdin.
    name: String,
    /// The sheet that was copied.
    sheet: Option<String>,
    size: u64,
    on_read: Option<Box<dyn Fn(u64) + Send + Sync>>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { name, sheet, encoding, size, .. } = &*self.0;
        f.debug_struct("Source")
            .field("name", name)
            .field("sheet", sheet)
            .field("encoding", encoding)
            .field("size", size)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Opens a file of text; `-` is stdin. The encoding is that of a byte order mark, then the given one, then UTF-16 if the first
    /// bytes show it, then UTF-8.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or read, is UTF-32, or is a spreadsheet.
    pub fn open(path: &Path, encoding: Option<&'static Encoding>) -> Result<Self, TableError> {
        let failed = |error: io::Error| TableError::failed(format!("{}: {error}", path.display()));
        let file = opened(path)?;
        let size = file.metadata().map_err(failed)?.len();
        let (encoding, bom_length) = detect_encoding(&file, encoding).map_err(failed)?;
        let name = file_name(path);
        Ok(Self(Arc::new(Inner { file, encoding, bom_length, name, sheet: None, size, on_read: None })))
    }

    /// Opens a sheet of a spreadsheet (`.xlsx`, `.xlsm`, `.xls`, `.ods`, by its content): that with a name or a number, counted
    /// from 1, or else the first visible one in which something is.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or read, is not a spreadsheet, is protected with a password or larger than the limits; when
    /// there is no such sheet.
    pub fn open_sheet(path: &Path, wanted: Option<&str>) -> Result<Self, TableError> {
        let file = opened(path)?;
        let name = file_name(path);
        let copy = sheet::copied(&file, wanted).map_err(|error| error.within(&name))?;
        let size = copy.file.metadata()?.len();
        let sheet = Some(copy.sheet);
        Ok(Self(Arc::new(Inner {
            file: copy.file,
            encoding: UTF_8,
            bom_length: 0,
            name,
            sheet,
            size,
            on_read: None,
        })))
    }

    /// Calls a function with the number of bytes read so far, whenever some were. Has no effect on a clone.
    pub fn on_read(mut self, on_read: impl Fn(u64) + Send + Sync + 'static) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.on_read = Some(Box::new(on_read));
        }
        self
    }

    /// The name of the file, without its folder.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The name of the sheet, if the file is a spreadsheet.
    pub fn sheet(&self) -> Option<&str> {
        self.0.sheet.as_deref()
    }

    /// The name of the encoding.
    pub fn encoding(&self) -> &'static str {
        self.0.encoding.name()
    }

    /// The number of bytes that are read.
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// The lines of the file, from its beginning.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub(crate) fn lines(&self) -> Result<Lines, TableError> {
        let mut lines = self.sample()?;
        lines.reports = true;
        Ok(lines)
    }

    /// The lines of the file, of which a few are looked at: this is not reported as progress.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub(crate) fn sample(&self) -> Result<Lines, TableError> {
        let Inner { file, bom_length, encoding, .. } = &*self.0;
        let mut file: &File = file;
        file.seek(SeekFrom::Start(*bom_length))?;
        Ok(Lines {
            source: self.0.clone(),
            decoder: encoding.new_decoder_without_bom_handling(),
            digest: ring::digest::Context::new(&ring::digest::SHA256),
            reports: false,
            read: *bom_length,
            bytes: *bom_length,
            raw: vec![0; READ_SIZE],
            text: String::new(),
            start: 0,
            line: 0,
            ended: false,
            broken: None,
        })
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Opens a file that can be read repeatedly.
fn opened(path: &Path) -> Result<File, TableError> {
    let failed = |error: io::Error| TableError::failed(format!("{}: {error}", path.display()));
    if path == Path::new("-") {
        return copied_to_temp_file(io::stdin().lock()).map_err(failed);
    }
    let file = File::open(path).map_err(failed)?;
    let kind = file.metadata().map_err(failed)?;
    if kind.is_dir() {
        return Err(TableError::failed(format!("{} is a folder", path.display())));
    }
    if kind.is_file() { Ok(file) } else { copied_to_temp_file(file).map_err(failed) }
}

/// The encoding of a file, and the length of its byte order mark.
fn detect_encoding(
    mut file: &File,
    given: Option<&'static Encoding>,
) -> io::Result<(&'static Encoding, u64)> {
    let mut first = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(8).read_to_end(&mut first)?;
    if sheet::is_spreadsheet(&first) {
        return Err(io::Error::other("the file is a spreadsheet (or another archive); use --format sheet"));
    }
    if matches!(first[..], [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..]) {
        return Err(io::Error::other("UTF-32 is not supported; save the file as UTF-8"));
    }
    Ok(match (Encoding::for_bom(&first), given, &first[..]) {
        (Some((encoding, length)), ..) => (encoding, length as u64),
        (None, Some(given), _) => (given, 0),
        (None, None, [1..=255, 0, ..]) => (UTF_16LE, 0),
        (None, None, [0, 1..=255, ..]) => (UTF_16BE, 0),
        (None, None, _) => (UTF_8, 0),
    })
}

/// Copies the input from a pipe to an anonymous temporary file.
fn copied_to_temp_file(mut from: impl io::Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(&mut from, &mut file)?;
    Ok(file)
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Counted from 1. Lines end with LF, CR LF or CR, as editors count them.
    pub(crate) number: u64,
    /// Without the line end.
    pub(crate) text: String,
    /// The line end; empty at the end of the file.
    pub(crate) end: &'static str,
}

/// The lines of a file.
pub(crate) struct Lines {
    source: Arc<Inner>,
    decoder: Decoder,
    digest: ring::digest::Context,
    /// Whether what is read is reported as progress.
    reports: bool,
    /// The number of bytes read.
    read: u64,
    /// The number of bytes decoded.
    bytes: u64,
    raw: Vec<u8>,
    /// The decoded text; the part before `start` was returned.
    text: String,
    start: usize,
    /// The number of the line that was returned last.
    line: u64,
    ended: bool,
    /// Why nothing can be decoded after `text`.
    broken: Option<String>,
}

impl Lines {
    /// The next line, or `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or decoded, or a line is longer than [`MAX_ROW_BYTES`].
    pub(crate) fn next(&mut self) -> Result<Option<Line>, ReadError> {
        let mut searched = self.start;
        loop {
            let found =
                self.text.as_bytes()[searched..].iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let at_end = self.ended || self.broken.is_some();
            if let Some(found) = found {
                let end = searched + found;
                let rest = &self.text[end..];
                // Whether CR is followed by LF is known only when the next byte is there.
                if rest.len() > 1 || at_end || rest.starts_with('\n') {
                    let mark = if rest.starts_with("\r\n") {
                        "\r\n"
                    } else if rest.starts_with('\n') {
                        "\n"
                    } else {
                        "\r"
                    };
                    return Ok(Some(self.take_line(end, mark)));
                }
                searched = end;
            } else {
                if let Some(why) = &self.broken {
                    return Err(self.error(why.clone()));
                }
                if at_end {
                    let is_over = self.start == self.text.len();
                    return Ok((!is_over).then(|| self.take_line(self.text.len(), "")));
                }
                searched = self.text.len();
            }
            if self.text.len() - self.start > MAX_ROW_BYTES {
                return Err(self.error(format!("the line is longer than {} MiB", MAX_ROW_BYTES >> 20)));
            }
            searched -= self.start;
            self.text.drain(..self.start);
            self.start = 0;
            self.read_more();
        }
    }

    fn take_line(&mut self, end: usize, mark: &'static str) -> Line {
        let text = self.text[self.start..end].to_owned();
        self.start = end + mark.len();
        self.line += 1;
        Line { number: self.line, text, end: mark }
    }

    /// An error in the next line.
    fn error(&self, why: String) -> ReadError {
        ReadError { line: self.line + 1, why }
    }

    /// Reads and decodes the next bytes.
    fn read_more(&mut self) {
        let read = loop {
            match (&self.source.file).read(&mut self.raw) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.broken = Some(error.to_string());
                    return;
                }
                Ok(read) => break read,
            }
        };
        let raw = &self.raw[..read];
        self.digest.update(raw);
        self.read += read as u64;
        if self.reports
            && let Some(on_read) = &self.source.on_read
        {
            on_read(self.read);
        }
        self.ended = read == 0;
        let before = self.text.len();
        // Enough for every encoding and every decoder state; the length cannot overflow for so few bytes.
        self.text
            .reserve(self.decoder.max_utf8_buffer_length_without_replacement(read).unwrap_or(4 * READ_SIZE));
        let (result, used) =
            self.decoder.decode_to_string_without_replacement(raw, &mut self.text, self.ended);
        self.bytes += used as u64;
        if let DecoderResult::Malformed(length, after) = result {
            let end = used.saturating_sub(usize::from(after));
            let bad = &raw[end.saturating_sub(usize::from(length))..end];
            let bad: Vec<String> = bad.iter().map(|byte| format!("{byte:02X}")).collect();
            let shown = if bad.is_empty() {
                "the end of the file is".to_owned()
            } else {
                format!("the bytes {} are", bad.join(" "))
            };
            self.broken = Some(self.undecodable(&shown));
        } else if self.source.encoding.name().starts_with("windows-")
            && let Some(at) = self.text[before..].find(|c| ('\u{80}'..='\u{9f}').contains(&c))
        {
            // The standard decodes bytes that these encodings do not assign to control characters, which no text contains.
            let byte = self.text[before + at..].chars().next().map_or(0, u32::from);
            self.text.truncate(before + at);
            self.broken = Some(self.undecodable(&format!("the byte {byte:02X} is")));
        }
    }

    fn undecodable(&self, what: &str) -> String {
        let name = self.source.encoding.name();
        let remedy = if self.source.encoding == UTF_8 {
            "give the encoding of the file, such as --encoding windows-1252"
        } else {
            "give the encoding of the file with --encoding"
        };
        format!("{what} not {name} (near byte {}); {remedy}", self.bytes)
    }

    /// The digest of the bytes read so far, in hexadecimal.
    pub(crate) fn digest(&self) -> String {
        self.digest.clone().finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use super::*;

    /// A file with these bytes.
    pub(crate) fn source(bytes: &[u8], encoding: Option<&'static Encoding>) -> Source {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        Source::open(file.path(), encoding).unwrap()
    }

    fn read(bytes: &[u8], encoding: Option<&'static Encoding>) -> Result<Vec<Line>, ReadError> {
        let source = source(bytes, encoding);
        let mut lines = source.lines().unwrap();
        std::iter::from_fn(|| lines.next().transpose()).collect()
    }

    fn line(number: u64, text: &str, end: &'static str) -> Line {
        Line { number, text: text.to_owned(), end }
    }

    #[test]
    fn all_line_ends_are_recognised() {
        let lines = read(b"a\r\nb\nc\rd\r\r\n\ne", None).unwrap();
        let expected = [
            line(1, "a", "\r\n"),
            line(2, "b", "\n"),
            line(3, "c", "\r"),
            line(4, "d", "\r"),
            line(5, "", "\r\n"),
            line(6, "", "\n"),
            line(7, "e", ""),
        ];
        assert_eq!(lines, expected);
        assert_eq!(read(b"", None), Ok(vec![]));
        assert_eq!(read(b"a\r", None), Ok(vec![line(1, "a", "\r")]));
    }

    #[test]
    fn a_line_end_across_two_reads_is_recognised() {
        for before in READ_SIZE - 3..READ_SIZE + 3 {
            let text = format!("{}\r\nb", "x".repeat(before));
            let lines = read(text.as_bytes(), None).unwrap();
            assert_eq!(lines.len(), 2, "{before}");
            assert_eq!((lines[1].number, &*lines[1].text), (2, "b"));
        }
    }

    #[test]
    fn the_encoding_is_detected_from_the_first_bytes() {
        let utf_16 = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(bytes).collect()
        };
        for bytes in [
            "Zoë,€".as_bytes().to_vec(),
            "\u{feff}Zoë,€".as_bytes().to_vec(),
            utf_16("Zoë,€", u16::to_le_bytes),
            utf_16("Zoë,€", u16::to_be_bytes),
            utf_16("\u{feff}Zoë,€", u16::to_le_bytes),
            utf_16("\u{feff}Zoë,€", u16::to_be_bytes),
        ] {
            assert_eq!(read(&bytes, None), Ok(vec![line(1, "Zoë,€", "")]), "{bytes:?}");
        }
        let windows = Encoding::for_label(b"windows-1252");
        assert_eq!(read(b"Zo\xeb,\x80", windows), Ok(vec![line(1, "Zoë,€", "")]));
        assert_eq!(
            read("\u{feff}Zoë".as_bytes(), windows),
            Ok(vec![line(1, "Zoë", "")]),
            "a mark is certain"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"\xff\xfe\0\0a\0\0\0").unwrap();
        assert!(Source::open(file.path(), None).unwrap_err().to_string().contains("UTF-32"));
    }

    #[test]
    fn undecodable_bytes_are_reported_with_their_line() {
        let fault = read(b"a\r\nb\r\nZo\xeb,x\n", None).unwrap_err();
        assert_eq!(fault.line, 3, "{fault:?}");
        assert!(
            fault.why.contains("the bytes EB are not UTF-8") && fault.why.contains("windows-1252"),
            "{fault:?}"
        );
        // Of two bytes that belong together the second one is not there.
        let fault = read(b"a\nb\xc3", None).unwrap_err();
        assert_eq!(fault.line, 2, "{fault:?}");
        let fault = read(b"\xff\xfea\0\n\0\x00\xd8b\0", None).unwrap_err();
        assert!(fault.line == 2 && fault.why.contains("UTF-16LE"), "{fault:?}");
        let fault = read(b"a\nb\x81", Encoding::for_label(b"windows-1252")).unwrap_err();
        assert!(fault.line == 2 && fault.why.contains("the byte 81 is not windows-1252"), "{fault:?}");
        let late = [vec![b'x'; READ_SIZE + 10], b"\n\n\xff".to_vec()].concat();
        assert_eq!(read(&late, None).unwrap_err().line, 3);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let fault = read(&vec![b'x'; MAX_ROW_BYTES + READ_SIZE + 1], None).unwrap_err();
        assert!(fault.line == 1 && fault.why.contains("longer than 16 MiB"), "{fault:?}");
    }
}
