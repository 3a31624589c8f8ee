//! What can go wrong between us and a registry, in words a user can act on.

use std::io;
use std::time::Duration;

use crate::digest::Digest;

/// Why a registry did not give or take what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No connection, or one that broke and could not be mended.
    #[error("failed to reach the registry {host}")]
    Unreachable {
        /// Name and port.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No such name.
    #[error("the registry {host} does not exist: no address is known for that name")]
    UnknownHost {
        /// Name and port.
        host: String,
    },
    /// The certificate or the encryption is wrong.
    #[error("failed to trust the registry {host}")]
    Tls {
        /// Name and port.
        host: String,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// An answer without encryption where it was due.
    #[error(
        "the registry {host} speaks plain HTTP, which is only allowed for registries that \
         \"insecure-registries\" in daemon.json names"
    )]
    PlainHttp {
        /// Name and port.
        host: String,
    },
    /// 401, or 403: who asks may not.
    #[error("access denied for {what}: it does not exist or needs a login to {host} ({message})")]
    Denied {
        /// Name and port.
        host: String,
        /// Repository or resource.
        what: String,
        /// The registry's words.
        message: String,
    },
    /// 404.
    #[error("{what} not found: {message}")]
    NotFound {
        /// Image or blob.
        what: String,
        /// The registry's words.
        message: String,
    },
    /// 429, and not to be repeated soon.
    #[error("the registry {host} answers too many requests: {message}{}", after(*retry_after))]
    RateLimited {
        /// Name and port.
        host: String,
        /// The registry's words.
        message: String,
        /// When it says that it would answer again.
        retry_after: Option<Duration>,
    },
    /// Any other status.
    #[error("the registry {host} answered {status} to {call}: {message}")]
    Status {
        /// Name and port.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What was asked.
        call: String,
        /// The registry's words.
        message: String,
    },
    /// An answer that makes no sense.
    #[error("the registry {host} gave an invalid answer: {problem}")]
    Invalid {
        /// Name and port.
        host: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Content is not what its name says.
    #[error("{what} has the wrong digest: expected {expected}, found {actual}")]
    Digest {
        /// What it was.
        what: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// Whoever asked for it has gone.
    #[error("cancelled")]
    Cancelled,
    /// The settings cannot be used.
    #[error("failed to use the registry settings")]
    Settings(#[source] super::settings::SettingsError),
}

/// ", try again in …" where a time is known.
fn after(retry_after: Option<Duration>) -> String {
    match retry_after {
        Some(time) => format!("; try again in {} s", time.as_secs()),
        None => String::new(),
    }
}

impl RegistryError {
    /// Whether asking again may help.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 408,
            Self::RateLimited { retry_after, .. } => {
                retry_after.is_none_or(|time| time <= MAX_OBEYED_RETRY_AFTER)
            }
            _ => false,
        }
    }
}

/// Longest `Retry-After` that is waited for; a user rather hears of a longer one.
pub(crate) const MAX_OBEYED_RETRY_AFTER: Duration = Duration::from_secs(10);
