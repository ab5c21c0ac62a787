//! Folder paths in headers: paths beyond ASCII are encoded as base64 of UTF-16 little-endian (orchestrator-api 2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Encodes a path for `X-UIPATH-FolderPath-Encoded`.
pub fn encode(path: &str) -> String {
    let utf_16: Vec<u8> = path.encode_utf16().flat_map(u16::to_le_bytes).collect();
    STANDARD.encode(utf_16)
}

/// Decodes the path in `X-UIPATH-FolderPath-Encoded`; `None` if it is invalid.
#[cfg(feature = "server")]
pub fn decode(header: &str) -> Option<String> {
    let bytes = STANDARD.decode(header).ok()?;
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    if rest.is_empty() { String::from_utf16(&units).ok() } else { None }
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;

    #[test]
    fn a_path_survives_encoding_and_decoding() {
        for path in ["Shared", "Shared/Löhne", "漢字/🦀", ""] {
            assert_eq!(decode(&encode(path)).as_deref(), Some(path));
        }
        assert_eq!(encode("Ä"), "xAA=");
        for wrong in ["?", "xA==", "ANg="] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
