//! Secrets: made of the operating system's randomness, shown once, kept as what cannot be turned back.
//!
//! What we make ourselves (tokens, secrets of applications) has 256 random bits, so that a quick digest is enough. What
//! people choose (passwords, a secret given from outside) goes through Argon2id.

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::failure::Failure;
use crate::model::code::ErrorCode;

/// What every token and secret of ours begins with, so that those who look for leaks find it.
const PREFIX: &str = "pf_";

/// How many characters the check behind it has: a text that is not of ours is known without a look at the store.
const CHECK: usize = 6;

/// The longest password, in bytes: a longer one is refused before it costs anything.
pub(super) const LONGEST_PASSWORD: usize = 256;

/// A new secret: 256 random bits, and a check.
///
/// # Errors
///
/// When the operating system has no randomness.
pub(super) fn new_secret() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Failure::internal("the system has no randomness"))?;
    let random = URL_SAFE_NO_PAD.encode(bytes);
    Ok(format!("{PREFIX}{random}{}", check(&random)))
}

/// A new random key (a GUID of version 4).
///
/// # Errors
///
/// When the operating system has no randomness.
pub(super) fn new_key() -> Result<Uuid, Failure> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Failure::internal("the system has no randomness"))?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// Whether a text has the form of one of ours.
pub(super) fn is_one_of_ours(text: &str) -> bool {
    let body = text.strip_prefix(PREFIX).filter(|body| body.len() > CHECK && body.is_ascii());
    body.is_some_and(|body| {
        let (random, found) = body.split_at(body.len() - CHECK);
        check(random) == found
    })
}

fn check(random: &str) -> String {
    let mut check = digest_of(random);
    check.truncate(CHECK);
    check
}

/// The SHA-256 digest of a text, in hexadecimal digits.
pub(super) fn digest_of(text: &str) -> String {
    // Done for every request: no text for each byte.
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest = digest(&SHA256, text.as_bytes());
    let mut hex = String::with_capacity(2 * digest.as_ref().len());
    for byte in digest.as_ref() {
        hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
        hex.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    hex
}

/// What is kept of a secret that we made.
pub(super) fn kept(secret: &str) -> String {
    format!("sha256:{}", digest_of(secret))
}

/// What is kept of a secret that somebody chose. Takes a while, on purpose.
///
/// # Errors
///
/// Code 1405 for one that is too long or too short.
pub(super) fn kept_slowly(secret: &str) -> Result<String, Failure> {
    if secret.len() < 8 || secret.len() > LONGEST_PASSWORD {
        let code = ErrorCode::INVALID_PASSWORD.number();
        let message = format!("a password or secret has 8 to {LONGEST_PASSWORD} bytes");
        return Err(Failure::new(StatusCode::BAD_REQUEST, code, message));
    }
    let hash = Argon2::default().hash_password(secret.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|_| Failure::internal("a password cannot be hashed"))
}

/// Whether comparing with this takes a while.
pub(super) fn is_slow(kept: &str) -> bool {
    !kept.starts_with("sha256:")
}

/// Whether a secret is the one that this was kept of. Takes a while for a secret that somebody chose.
pub(super) fn is_the_same(secret: &str, kept: &str) -> bool {
    if secret.len() > LONGEST_PASSWORD {
        return false;
    }
    match kept.strip_prefix("sha256:") {
        Some(digest) => bool::from(digest_of(secret).as_bytes().ct_eq(digest.as_bytes())),
        None => PasswordHash::new(kept)
            .is_ok_and(|hash| Argon2::default().verify_password(secret.as_bytes(), &hash).is_ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_its_form_and_kept_as_a_digest() {
        let secret = new_secret().unwrap();
        assert!(is_one_of_ours(&secret) && secret.len() == 3 + 43 + CHECK, "{}", secret.len());
        assert_ne!(secret, new_secret().unwrap());
        let mut changed = secret.clone();
        changed.replace_range(5..6, if &secret[5..6] == "A" { "B" } else { "A" });
        for other in [changed.as_str(), "", "pf_", "pf_üüüüüüüü", &secret[3..]] {
            assert!(!is_one_of_ours(other), "{other}");
        }
        assert!(!kept(&secret).contains(&secret[3..20]));
        assert!(is_the_same(&secret, &kept(&secret)) && !is_the_same(&changed, &kept(&secret)));
    }

    #[test]
    fn a_password_goes_through_a_slow_hash() {
        let kept = kept_slowly("correct horse").unwrap();
        assert!(kept.starts_with("$argon2id$"), "{kept}");
        assert_ne!(kept, kept_slowly("correct horse").unwrap(), "each has a salt of its own");
        assert!(is_the_same("correct horse", &kept) && !is_the_same("correct horsf", &kept));
        assert!(kept_slowly("short").is_err() && kept_slowly(&"x".repeat(257)).is_err());
        assert!(!is_the_same(&"x".repeat(1_000_000), &kept) && !is_the_same("x", "nonsense"));
    }
}
