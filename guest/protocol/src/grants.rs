//! What a container is given beyond its own root: volumes, devices of the machine, Docker's API.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where volumes lie in the machine, on the data disk.
pub const VOLUMES_FOLDER: &str = "/data/volumes";

/// The folder of a volume's files inside the volume's own.
pub const VOLUME_DATA: &str = "_data";

/// The longest name of a volume, in bytes: it is a file's name on the data disk.
pub const MAX_VOLUME_NAME_BYTES: usize = 255;

/// The socket in the machine behind which the host's API answers, to be bound into containers. No
/// container sees it that was not given it.
pub const API_SOCKET: &str = "/run/dhow/api.sock";

/// The vsock port of the host (CID 2) behind which the API answers whoever writes the
/// [`ApiToken`] first.
pub const API_PORT: u32 = 1026;

/// Bytes of an [`ApiToken`].
pub const API_TOKEN_BYTES: usize = 32;

/// What the agent writes first on a connection to [`API_PORT`].
///
/// Linux has no namespaces for vsock sockets: a container without a seccomp filter reaches every
/// port of the host. This is what it lacks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken(pub [u8; API_TOKEN_BYTES]);

impl fmt::Debug for ApiToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ApiToken(…)")
    }
}

impl ApiToken {
    /// Whether these bytes are the token, in a time that does not tell how many of them are.
    #[must_use]
    pub fn matches(&self, bytes: &[u8; API_TOKEN_BYTES]) -> bool {
        let differences = self.0.iter().zip(bytes);
        differences.fold(0, |found, (ours, theirs)| found | (ours ^ theirs)) == 0
    }
}

/// What a container is given beyond its own root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// Volumes; each has a bind mount in the OCI configuration, with its options.
    pub volumes: Vec<VolumeMount>,
    /// Devices of the machine.
    pub devices: Vec<DeviceGrant>,
    /// The running container whose process ids it shares.
    pub pid_of: Option<String>,
    /// Set where a mount of the OCI configuration has [`API_SOCKET`] as its source.
    pub api: Option<ApiToken>,
}

/// A volume in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// The volume's name; made where there is none.
    pub volume: String,
    /// Where it is mounted: the destination of the bind mount in the OCI configuration.
    pub destination: String,
    /// The part of it that is mounted, relative, or empty for all of it.
    pub subpath: String,
    /// Whether an empty volume gets what the image has at the destination.
    pub copy: bool,
}

/// A device of the machine, for a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceGrant {
    /// The device in the machine, or a folder of devices.
    pub machine_path: String,
    /// Where the container finds it.
    pub container_path: String,
    /// What it may do, letters of `rwm`.
    pub access: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_matches_itself_alone() {
        let token = ApiToken([7; API_TOKEN_BYTES]);
        let mut other = token.0;
        other[31] = 8;

        assert!(token.matches(&token.0));
        assert!(!token.matches(&other));
    }

    #[test]
    fn a_token_is_not_printed() {
        assert_eq!(
            format!("{:?}", ApiToken([7; API_TOKEN_BYTES])),
            "ApiToken(…)"
        );
    }
}
