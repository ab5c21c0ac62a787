//! Generation and hashing of secrets. A generated secret is shown once; only its hash is stored.
//!
//! Generated secrets (tokens, secrets of applications) have 256 random bits, so a fast digest is sufficient. Secrets that
//! people chose (passwords, a supplied client secret) are hashed by Argon2id.

use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::api_error::ApiError;
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;

/// The prefix of generated tokens and secrets, so that scanners for leaked secrets find them.
const PREFIX: &str = "pf_";

/// The length of the checksum at the end: malformed tokens are refused without a query of the store.
const CHECKSUM_LENGTH: usize = 6;

/// The maximum length of a password in bytes: longer ones are refused before they are hashed.
pub(super) const MAX_PASSWORD_LENGTH: usize = 256;

/// Generates a secret: 256 random bits and a checksum.
///
/// # Errors
///
/// If the operating system provides no random bytes.
pub(super) fn new_secret() -> Result<String, ApiError> {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| ApiError::internal("the operating system provided no random bytes"))?;
    let random = URL_SAFE_NO_PAD.encode(bytes);
    Ok(format!("{PREFIX}{random}{}", checksum(&random)))
}

/// Generates a random key (a GUID of version 4).
///
/// # Errors
///
/// If the operating system provides no random bytes.
pub(super) fn new_key() -> Result<Uuid, ApiError> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| ApiError::internal("the operating system provided no random bytes"))?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// Whether a text has the prefix and checksum of a generated secret.
pub(super) fn is_well_formed(text: &str) -> bool {
    let body = text.strip_prefix(PREFIX).filter(|body| body.len() > CHECKSUM_LENGTH && body.is_ascii());
    body.is_some_and(|body| {
        let (random, found) = body.split_at(body.len() - CHECKSUM_LENGTH);
        checksum(random) == found
    })
}

fn checksum(random: &str) -> String {
    let mut checksum = digest_of(random);
    checksum.truncate(CHECKSUM_LENGTH);
    checksum
}

/// The SHA-256 digest of a text, in hexadecimal digits.
pub(super) fn digest_of(text: &str) -> String {
    // Written by hand because it runs for every request: `format!` would allocate for each byte.
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest = digest(&SHA256, text.as_bytes());
    let mut hex = String::with_capacity(2 * digest.as_ref().len());
    for byte in digest.as_ref() {
        hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
        hex.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    hex
}

/// The hash of a generated secret, to be stored.
pub(super) fn hash_generated(secret: &str) -> String {
    format!("sha256:{}", digest_of(secret))
}

/// The hash of a secret that a person chose, to be stored. Slow by design.
///
/// # Errors
///
/// Code 1405 for a secret that is too long or too short.
pub(super) fn hash_chosen(secret: &str) -> Result<String, ApiError> {
    if secret.len() < 8 || secret.len() > MAX_PASSWORD_LENGTH {
        let code = ErrorCode::INVALID_PASSWORD.number();
        let message = format!("a password or secret has 8 to {MAX_PASSWORD_LENGTH} bytes");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, code, message));
    }
    let hash = Argon2::default().hash_password(secret.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|_| ApiError::internal("a password cannot be hashed"))
}

/// As [`hash_chosen`], on a thread that may be slow.
///
/// # Errors
///
/// As [`hash_chosen`].
pub(super) async fn hash_on_thread(secret: String) -> Result<String, ApiError> {
    let hashed = tokio::task::spawn_blocking(move || hash_chosen(&secret));
    hashed.await.map_err(|_| ApiError::internal("a password could not be hashed"))?
}

/// Whether a stored hash is a slow one, of a secret that a person chose.
pub(super) fn is_password_hash(stored_hash: &str) -> bool {
    !stored_hash.starts_with("sha256:")
}

/// Whether a secret matches a stored hash. Slow for a secret that a person chose.
pub(super) fn verify(secret: &str, stored_hash: &str) -> bool {
    if secret.len() > MAX_PASSWORD_LENGTH {
        return false;
    }
    match stored_hash.strip_prefix("sha256:") {
        Some(digest) => bool::from(digest_of(secret).as_bytes().ct_eq(digest.as_bytes())),
        None => PasswordHash::new(stored_hash)
            .is_ok_and(|hash| Argon2::default().verify_password(secret.as_bytes(), &hash).is_ok()),
    }
}

/// The longest lifetime of a token: ten years.
const MAX_TOKEN_LIFE: Duration = Duration::from_secs(3_650 * 86_400);

/// The expiry time of a token that is issued now with this lifetime.
///
/// # Errors
///
/// Code 1015 for a lifetime longer than ten years.
pub(super) fn end_of_token(life: Duration, now: Timestamp) -> Result<Timestamp, Refusal> {
    let end = now.checked_add(life).ok().filter(|_| life <= MAX_TOKEN_LIFE);
    end.ok_or_else(|| {
        let message = "the life of a token should be at most 3650 days";
        Refusal::new(ErrorCode::PARAMETER_INVALID, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_secret_is_recognised_and_stored_as_a_digest() {
        let secret = new_secret().unwrap();
        assert!(is_well_formed(&secret) && secret.len() == 3 + 43 + CHECKSUM_LENGTH, "{}", secret.len());
        assert_ne!(secret, new_secret().unwrap());
        let mut changed = secret.clone();
        changed.replace_range(5..6, if &secret[5..6] == "A" { "B" } else { "A" });
        for other in [changed.as_str(), "", "pf_", "pf_üüüüüüüü", &secret[3..]] {
            assert!(!is_well_formed(other), "{other}");
        }
        assert!(!hash_generated(&secret).contains(&secret[3..20]));
        assert!(verify(&secret, &hash_generated(&secret)) && !verify(&changed, &hash_generated(&secret)));
    }

    #[test]
    fn a_password_has_a_slow_hash() {
        let stored_hash = hash_chosen("correct horse").unwrap();
        assert!(stored_hash.starts_with("$argon2id$"), "{stored_hash}");
        assert_ne!(stored_hash, hash_chosen("correct horse").unwrap(), "each has a salt of its own");
        assert!(verify("correct horse", &stored_hash) && !verify("correct horsf", &stored_hash));
        assert!(hash_chosen("short").is_err() && hash_chosen(&"x".repeat(257)).is_err());
        assert!(!verify(&"x".repeat(1_000_000), &stored_hash) && !verify("x", "nonsense"));
    }
}
