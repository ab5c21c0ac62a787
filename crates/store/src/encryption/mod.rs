//! Secrets are encrypted before they reach a back end: XChaCha20-Poly1305, with a random nonce for each of them.
//!
//! What is encrypted is bound to its place, the asset and whose value it is: moved to another row it cannot be decrypted. The store keeps
//! the id of the key beside each secret, and the id of the key that is used now: a write under another key is refused, so that no
//! process goes on with an old key after it was replaced. Keys themselves are never in the store.
//!
//! `keys.rs` has the keys and their text form, `key_file.rs` the file that they are kept in beside a SQLite file.

mod key_file;
mod keys;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead as _, Generate as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};

pub(crate) use self::key_file::KeyFile;
pub use self::keys::EncryptionKeys;
pub(crate) use self::keys::KeyId;
use self::keys::SecretKey;
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::orchestrator::{OrchestratorError, Result};
use performer_core::private_file::{read_secret, warn_if_open_to_others};

/// The keys, separated by commas or white space: the first one encrypts.
pub(crate) const KEY_VARIABLE: &str = "PERFORMER_ENCRYPTION_KEY";

/// The path of a file with the keys.
pub(crate) const KEY_FILE_VARIABLE: &str = "PERFORMER_ENCRYPTION_KEY_FILE";

/// The first byte of what is stored: the scheme.
const XCHACHA20_POLY1305: u8 = 1;

const NONCE_LENGTH: usize = 24;

/// An encrypted secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SealedSecret {
    /// The id of its key.
    pub(crate) key: KeyId,
    /// Scheme, nonce, ciphertext and tag, in base64.
    pub(crate) text: String,
}

/// Encrypts a secret for a place.
fn seal(key: &SecretKey, place: &str, secret: &SecretString) -> Result<SealedSecret> {
    let failed = || refused(ErrorCode::ENCRYPTION_EXCEPTION, "the secret could not be encrypted");
    let nonce = XNonce::try_generate().map_err(|_| failed())?;
    let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: place.as_bytes() };
    let sealed = cipher(key).encrypt(&nonce, payload).map_err(|_| failed())?;
    let mut bytes = Vec::with_capacity(1 + NONCE_LENGTH + sealed.len());
    bytes.push(XCHACHA20_POLY1305);
    bytes.extend_from_slice(&nonce);
    bytes.extend_from_slice(&sealed);
    Ok(SealedSecret { key: key.id().clone(), text: STANDARD_NO_PAD.encode(bytes) })
}

/// Decrypts the secret of a place.
fn open(key: &SecretKey, place: &str, sealed: &str) -> Option<SecretString> {
    let bytes = STANDARD_NO_PAD.decode(sealed).ok()?;
    let (scheme, rest) = bytes.split_first()?;
    if *scheme != XCHACHA20_POLY1305 {
        return None;
    }
    let (nonce, sealed) = rest.split_at_checked(NONCE_LENGTH)?;
    let nonce = XNonce::try_from(nonce).ok()?;
    let payload = Payload { msg: sealed, aad: place.as_bytes() };
    let plain = Zeroizing::new(cipher(key).decrypt(&nonce, payload).ok()?);
    Some(std::str::from_utf8(&plain).ok()?.into())
}

fn cipher(key: &SecretKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.bytes().into())
}

/// Where the keys of a store come from.
#[derive(Debug)]
#[cfg_attr(
    not(any(feature = "sqlite", feature = "postgres")),
    expect(dead_code, reason = "the key of a store in memory ends with it")
)]
enum Source {
    /// The program has given them.
    Given(EncryptionKeys),
    /// The environment; else the file beside the database, if there is one.
    Environment(Option<KeyFile>),
}

/// The keys of a store. They are looked for when a secret is read or written for the first time.
#[derive(Debug)]
pub(crate) struct Encryption {
    source: Source,
    /// The keys that were found last.
    found: Mutex<Option<EncryptionKeys>>,
}

impl Encryption {
    /// A key that ends with the process, for what does not outlive it either.
    pub(crate) fn of_process() -> Self {
        Self::given(EncryptionKeys::random())
    }

    pub(crate) fn given(keys: EncryptionKeys) -> Self {
        Self { source: Source::Given(keys), found: Mutex::default() }
    }

    /// The keys in the environment. Without one, a database has no place for a key of its own.
    #[cfg(feature = "postgres")]
    pub(crate) fn of_environment() -> Self {
        Self { source: Source::Environment(None), found: Mutex::default() }
    }

    /// The keys in the environment, or those of the file beside a database, which is made at the first need.
    #[cfg(feature = "sqlite")]
    pub(crate) fn beside(database: &std::path::Path) -> Self {
        let file = KeyFile::beside(database);
        Self { source: Source::Environment(Some(file)), found: Mutex::default() }
    }

    /// The file whose keys this program may replace; `None` if the keys come from elsewhere.
    pub(crate) fn own_file(&self) -> Option<&KeyFile> {
        match &self.source {
            Source::Environment(file) if std::env::var_os(KEY_VARIABLE).is_none() => {
                file.as_ref().filter(|_| std::env::var_os(KEY_FILE_VARIABLE).is_none())
            }
            _ => None,
        }
    }

    /// Where the keys come from, for messages.
    pub(crate) fn origin(&self) -> String {
        match &self.source {
            Source::Given(_) => "the program".to_owned(),
            Source::Environment(file) => match (std::env::var_os(KEY_VARIABLE), named_file(), file) {
                (Some(_), ..) => KEY_VARIABLE.to_owned(),
                (None, Some(path), _) => path.display().to_string(),
                (None, None, Some(file)) => file.path().display().to_string(),
                (None, None, None) => "the environment".to_owned(),
            },
        }
    }

    /// The keys as they are now, and not as they were found before.
    pub(crate) fn reload(&self) -> Result<EncryptionKeys> {
        let keys = self.load()?;
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(keys.clone());
        Ok(keys)
    }

    fn load(&self) -> Result<EncryptionKeys> {
        let file = match &self.source {
            Source::Given(keys) => return Ok(keys.clone()),
            Source::Environment(file) => file,
        };
        if let Some(text) = std::env::var_os(KEY_VARIABLE) {
            let text = Zeroizing::new(text.into_string().unwrap_or_default());
            return EncryptionKeys::parse_from(&text, KEY_VARIABLE);
        }
        if let Some(path) = named_file() {
            warn_if_open_to_others(&path, "the file with the keys of secrets");
            let text = Zeroizing::new(read_secret(KEY_FILE_VARIABLE, &path.to_string_lossy())?);
            return EncryptionKeys::parse_from(&text, &path.display().to_string());
        }
        match file {
            Some(file) => file.read(),
            None => Err(refused(
                ErrorCode::ENCRYPTION_KEY_NOT_FOUND,
                format!(
                    "no key to encrypt secrets with: set {KEY_VARIABLE} to 32 random bytes in base64 or hexadecimal digits, or \
                     {KEY_FILE_VARIABLE} to the path of a file with them; a PostgreSQL database has no file beside it in which a key \
                     could be kept"
                ),
            )),
        }
    }

    fn found(&self) -> Option<EncryptionKeys> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key with an id, wherever it stands among the keys; `None`: the first one, which is made if there is none.
    fn key(&self, id: Option<&KeyId>) -> Result<SecretKey> {
        let Some(id) = id else {
            if let Source::Environment(Some(file)) = &self.source
                && self.own_file().is_some()
            {
                file.make()?;
            }
            return Ok(self.reload()?.first().clone());
        };
        if let Some(key) = self.found().and_then(|keys| keys.with_id(id).cloned()) {
            return Ok(key);
        }
        let found = self.reload()?;
        found.with_id(id).cloned().ok_or_else(|| {
            let message =
                format!("a secret is encrypted with the key {id}, which {} does not have", self.origin());
            refused(ErrorCode::ENCRYPTION_KEY_NOT_FOUND, message)
        })
    }

    /// Encrypts a secret for a place, with the key of this id; `None`: no secret was encrypted in the store before.
    pub(crate) fn seal(
        &self,
        current: Option<&KeyId>,
        place: &str,
        secret: &SecretString,
    ) -> Result<SealedSecret> {
        seal(&self.key(current)?, place, secret)
    }

    /// Decrypts the secret of a place.
    pub(crate) fn open(&self, place: &str, sealed: &SealedSecret) -> Result<SecretString> {
        let key = self.key(Some(&sealed.key))?;
        open(&key, place, &sealed.text).ok_or_else(|| {
            let message = format!(
                "a secret of {place} cannot be decrypted with the key {}: it was changed, or belongs elsewhere",
                sealed.key
            );
            refused(ErrorCode::ENCRYPTION_EXCEPTION, message)
        })
    }
}

fn named_file() -> Option<PathBuf> {
    std::env::var_os(KEY_FILE_VARIABLE).map(PathBuf::from)
}

pub(crate) fn refused(code: ErrorCode, message: impl Into<String>) -> OrchestratorError {
    Refusal::new(code, message).into()
}

#[cfg(test)]
mod tests;
