//! Keys for secrets, and their text form.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::zeroize::{Zeroize as _, Zeroizing};
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::{Digest as _, Sha256};

use super::refused;
use performer_core::model::code::ErrorCode;
use performer_core::orchestrator::Result;

const KEY_LENGTH: usize = 32;

/// With or without padding, as programs print it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The id of a key: a part of its digest, by which it is recognised. It tells nothing about the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct KeyId(pub(crate) String);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One key.
#[derive(Clone)]
pub(crate) struct SecretKey {
    id: KeyId,
    bytes: Arc<SecretBox<[u8; KEY_LENGTH]>>,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SecretKey").field(&self.id.0).finish()
    }
}

impl SecretKey {
    fn new(mut bytes: [u8; KEY_LENGTH]) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"the id of a key of performer");
        digest.update(bytes);
        let id = digest.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let boxed = SecretBox::init_with_mut(|kept: &mut [u8; KEY_LENGTH]| kept.copy_from_slice(&bytes));
        bytes.zeroize();
        Self { id: KeyId(id), bytes: Arc::new(boxed) }
    }

    pub(super) fn id(&self) -> &KeyId {
        &self.id
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_LENGTH] {
        self.bytes.expose_secret()
    }
}

/// Keys for the secrets of a store. The first one encrypts; those behind it decrypt what was encrypted with them before.
#[derive(Clone, Debug)]
pub struct EncryptionKeys(Arc<[SecretKey]>);

impl EncryptionKeys {
    /// Reads keys, separated by commas or white space: each is 32 bytes, in base64 or in hexadecimal digits.
    ///
    /// # Errors
    ///
    /// Code 1801 for a key of another form, and code 1800 if there is none.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_from(text, "the text")
    }

    /// As [`parse`](Self::parse), with the origin for messages.
    pub(crate) fn parse_from(text: &str, origin: &str) -> Result<Self> {
        let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
        let keys: Option<Vec<SecretKey>> = words.map(|word| decode(word).map(SecretKey::new)).collect();
        let Some(keys) = keys else {
            let message = format!(
                "{origin} has a key for secrets that is not {KEY_LENGTH} bytes in base64 (44 characters) or hexadecimal digits (64)"
            );
            return Err(refused(ErrorCode::ENCRYPTION_KEY_INCORRECT_FORMAT, message));
        };
        if keys.is_empty() {
            return Err(refused(
                ErrorCode::ENCRYPTION_KEY_NOT_FOUND,
                format!("{origin} has no key for secrets"),
            ));
        }
        Ok(Self(keys.into()))
    }

    /// A new random key.
    pub fn random() -> Self {
        Self(Arc::new([SecretKey::new(chacha20poly1305::aead::Generate::generate())]))
    }

    /// These keys behind those.
    pub(crate) fn behind(&self, first: &Self) -> Self {
        Self(first.0.iter().chain(self.0.iter()).cloned().collect())
    }

    /// Only the first key.
    pub(crate) fn only_first(&self) -> Self {
        Self(Arc::new([self.first().clone()]))
    }

    pub(crate) fn first(&self) -> &SecretKey {
        &self.0[0]
    }

    pub(crate) fn first_id(&self) -> &KeyId {
        &self.first().id
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn with_id(&self, id: &KeyId) -> Option<&SecretKey> {
        self.0.iter().find(|key| key.id == *id)
    }

    /// The text that is read back, a key a line.
    pub(super) fn to_lines(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(self.0.len() * 45));
        for key in self.0.iter() {
            BASE64.encode_string(key.bytes(), &mut text);
            text.push('\n');
        }
        text
    }
}

fn decode(word: &str) -> Option<[u8; KEY_LENGTH]> {
    if word.len() == 2 * KEY_LENGTH {
        let mut key = [0; KEY_LENGTH];
        for (byte, digits) in key.iter_mut().zip(word.as_bytes().chunks(2)) {
            let digit = |at: usize| char::from(digits[at]).to_digit(16);
            *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
        }
        return Some(key);
    }
    let bytes = Zeroizing::new(BASE64.decode(word).ok()?);
    bytes.as_slice().try_into().ok()
}
