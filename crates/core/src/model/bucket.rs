//! Storage buckets: named places for files (orchestrator-api 18). What a file's path may be is decided here, for every back end.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::code::ErrorCode;
use super::key::{BucketKey, FolderId};
use super::refusal::Refusal;
use crate::enumeration;

/// The longest name, in UTF-16 code units.
pub const NAME_LIMIT: usize = 128;

/// The longest description, in UTF-16 code units.
pub const DESCRIPTION_LIMIT: usize = 512;

/// The longest path of a file, in bytes: what the services of all clouds take, less a prefix of ours.
pub const PATH_LIMIT: usize = 900;

/// The longest name of a file or directory, in bytes: what file systems take, less what is appended while a file is written.
pub const SEGMENT_LIMIT: usize = 240;

/// How often a path is decoded when it is searched for what is not allowed.
const MAX_DECODINGS: usize = 8;

enumeration! {
    /// What is special about a bucket.
    pub BucketOptions {
        /// Nothing.
        None = 0,
        /// Its files can be read, and not written or deleted.
        ReadOnly = 1,
        /// The audit records who reads its files.
        AuditReadAccess = 2,
        /// Files travel through the server, also where clients could be sent to the storage.
        AccessDataThroughOrchestrator = 4,
    }
}

/// The number of a bucket. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BucketId(pub i64);

impl fmt::Display for BucketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Bucket {
    /// Its number.
    pub id: BucketId,
    /// Its identifier, which never changes: files are kept under it.
    pub key: BucketKey,
    /// Its name, unique in each of its folders, ignoring case.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// What is special about it.
    pub options: BucketOptions,
    /// The folders that it is in, the first one first. Empty if they are not known.
    pub folders: Vec<FolderId>,
    /// When it was made, if that is known.
    pub created: Option<Timestamp>,
}

impl Bucket {
    /// A new bucket in a folder.
    pub fn new(key: BucketKey, about: NewBucket, folder: FolderId, now: Timestamp) -> Self {
        let NewBucket { name, description, options, .. } = about;
        let folders = vec![folder];
        Self { id: BucketId(0), key, name, description, options, folders, created: Some(now) }
    }

    /// A bucket of which another server told.
    pub fn known(id: BucketId, key: BucketKey, about: NewBucket) -> Self {
        let NewBucket { name, description, options, .. } = about;
        Self { id, key, name, description, options, folders: Vec::new(), created: None }
    }

    /// Refuses a change by someone who may not change buckets in all its folders; `None`: who may everywhere.
    ///
    /// # Errors
    ///
    /// Code 1017.
    pub fn may_be_changed_by(&self, reach: Option<&[FolderId]>) -> Result<(), Refusal> {
        if reach.is_none_or(|reach| self.folders.iter().all(|folder| reach.contains(folder))) {
            return Ok(());
        }
        let message =
            format!("bucket {:?} is shared with a folder where you may not change buckets", self.name);
        Err(Refusal::new(ErrorCode::FORBIDDEN_OPERATION, message))
    }

    /// Refuses a change of the files of a bucket that is read-only.
    ///
    /// # Errors
    ///
    /// Code 1017.
    pub fn may_be_written(&self) -> Result<(), Refusal> {
        if self.options != BucketOptions::ReadOnly {
            return Ok(());
        }
        let message = format!("bucket {:?} is read-only", self.name);
        Err(Refusal::new(ErrorCode::FORBIDDEN_OPERATION, message))
    }
}

/// A bucket to create, or what a bucket becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewBucket {
    /// Its name, 1 to [`NAME_LIMIT`] code units.
    pub name: String,
    /// What it is for, up to [`DESCRIPTION_LIMIT`] code units.
    pub description: Option<String>,
    /// The identifier. `None`: one is made.
    pub key: Option<BucketKey>,
    /// What is special about it.
    pub options: BucketOptions,
}

impl NewBucket {
    /// A bucket of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), description: None, key: None, options: BucketOptions::None }
    }

    /// Sets what it is for. Default: nothing is said.
    #[must_use]
    pub fn description(mut self, description: impl Into<Option<String>>) -> Self {
        self.description = description.into();
        self
    }

    /// Sets its identifier. Default: one is made.
    #[must_use]
    pub fn key(mut self, key: impl Into<Option<BucketKey>>) -> Self {
        self.key = key.into();
        self
    }

    /// Sets what is special about it. Default: nothing.
    #[must_use]
    pub fn options(mut self, options: BucketOptions) -> Self {
        self.options = options;
        self
    }

    /// Checks the name and the description.
    ///
    /// # Errors
    ///
    /// Code 1009 for an empty name, and one with a control character; code 1015 for what is too long.
    pub fn validate(&self) -> Result<(), Refusal> {
        if self.name.trim().is_empty() {
            return Err(invalid("the name of a bucket must not be empty".to_owned()));
        }
        if let Some(control) = self.name.chars().find(|c| c.is_control()) {
            return Err(invalid(format!("the name of a bucket must not contain {control:?}")));
        }
        let description = self.description.as_deref().unwrap_or_default();
        for (what, text, most) in [
            ("the name of a bucket", self.name.as_str(), NAME_LIMIT),
            ("the description of a bucket", description, DESCRIPTION_LIMIT),
        ] {
            let units = text.encode_utf16().count();
            if units > most {
                let message = format!("{what} has {units} code units; it should have at most {most}");
                return Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
            }
        }
        Ok(())
    }
}

/// The path of a file in a bucket, as in `reports/2026/summary.pdf`: names with slashes in between.
///
/// A slash at its beginning stands for the root of the bucket and is dropped. Whatever a file system, a URL or the service of a cloud could
/// take for another place is refused: empty names, `.` and `..`, backslashes, control characters, and all of these percent-encoded, however
/// often. So is `#` followed by digits at the end, which marks a file that is being written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePath(String);

impl FilePath {
    /// Reads a path.
    ///
    /// # Errors
    ///
    /// Code 1009 for a path that is not allowed, and for one that is too long.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let path = text.strip_prefix('/').unwrap_or(text);
        check_path(path).map_err(|why| invalid_path(text, why))?;
        Ok(Self(path.to_owned()))
    }

    /// The path, without a slash at its beginning.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the file.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A directory of a bucket; the empty one is the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory(String);

impl Directory {
    /// Reads the path of a directory, which may begin and end with a slash. Empty, or a slash alone, is the root.
    ///
    /// # Errors
    ///
    /// As [`FilePath::parse`].
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let path = text.strip_prefix('/').unwrap_or(text);
        let path = without_last_slash(path);
        if !path.is_empty() {
            check_path(path).map_err(|why| invalid_path(text, why))?;
        }
        Ok(Self(path.to_owned()))
    }

    /// The path, without slashes at its ends.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the directory in the path of a file in it.
    pub fn rest_of<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.0.is_empty() {
            return Some(path);
        }
        path.strip_prefix(self.0.as_str())?.strip_prefix('/')
    }
}

/// The beginning of paths, which may end within a name, as in `reports/20`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathPrefix(String);

impl PathPrefix {
    /// Reads a beginning of paths. Empty, or a slash alone, is that of all.
    ///
    /// # Errors
    ///
    /// As [`FilePath::parse`].
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let path = text.strip_prefix('/').unwrap_or(text);
        let whole = without_last_slash(path);
        if !whole.is_empty() {
            check_path(whole).map_err(|why| invalid_path(text, why))?;
        }
        Ok(Self(path.to_owned()))
    }

    /// The text, without a slash at its beginning.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory that has all paths with this beginning.
    pub fn directory(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(directory, _)| directory)
    }
}

/// The path without a slash at its end; one that is a slash alone has a name that is empty.
fn without_last_slash(path: &str) -> &str {
    path.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(path)
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("it is empty");
    }
    if path.len() > PATH_LIMIT {
        return Err("it is too long");
    }
    let mut decoded = path.to_owned();
    for _ in 0..MAX_DECODINGS {
        for segment in decoded.split('/') {
            check_segment(segment)?;
        }
        let again = percent_decoded(&decoded).ok_or("it has percent-encoded bytes that are no text")?;
        if again == decoded {
            return Ok(());
        }
        if again.matches('/').count() != decoded.matches('/').count() {
            return Err("it has a slash that is percent-encoded");
        }
        decoded = again;
    }
    Err("it is percent-encoded too often")
}

fn check_segment(segment: &str) -> Result<(), &'static str> {
    if segment.is_empty() {
        return Err("a name in it is empty");
    }
    if segment.len() > SEGMENT_LIMIT {
        return Err("a name in it is too long");
    }
    if segment.trim_end_matches(['.', ' ']).is_empty() {
        return Err("a name in it has only dots and spaces");
    }
    if segment.chars().any(|c| c == '\\' || c.is_control()) {
        return Err("it has a backslash or a control character");
    }
    if segment.len() == 2 && segment.ends_with(':') {
        return Err("it names a drive");
    }
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if segment.split_once('#').is_some_and(|(_, behind)| is_number(behind)) {
        return Err("a name in it ends with # and digits");
    }
    Ok(())
}

/// The text with its percent-encoded bytes decoded; `%` without two hexadecimal digits stays. `None` if they are no UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).ok()?);
                at += 3;
            }
            _ => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).ok()
}

fn invalid_path(text: &str, why: &str) -> Refusal {
    let shown: String = text.chars().take(100).collect();
    invalid(format!("{shown:?} is no path of a file in a bucket: {why}"))
}

fn invalid(message: String) -> Refusal {
    Refusal::new(ErrorCode::INVALID_ARGUMENT, message)
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BucketFile {
    /// Its path in the bucket, without a slash at its beginning.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// What its content is, as in `application/pdf`, by the end of its name.
    pub content_type: String,
    /// When it was written last, if that is known.
    pub modified: Option<Timestamp>,
}

impl BucketFile {
    /// A file. Its content type is that of its name.
    pub fn new(path: impl Into<String>, size: u64, modified: Option<Timestamp>) -> Self {
        let path = path.into();
        let content_type = content_type(&path).to_owned();
        Self { path, size, content_type, modified }
    }
}

/// The content type that the end of a name stands for. (Folders keep no types with their files.)
pub fn content_type(path: &str) -> &'static str {
    let end = path.rsplit(['/', '.']).next().unwrap_or_default().to_ascii_lowercase();
    CONTENT_TYPES
        .iter()
        .find(|(known, _)| *known == end)
        .map_or("application/octet-stream", |(_, found)| found)
}

/// Endings of names, and what they stand for (the IANA's registry of media types).
const CONTENT_TYPES: [(&str, &str); 26] = [
    ("bmp", "image/bmp"),
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("eml", "message/rfc822"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("log", "text/plain"),
    ("md", "text/markdown"),
    ("mp4", "video/mp4"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("svg", "image/svg+xml"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("txt", "text/plain"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

/// Whether a name matches a pattern, in any case: `*` stands for any characters, `?` for one.
pub fn matches_glob(pattern: &str, name: &str) -> bool {
    let fold = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<Vec<char>>();
    let (pattern, name) = (fold(pattern), fold(name));
    let (mut at, mut in_name) = (0, 0);
    // Where the last star stands, and up to where of the name it reaches.
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(c) if *c == '?' || *c == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => {
                let Some((place, reach)) = star else { return false };
                star = Some((place, reach + 1));
                (at, in_name) = (place + 1, reach + 1);
            }
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests;
