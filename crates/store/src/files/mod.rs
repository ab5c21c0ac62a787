//! The storage of files. It has paths and bytes, and knows nothing of buckets.
//!
//! | file | what it does |
//! |---|---|
//! | `source.rs` | which storage a store has |
//! | `links.rs` | refuses symbolic links in a folder |
//! | `write.rs` | writes a file piece by piece |
//! | `bucket_files.rs` | the files of buckets |
//! | `cloud.rs` | the storage services of clouds |

mod bucket_files;
#[cfg(feature = "files-cloud")]
mod cloud;
mod links;
mod source;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path as FolderPath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};

pub(crate) use self::source::FileSource;
pub use self::source::STORAGE_VARIABLE;
pub use self::write::FileWriter;
use super::Store;
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::orchestrator::{ErrorKind, FileStream, OrchestratorError, Result};

/// How many files are removed before the store is told.
const REMOVED_AT_ONCE: usize = 100;

/// A place for files: a folder, the memory of this process, or the storage service of a cloud.
#[derive(Clone)]
pub struct FileStorage {
    objects: Arc<dyn ObjectStore>,
    /// The folder, if it is one.
    folder: Option<PathBuf>,
    /// What signs the addresses at which a cloud gives and takes files itself.
    #[cfg(feature = "files-cloud")]
    signer: Option<Arc<dyn object_store::signer::Signer>>,
    /// What stands before each path.
    prefix: String,
    kind: StorageKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StorageKind {
    Folder,
    Memory,
    #[cfg(feature = "files-cloud")]
    Cloud {
        /// Whether a file that is uploaded has to say that it is one (Azure).
        needs_blob_type: bool,
    },
}

impl fmt::Debug for FileStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStorage").field("kind", &self.kind).field("folder", &self.folder).finish()
    }
}

/// What a storage knows of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Its path.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written last.
    pub modified: Option<Timestamp>,
}

/// A file that is open for reading.
pub struct OpenFile {
    /// What is known of it.
    pub file: StoredFile,
    /// Its content.
    pub content: FileStream,
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenFile").field("file", &self.file).finish_non_exhaustive()
    }
}

/// An address at which the storage itself gives or takes one file, for a while.
#[derive(Clone)]
pub struct StorageAddress {
    /// The address, which has its right in it.
    pub uri: String,
    /// Headers that a request has to have.
    pub headers: Vec<(&'static str, &'static str)>,
}

impl fmt::Debug for StorageAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageAddress").finish_non_exhaustive()
    }
}

/// What is done with a file at an address of the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressUse {
    /// GET.
    Read,
    /// PUT.
    Write,
}

impl FileStorage {
    /// A storage in the memory of this process.
    pub fn memory() -> Self {
        Self::new(Arc::new(InMemory::new()), StorageKind::Memory)
    }

    /// A storage in a folder, which is created if it does not exist, for its owner alone.
    ///
    /// # Errors
    ///
    /// Other, with a message that names the folder, if it cannot be created or used.
    pub fn folder(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        let failed = |error: &dyn fmt::Display| {
            let message = format!("the folder {} for files cannot be used: {error}", folder.display());
            OrchestratorError::new(ErrorKind::Other, message)
        };
        create_folder(&folder).map_err(|error| failed(&error))?;
        // Of its parents links are followed once, here.
        let root = folder.canonicalize().map_err(|error| failed(&error))?;
        let objects = LocalFileSystem::new_with_prefix(&root).map_err(|error| failed(&error))?;
        let objects = objects.with_fsync(true).with_automatic_cleanup(true);
        Ok(Self { folder: Some(root), ..Self::new(Arc::new(objects), StorageKind::Folder) })
    }

    /// The storage at a URL: the path of a folder, `file:` and one, `memory:`, or, where this is built with support for it, `s3://`,
    /// `az://` or `gs://`. What else a cloud needs is read from its own variables of the environment.
    ///
    /// # Errors
    ///
    /// Invalid for any other URL; Unsupported for a cloud that this is built without; otherwise as [`folder`](Self::folder).
    pub fn open(url: &str) -> Result<Self> {
        let (scheme, rest) = match url.split_once(':') {
            // One letter is a drive of Windows.
            Some((scheme, rest)) if scheme.len() > 1 && scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                (scheme.to_ascii_lowercase(), rest)
            }
            _ => ("file".to_owned(), url),
        };
        match scheme.as_str() {
            "file" => {
                let folder = rest.strip_prefix("//").unwrap_or(rest);
                if folder.is_empty() {
                    return Err(OrchestratorError::invalid("the folder for files has no path"));
                }
                Self::folder(folder)
            }
            "memory" if rest.is_empty() => Ok(Self::memory()),
            "s3" | "s3a" | "az" | "azure" | "abfs" | "abfss" | "gs" => Self::cloud(&scheme, url),
            // The rest of the URL is not quoted, because it may contain a secret.
            _ => Err(OrchestratorError::invalid(format!(
                "unknown storage {scheme:?}; known are the path of a folder, memory:, s3://, az:// and gs://"
            ))),
        }
    }

    #[cfg(not(feature = "files-cloud"))]
    fn cloud(scheme: &str, _: &str) -> Result<Self> {
        Err(without_cloud(scheme))
    }

    fn new(objects: Arc<dyn ObjectStore>, kind: StorageKind) -> Self {
        Self {
            objects,
            folder: None,
            #[cfg(feature = "files-cloud")]
            signer: None,
            prefix: String::new(),
            kind,
        }
    }

    /// A path as the storage has it. The caller has checked it.
    fn place(&self, path: &str) -> Result<Path> {
        let whole = format!("{}{path}", self.prefix);
        Path::parse(whole.trim_end_matches('/')).map_err(|error| {
            let message = format!("{path:?} is no path of a file");
            OrchestratorError::from(Refusal::new(ErrorCode::INVALID_ARGUMENT, message)).with_source(error)
        })
    }

    fn known(&self, meta: &ObjectMeta) -> StoredFile {
        let path = meta.location.as_ref();
        let modified = Timestamp::from_second(meta.last_modified.timestamp()).ok();
        let path = path.strip_prefix(&self.prefix).unwrap_or(path).to_owned();
        StoredFile { path, size: meta.size, modified }
    }

    /// What is known of a file.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002.
    pub async fn find(&self, path: &str) -> Result<StoredFile> {
        self.refuse_links(path).await?;
        let found = self.objects.head(&self.place(path)?).await;
        found.map(|meta| self.known(&meta)).map_err(|error| failed_read(path, error))
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002.
    pub async fn read(&self, path: &str) -> Result<OpenFile> {
        self.refuse_links(path).await?;
        let found = self.objects.get(&self.place(path)?).await.map_err(|error| failed_read(path, error))?;
        let file = self.known(&found.meta);
        let path = path.to_owned();
        let content = found.into_stream().map_err(move |error| failed_read(&path, error));
        Ok(OpenFile { file, content: Box::pin(content) })
    }

    /// Begins to write a file. It is there when [`FileWriter::finish`] has returned; until then the one before it is.
    ///
    /// # Errors
    ///
    /// Conflict if a directory has this path, or a file that of a directory.
    pub async fn write(&self, path: &str, content_type: &str) -> Result<FileWriter> {
        self.refuse_links(path).await?;
        let place = self.place(path)?;
        if self.folder.is_some() && self.is_directory(&place).await? {
            return Err(in_the_way(path));
        }
        Ok(FileWriter::new(self, path, place, content_type))
    }

    async fn is_directory(&self, place: &Path) -> Result<bool> {
        let mut below = self.objects.list(Some(place));
        Ok(below.next().await.transpose().map_err(failed)?.is_some())
    }

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.find(path).await?;
        self.objects.delete(&self.place(path)?).await.map_err(|error| failed_read(path, error))
    }

    /// Files whose paths begin with a text and are greater than another one, by path, at most `limit`; and whether there are more. A
    /// folder is walked for it: only the files of a page are kept in memory.
    ///
    /// # Errors
    ///
    /// Unavailable if the storage cannot be reached.
    pub async fn list(
        &self,
        directory: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<(Vec<StoredFile>, bool)> {
        if !directory.is_empty() {
            self.refuse_links(directory).await?;
        }
        let place = self.place(directory)?;
        let mut all = self.objects.list_with_offset(Some(&place), &self.place(after)?);
        let is_sorted = !matches!(self.kind, StorageKind::Folder);
        let mut first: BTreeMap<String, StoredFile> = BTreeMap::new();
        while let Some(meta) = all.next().await {
            let meta = match meta {
                Ok(meta) => meta,
                // Removed while the folder was walked.
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(error) => return Err(failed(error)),
            };
            let file = self.known(&meta);
            if !file.path.starts_with(prefix) || file.path.as_str() <= after {
                continue;
            }
            first.insert(file.path.clone(), file);
            if first.len() > limit + 1 {
                first.pop_last();
            }
            if is_sorted && first.len() > limit {
                break;
            }
        }
        let has_more = first.len() > limit;
        let files = first.into_values().take(limit).collect();
        Ok((self.without_links(files).await?, has_more))
    }

    /// Removes all files below a directory.
    ///
    /// # Errors
    ///
    /// Unavailable if the storage cannot be reached.
    pub async fn delete_below(&self, directory: &str) -> Result<()> {
        if let Some(folder) = &self.folder {
            // Links are removed with it, and what they lead to stays.
            let below = folder.join(directory);
            return blocking(move || match std::fs::remove_dir_all(below) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            })
            .await;
        }
        let place = self.place(directory)?;
        let mut all = self.objects.list(Some(&place));
        while let Some(meta) = all.next().await.transpose().map_err(failed)? {
            match self.objects.delete(&meta.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    /// An address at which the storage itself gives or takes a file. `None`: this storage has no such addresses.
    ///
    /// # Errors
    ///
    /// Other if it cannot be signed.
    pub async fn address(
        &self,
        path: &str,
        address_use: AddressUse,
        valid_for: Duration,
    ) -> Result<Option<StorageAddress>> {
        #[cfg(feature = "files-cloud")]
        if let Some(signer) = &self.signer {
            return self.signed(&**signer, path, address_use, valid_for).await.map(Some);
        }
        let _ = (path, address_use, valid_for);
        Ok(None)
    }

    async fn refuse_links(&self, path: &str) -> Result<()> {
        let Some(folder) = self.folder.clone() else { return Ok(()) };
        let (path, shown) = (path.to_owned(), path.to_owned());
        let has_link = blocking(move || links::has_link(&folder, FolderPath::new(&path))).await?;
        if has_link {
            let message = format!("{shown:?} leads over a symbolic link");
            return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message).into());
        }
        Ok(())
    }

    async fn without_links(&self, mut files: Vec<StoredFile>) -> Result<Vec<StoredFile>> {
        let Some(folder) = self.folder.clone() else { return Ok(files) };
        blocking(move || {
            files.retain(|file| matches!(links::has_link(&folder, FolderPath::new(&file.path)), Ok(false)));
            Ok(files)
        })
        .await
    }
}

impl Store {
    /// This store with a storage of the program's own for files, instead of that of the environment or the folder beside a SQLite file.
    #[must_use]
    pub fn with_files(&self, storage: FileStorage) -> Self {
        Self { files: Arc::new(FileSource::given(storage)), ..self.clone() }
    }

    /// The storage of files.
    ///
    /// # Errors
    ///
    /// Unsupported if the store has none: one in a database is told by `PERFORMER_BUCKETS`; otherwise as [`FileStorage::open`].
    pub fn file_storage(&self) -> Result<FileStorage> {
        self.files.storage()
    }

    /// Removes from the storage what cannot be reached any more. Returns how many files and directories that were.
    ///
    /// # Errors
    ///
    /// Unavailable if the storage cannot be reached. What is left is removed by a later call.
    pub async fn remove_files(&self) -> Result<u64> {
        let mut count = 0;
        loop {
            let removals = self.file_removals(REMOVED_AT_ONCE).await?;
            if removals.is_empty() {
                return Ok(count);
            }
            let storage = self.file_storage()?;
            for stored in &removals {
                let removed = match stored.strip_suffix('/') {
                    Some(directory) => storage.delete_below(directory).await,
                    None => storage.delete(stored).await,
                };
                match removed {
                    Err(error) if !error.is_not_found() => return Err(error),
                    _ => count += 1,
                }
            }
            self.forget_file_removals(removals).await?;
        }
    }
}

fn create_folder(folder: &FolderPath) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Runs what may block on a thread for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| OrchestratorError::new(ErrorKind::Other, error.to_string()))?;
    done.map_err(|error| {
        OrchestratorError::new(ErrorKind::Unavailable, "the storage of files failed").with_source(error)
    })
}

#[cfg(not(feature = "files-cloud"))]
fn without_cloud(scheme: &str) -> OrchestratorError {
    let message =
        format!("performer was built without storage at {scheme}://; build it with --features files-cloud");
    OrchestratorError::new(ErrorKind::Unsupported, message)
}

fn no_file(path: &str) -> OrchestratorError {
    OrchestratorError::not_found(format!("file {path:?} does not exist"))
}

fn in_the_way(path: &str) -> OrchestratorError {
    let message = format!("{path:?} is a directory, or a file has the path of one of its directories");
    Refusal::new(ErrorCode::ITEM_ALREADY_EXISTS, message).into()
}

/// The kind of an error of the operating system, if one is the cause.
fn io_kind(error: &object_store::Error) -> Option<std::io::ErrorKind> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        next = cause.source();
    }
    None
}

fn failed_read(path: &str, error: object_store::Error) -> OrchestratorError {
    use std::io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    let is_missing = matches!(error, object_store::Error::NotFound { .. })
        || matches!(io_kind(&error), Some(NotFound | NotADirectory | IsADirectory));
    if is_missing { no_file(path) } else { failed(error) }
}

/// Its own text names places of the server, so it is the cause alone.
fn failed(error: object_store::Error) -> OrchestratorError {
    OrchestratorError::new(ErrorKind::Unavailable, "the storage of files failed").with_source(error)
}
