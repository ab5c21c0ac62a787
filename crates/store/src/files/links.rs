//! Refuses symbolic links: a storage writes none, so whatever leads over one was put into the folder by somebody else.

use std::io;
use std::path::{Component, Path};

/// Whether a part of a path below a folder is a symbolic link. What does not exist is none.
pub(super) fn has_link(folder: &Path, path: &Path) -> io::Result<bool> {
    let mut place = folder.to_owned();
    for part in path.components() {
        let Component::Normal(name) = part else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path leads out of the folder"));
        };
        place.push(name);
        match place.symlink_metadata() {
            Ok(found) if found.is_symlink() => return Ok(true),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
