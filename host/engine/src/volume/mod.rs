//! Volumes: data that outlives containers.
//!
//! - [`name`] – what a volume may be called
//! - [`store`] – which volumes there are, and who may remove one
//! - [`mount`] – what is mounted where in a container, as it is kept
//! - [`bind`] – `-v`, read
//! - [`plan`] – from everything a user and an image say to a container's mounts
//!
//! A volume's data lies on the machine's data disk; what it is called, its labels and its age lie
//! in the home, so that a list needs no machine. Rule: who uses a volume is not counted but found in
//! the containers' records; only the time between making a volume and its container is held.

pub mod bind;
pub mod mount;
pub mod name;
pub mod plan;
pub mod store;

pub use mount::{MountPoint, MountRequest, MountSource, RequestedMount};
pub use name::{VolumeName, VolumeNameError};
pub use plan::MountError;
pub use store::{Volume, VolumeStore};

/// The one driver there is.
pub const LOCAL_DRIVER: &str = "local";

/// Docker's mark of a volume that was made for a container without being named.
pub const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";
