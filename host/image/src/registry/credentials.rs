//! Who asks: user and password, or a token, as Docker's `X-Registry-Auth` header carries them.

use std::fmt;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde::Deserialize;

/// Docker's clients differ in whether they pad; both are right.
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The same for clients that use the common alphabet.
const COMMON: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Largest header that is looked at.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// What a registry is told about who asks. Never printed.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password or access token.
    pub password: String,
    /// `user:password` in Base64, which some clients send instead.
    auth: String,
    /// A refresh token that a login gave.
    #[serde(rename = "identitytoken")]
    pub identity_token: String,
    /// A bearer token to be used as it is.
    #[serde(rename = "registrytoken")]
    pub registry_token: String,
    /// Which registry it is for, where the client says so.
    #[serde(rename = "serveraddress")]
    pub server_address: String,
}

/// Why a header is not credentials.
#[derive(Debug, thiserror::Error)]
#[error("the registry credentials of the request are malformed")]
pub struct ParseCredentialsError;

impl Credentials {
    /// Reads `X-Registry-Auth`; empty text is nobody.
    ///
    /// # Errors
    /// Where it is no Base64 of such JSON.
    pub fn from_header(text: &str) -> Result<Self, ParseCredentialsError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.len() > MAX_HEADER_BYTES {
            return Err(ParseCredentialsError);
        }
        let bytes = URL_SAFE.decode(text).or_else(|_| COMMON.decode(text));
        Self::from_json(&bytes.map_err(|_| ParseCredentialsError)?)
    }

    /// Reads the JSON that the header wraps and that `POST /auth` brings as it is.
    ///
    /// # Errors
    /// Where it is no such JSON.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ParseCredentialsError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut credentials: Self =
            serde_json::from_slice(bytes).map_err(|_| ParseCredentialsError)?;
        if credentials.username.is_empty() && !credentials.auth.is_empty() {
            let decoded = COMMON.decode(credentials.auth.trim());
            let decoded = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let (user, password) = decoded
                .as_deref()
                .and_then(|text| text.split_once(':'))
                .ok_or(ParseCredentialsError)?;
            credentials.username = user.to_owned();
            credentials.password = password.trim_end_matches('\0').to_owned();
        }
        credentials.auth.clear();
        Ok(credentials)
    }

    /// Whether there is anything in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.username.is_empty()
            && self.password.is_empty()
            && self.identity_token.is_empty()
            && self.registry_token.is_empty()
    }

    /// The value of `Authorization` for basic authentication, if there is a user.
    pub(crate) fn basic(&self) -> Option<String> {
        let text = format!("{}:{}", self.username, self.password);
        (!self.username.is_empty()).then(|| format!("Basic {}", STANDARD.encode(text)))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_docker_sends() {
        let json = r#"{"username":"me","password":"a?b>c","serveraddress":"localhost:5000"}"#;
        for header in [URL_SAFE.encode(json), STANDARD.encode(json)] {
            let credentials = Credentials::from_header(&header).unwrap();
            assert_eq!(
                (credentials.username.as_str(), credentials.password.as_str()),
                ("me", "a?b>c")
            );
        }
        let auth = format!(r#"{{"auth":"{}"}}"#, STANDARD.encode("me:it:is"));
        let credentials = Credentials::from_json(auth.as_bytes()).unwrap();
        assert_eq!(
            (credentials.username.as_str(), credentials.password.as_str()),
            ("me", "it:is")
        );
    }

    #[test]
    fn nobody_is_empty() {
        assert!(Credentials::from_header("").unwrap().is_empty());
        assert!(
            Credentials::from_header(&URL_SAFE.encode("{}"))
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn rejects_what_is_no_header() {
        Credentials::from_header("%%%").unwrap_err();
        Credentials::from_header(&URL_SAFE.encode("[1")).unwrap_err();
    }

    #[test]
    fn a_password_is_never_printed() {
        let credentials = Credentials::from_json(br#"{"username":"me","password":"secret"}"#);
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
