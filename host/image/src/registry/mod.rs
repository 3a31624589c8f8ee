//! Registries: the OCI distribution API, and Docker's, which it comes from.
//!
//! ```text
//! client      what callers hold: addresses, login, search, tags, and the way to end it all
//! repository  one repository: authorization, asking again
//! manifest    manifests, verified        blob   blobs as streams that mend themselves
//! transport   HTTP, trust, redirects     settings, proxy, credentials, challenge   what users say
//! ```
//!
//! `store/pull.rs` and `store/push.rs` are the verbs. Everything a registry says is checked: documents
//! have bounds, content its digest, and waiting an end.

mod address;
pub(crate) mod blob;
mod challenge;
mod client;
mod credentials;
mod error;
pub(crate) mod manifest;
mod proxy;
pub(crate) mod repository;
mod settings;
pub(crate) mod transport;

pub(crate) use address::join;
pub use client::{FoundRepository, RegistryClient};
pub use credentials::{Credentials, ParseCredentialsError};
pub use error::RegistryError;
pub use settings::{RegistrySettings, SettingsError};
