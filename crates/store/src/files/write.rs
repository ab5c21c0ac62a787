//! Writes a file piece by piece: at most a part of it is in memory.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Attributes, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, WriteMultipart};

use super::{FileStorage, StorageKind, failed, in_the_way, io_kind};
use performer_core::orchestrator::{OrchestratorError, Result};

/// How much is in memory before it is written, in bytes. The services of clouds take no part of less than 5 MiB but the last one.
const PART_OF_FOLDER: usize = 256 * 1024;
#[cfg(feature = "files-cloud")]
const PART_OF_CLOUD: usize = 8 * 1024 * 1024;

/// A file that is being written. Dropped before it is finished, nothing of it is left.
pub struct FileWriter {
    objects: Arc<dyn ObjectStore>,
    path: String,
    place: Path,
    attributes: Attributes,
    part: usize,
    written: u64,
    state: State,
}

enum State {
    /// Less than a part.
    Small(Vec<Bytes>),
    Parts(WriteMultipart),
    Ended,
}

/// A folder and the memory keep no content types.
fn part_and_attributes(kind: StorageKind, content_type: &str) -> (usize, Attributes) {
    match kind {
        StorageKind::Folder | StorageKind::Memory => {
            let _ = content_type;
            (PART_OF_FOLDER, Attributes::new())
        }
        #[cfg(feature = "files-cloud")]
        StorageKind::Cloud { .. } => {
            let mut attributes = Attributes::new();
            attributes.insert(object_store::Attribute::ContentType, content_type.to_owned().into());
            (PART_OF_CLOUD, attributes)
        }
    }
}

impl fmt::Debug for FileWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWriter").field("path", &self.path).field("written", &self.written).finish()
    }
}

impl FileWriter {
    pub(super) fn new(storage: &FileStorage, path: &str, place: Path, content_type: &str) -> Self {
        let (part, attributes) = part_and_attributes(storage.kind, content_type);
        Self {
            objects: storage.objects.clone(),
            path: path.to_owned(),
            place,
            attributes,
            part,
            written: 0,
            state: State::Small(Vec::new()),
        }
    }

    /// How much of the file may be in memory, in bytes.
    pub fn memory(&self) -> usize {
        2 * self.part
    }

    /// How much was written, in bytes.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Writes a piece.
    ///
    /// # Errors
    ///
    /// Unavailable if the storage fails; Conflict if a file has the path of a directory of this one.
    pub async fn write(&mut self, piece: Bytes) -> Result<()> {
        let already = usize::try_from(self.written).unwrap_or(usize::MAX);
        self.written += piece.len() as u64;
        match &mut self.state {
            State::Small(pieces) => {
                let is_small = already.saturating_add(piece.len()) < self.part;
                pieces.push(piece);
                if !is_small {
                    let pieces = std::mem::take(pieces);
                    let attributes = self.attributes.clone();
                    let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
                    let begun = self.objects.put_multipart_opts(&self.place, options).await;
                    let begun = begun.map_err(|error| failed_write(&self.path, error))?;
                    let mut parts = WriteMultipart::new_with_chunk_size(begun, self.part);
                    pieces.into_iter().for_each(|piece| parts.put(piece));
                    self.state = State::Parts(parts);
                }
                Ok(())
            }
            State::Parts(parts) => {
                parts.wait_for_capacity(1).await.map_err(|error| failed_write(&self.path, error))?;
                parts.put(piece);
                Ok(())
            }
            State::Ended => Ok(()),
        }
    }

    /// Puts the file in its place. Returns its size in bytes.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn finish(mut self) -> Result<u64> {
        let finished = match std::mem::replace(&mut self.state, State::Ended) {
            State::Small(pieces) => {
                let payload = PutPayload::from_iter(pieces);
                let options = PutOptions { attributes: self.attributes.clone(), ..PutOptions::default() };
                self.objects.put_opts(&self.place, payload, options).await.map(drop)
            }
            State::Parts(parts) => parts.finish().await.map(drop),
            State::Ended => Ok(()),
        };
        finished.map_err(|error| failed_write(&self.path, error))?;
        Ok(self.written)
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        let State::Parts(parts) = std::mem::replace(&mut self.state, State::Ended) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(async move {
                if let Err(error) = parts.abort().await {
                    tracing::warn!(%error, "a file that was not written to its end could not be removed");
                }
            }));
        }
    }
}

fn failed_write(path: &str, error: object_store::Error) -> OrchestratorError {
    use std::io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, IsADirectory, NotADirectory};
    match io_kind(&error) {
        Some(NotADirectory | IsADirectory | AlreadyExists | DirectoryNotEmpty) => in_the_way(path),
        _ => failed(error),
    }
}
