//! The files beside the pages: style sheet, script and icon. They are part of the program, their addresses change with their content,
//! and a browser asks for each once.

use std::io::Write as _;
use std::sync::LazyLock;

use axum::body::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use ring::digest::{SHA256, digest};

use super::reply::Reply;

/// A file.
pub(super) struct Asset {
    /// Its address, which has the digest of its content in it.
    pub(super) path: String,
    content_type: &'static str,
    plain: Bytes,
    compressed: Option<Bytes>,
}

/// All files.
pub(super) struct Assets {
    pub(super) style: Asset,
    pub(super) script: Asset,
    pub(super) icon: Asset,
}

/// The files, compressed when the first page is asked for.
pub(super) static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets {
    style: Asset::new("desk.css", "text/css; charset=utf-8", include_bytes!("../../assets/desk.css")),
    script: Asset::new("desk.js", "text/javascript; charset=utf-8", include_bytes!("../../assets/desk.js")),
    icon: Asset::new("icon.svg", "image/svg+xml", include_bytes!("../../assets/icon.svg")),
});

impl Asset {
    fn new(name: &str, content_type: &'static str, content: &'static [u8]) -> Self {
        let digest = digest(&SHA256, content);
        let digest: String = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
        let path = format!("{}/static/{stem}.{digest}.{extension}", super::ROOT);
        let compressed = compressed(content, Compression::best()).map(Bytes::from);
        Self { path, content_type, plain: Bytes::from_static(content), compressed }
    }
}

/// The answer with the file at a path, if there is one.
pub(super) fn find(path: &str) -> Option<Reply> {
    let ours = &*ASSETS;
    let asset = [&ours.style, &ours.script, &ours.icon].into_iter().find(|asset| asset.path == path)?;
    Some(Reply::asset(asset.content_type, asset.plain.clone(), asset.compressed.clone()))
}

/// The content in gzip; `None` if it does not get smaller.
pub(super) fn compressed(content: &[u8], level: Compression) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(content.len() / 3), level);
    encoder.write_all(content).ok()?;
    encoder.finish().ok().filter(|compressed| compressed.len() < content.len())
}
