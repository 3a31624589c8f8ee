//! `os/architecture[/variant]`: what an image is for, and what runs here.

use std::fmt;
use std::str::FromStr;

/// The one operating system dhow runs images of.
pub(crate) const OS: &str = "linux";

/// This machine's architecture in the image specification's words (those of Go's `GOARCH`).
pub(crate) const ARCHITECTURE: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    std::env::consts::ARCH
};

/// An operating system and an architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    os: String,
    architecture: String,
}

/// Why a text is no platform that can be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePlatformError {
    /// Not of the form.
    #[error("invalid platform {text:?}: it looks like linux/amd64")]
    Format {
        /// What was given.
        text: String,
    },
    /// Nothing that this machine runs.
    #[error("images for {text} cannot run here; this machine runs {OS}/{ARCHITECTURE}")]
    CannotRun {
        /// What was given.
        text: String,
    },
}

impl Platform {
    /// What runs here.
    #[must_use]
    pub fn here() -> Self {
        Self {
            os: OS.to_owned(),
            architecture: ARCHITECTURE.to_owned(),
        }
    }

    /// Whether these words mean this platform.
    pub(crate) fn is(&self, os: &str, architecture: &str) -> bool {
        self.os == os && self.architecture == common_name(architecture)
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    /// Reads `linux/amd64`, `amd64` or `linux`, and refuses what cannot run.
    fn from_str(text: &str) -> Result<Self, ParsePlatformError> {
        let mut parts = text.split('/');
        let (first, second, variant) = (parts.next(), parts.next(), parts.next());
        let valid = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        };
        let well_formed = [first, second, variant].iter().flatten().all(valid);
        if !well_formed || parts.next().is_some() {
            return Err(ParsePlatformError::Format {
                text: text.to_owned(),
            });
        }
        let (os, architecture) = match (first, second) {
            (Some(os), Some(architecture)) => (os, architecture),
            (Some(OS), None) => (OS, ARCHITECTURE),
            (Some(architecture), None) => (OS, architecture),
            (None, _) => ("", ""),
        };
        let here = Self::here();
        if here.is(&os.to_ascii_lowercase(), &architecture.to_ascii_lowercase()) {
            Ok(here)
        } else {
            Err(ParsePlatformError::CannotRun {
                text: text.to_owned(),
            })
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)
    }
}

/// Other words for the same architecture, as Docker takes them.
fn common_name(architecture: &str) -> &str {
    match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_runs_here_by_all_its_names() {
        let here = Platform::here();
        let texts = [
            format!("linux/{ARCHITECTURE}"),
            ARCHITECTURE.to_owned(),
            "linux".to_owned(),
        ];
        for text in texts {
            assert_eq!(text.parse::<Platform>().as_ref(), Ok(&here), "{text}");
        }
    }

    #[test]
    fn refuses_what_cannot_run() {
        let error = "linux/s390x".parse::<Platform>().unwrap_err();
        assert!(error.to_string().contains("cannot run here"), "{error}");
        "windows/amd64".parse::<Platform>().unwrap_err();
        let error = "a/b/c/d".parse::<Platform>().unwrap_err();
        assert!(matches!(error, ParsePlatformError::Format { .. }));
    }
}
