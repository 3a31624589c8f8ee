//! What clients send.
//!
//! Own structs and not the generated models: Go clients send `null` for empty lists, strings where
//! lists are meant, and fields of other versions. A request is read here as leniently as Docker
//! reads it; what its values mean is checked by the daemon.

mod container;
mod exec;
mod network;

use serde::{Deserialize, Deserializer};

pub use container::{
    ContainerCreateRequest, ContainerUpdateRequest, HostConfigRequest, LogConfigRequest,
    PortBindingRequest, RestartPolicyRequest, UlimitRequest,
};
pub use exec::{ExecCreateRequest, ExecStartRequest};
pub use network::{
    EndpointAddressesRequest, EndpointRequest, IpamConfigRequest, IpamRequest,
    NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest, NetworkingConfigRequest,
};

/// Words of a command: a list, or one string that is one word, as Docker's `strslice`.
///
/// # Errors
/// Where it is neither.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        Many(Vec<String>),
        One(String),
    }
    let words = Option::<Words>::deserialize(deserializer)?;
    Ok(words.map(|words| match words {
        Words::Many(words) => words,
        Words::One(word) => vec![word],
    }))
}
