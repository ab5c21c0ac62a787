//! Token requests and responses (orchestrator-api 1.2 and 1.4). No Debug here: these bodies contain secrets.

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};

/// The response of a token endpoint.
#[derive(Deserialize)]
pub struct TokenResponse {
    access_token: String,
    /// In seconds. Some servers send it as a text, or omit it.
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<i64>,
}

impl TokenResponse {
    /// The token, and its lifetime in seconds: clamped to a minute to a day; an hour if it is absent.
    pub fn into_token(self) -> (SecretString, u64) {
        let seconds = self.expires_in.unwrap_or(3_600).clamp(60, 86_400);
        (self.access_token.into(), seconds.unsigned_abs())
    }
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum NumberOrText {
        Whole(i64),
        Number(f64),
        Text(String),
        Nothing(()),
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float that is too large ends at the largest number"
    )]
    Ok(match NumberOrText::deserialize(deserializer)? {
        NumberOrText::Whole(seconds) => Some(seconds),
        NumberOrText::Number(seconds) => Some(seconds as i64),
        NumberOrText::Text(text) => text.trim().parse().ok(),
        NumberOrText::Nothing(()) => None,
    })
}

/// The body of `/api/Account/Authenticate`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthenticateRequest<'a> {
    pub tenancy_name: &'a str,
    pub username_or_email_address: &'a str,
    pub password: &'a str,
}

/// The response to [`AuthenticateRequest`].
#[derive(Deserialize)]
pub struct AuthenticateResponse {
    result: Option<String>,
}

impl AuthenticateResponse {
    /// The token, and its lifetime of half an hour in seconds.
    pub fn into_token(self) -> Option<(SecretString, u64)> {
        self.result.map(|token| (token.into(), 1_800))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn lifetimes_are_clamped_to_a_minute_and_a_day() {
        for (expires, seconds) in [
            ("3600", 3_600),
            ("\"1800\"", 1_800),
            ("0", 60),
            ("-1", 60),
            ("1000000000000", 86_400),
            ("1e300", 86_400),
            ("\"soon\"", 3_600),
            ("null", 3_600),
        ] {
            let json = format!(r#"{{"access_token":"t","expires_in":{expires},"token_type":"Bearer"}}"#);
            let (token, life) = serde_json::from_str::<TokenResponse>(&json).unwrap().into_token();
            assert_eq!((token.expose_secret(), life), ("t", seconds), "{expires}");
        }
        let (_, life) =
            serde_json::from_str::<TokenResponse>(r#"{"access_token":"t"}"#).unwrap().into_token();
        assert_eq!(life, 3_600);
    }

    #[test]
    fn the_older_response_wraps_the_token() {
        let json = r#"{"result":"t","targetUrl":null,"success":true,"error":null,"__abp":true}"#;
        let answer: AuthenticateResponse = serde_json::from_str(json).unwrap();
        assert_eq!(answer.into_token().unwrap().0.expose_secret(), "t");
    }
}
