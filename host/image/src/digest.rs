//! Content digests: `sha256:` and 64 hexadecimal digits.
//!
//! The grammar is that of the OCI image specification, "Digests". SHA-256 is the one algorithm all
//! implementations must support and the only one found in practice, so it is the only one taken.

use std::fmt;
use std::str::FromStr;

/// What precedes the digits.
const PREFIX: &str = "sha256:";

/// Digits of a whole digest.
pub(crate) const HEX_DIGITS: usize = 64;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid digest {text:?}, expected sha256: and 64 lower-case hexadecimal digits")]
pub struct ParseDigestError {
    /// What was given.
    pub text: String,
}

impl Digest {
    /// Hashes `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(<sha2::Sha256 as sha2::Digest>::digest(bytes).into())
    }

    /// A digest that was computed elsewhere.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 digits without `sha256:`.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads 64 digits without `sha256:`.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn from_hex(text: &str) -> Result<Self, ParseDigestError> {
        let invalid = || ParseDigestError {
            text: text.to_owned(),
        };
        if text.len() != HEX_DIGITS {
            return Err(invalid());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let high = hex_digit(pair[0]).ok_or_else(invalid)?;
            let low = hex_digit(pair[1]).ok_or_else(invalid)?;
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

/// Upper-case digits are refused: one digest has one spelling.
fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let invalid = || ParseDigestError {
            text: text.to_owned(),
        };
        let hex = text.strip_prefix(PREFIX).ok_or_else(invalid)?;
        Self::from_hex(hex).map_err(|error| ParseDigestError {
            text: format!("{PREFIX}{}", error.text),
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Digits that `docker images` shows of an id.
const SHORT_DIGITS: usize = 12;

/// An image's identity: the digest of its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(Digest);

impl ImageId {
    /// The image whose configuration has this digest.
    #[must_use]
    pub fn new(digest: Digest) -> Self {
        Self(digest)
    }

    /// The digest of the configuration.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0
    }

    /// The first twelve digits, as listings show them.
    #[must_use]
    pub fn short(&self) -> String {
        let mut hex = self.0.hex();
        hex.truncate(SHORT_DIGITS);
        hex
    }
}

impl FromStr for ImageId {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_it_prints() {
        let digest = Digest::of(b"");
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse(), Ok(digest));
    }

    #[test]
    fn rejects_other_spellings() {
        let hex = Digest::of(b"").hex();
        let upper = format!("sha256:{}", hex.to_uppercase());
        let others = [
            hex.clone(),
            format!("sha512:{hex}"),
            upper,
            format!("sha256:{hex}0"),
            "sha256:é".into(),
        ];
        for text in others {
            assert!(
                matches!(text.parse::<Digest>(), Err(ParseDigestError { .. })),
                "{text}"
            );
        }
    }
}
