//! What a volume may be called.

use std::fmt;
use std::io;

use dhow_protocol::grants::MAX_VOLUME_NAME_BYTES;
use serde::{Deserialize, Serialize};

use crate::id::Id;

/// A name that keeps Docker's rule `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeName(String);

/// Why a name was refused, in Docker's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum VolumeNameError {
    /// One letter.
    #[error("volume name is too short, names should be at least two alphanumeric characters")]
    TooShort,
    /// More than a file name may have.
    #[error("volume name is longer than {MAX_VOLUME_NAME_BYTES} bytes")]
    TooLong,
    /// Letters that are not allowed.
    #[error(
        "create {0}: {0:?} includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use \
         absolute path"
    )]
    Letters(String),
}

impl VolumeName {
    /// The name of a volume that nobody named.
    ///
    /// # Errors
    /// Where the kernel gives no random bytes.
    pub fn random() -> io::Result<Self> {
        Ok(Self(Id::random()?.to_string()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for VolumeName {
    type Error = VolumeNameError;

    fn try_from(text: String) -> Result<Self, VolumeNameError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let starts_well = text.starts_with(|letter: char| letter.is_ascii_alphanumeric());
        if text.len() == 1 {
            Err(VolumeNameError::TooShort)
        } else if text.len() > MAX_VOLUME_NAME_BYTES {
            Err(VolumeNameError::TooLong)
        } else if starts_well && text.bytes().all(plain) {
            Ok(Self(text))
        } else {
            Err(VolumeNameError::Letters(text))
        }
    }
}

impl From<VolumeName> for String {
    fn from(name: VolumeName) -> Self {
        name.0
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Result<VolumeName, VolumeNameError> {
        VolumeName::try_from(text.to_owned())
    }

    #[test]
    fn takes_what_docker_takes() {
        assert_eq!(named("db_data-1.old").unwrap().as_str(), "db_data-1.old");
        assert_eq!(named("a"), Err(VolumeNameError::TooShort));
    }

    #[test]
    fn refuses_a_path() {
        assert!(matches!(named("../up"), Err(VolumeNameError::Letters(_))));
        assert!(matches!(named("a/b"), Err(VolumeNameError::Letters(_))));
        assert!(matches!(named(""), Err(VolumeNameError::Letters(_))));
    }
}
