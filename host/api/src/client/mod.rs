//! A client of Docker's Engine API on a unix socket.
//!
//! [`Client`] keeps connections that may be used again; [`Target`] says which resource is meant;
//! a file per noun (`containers`, `exec`, `images`, `networks`, `system`) adds the verbs. Attach and exec turn
//! their connection into a [`Hijacked`] byte stream; everything else that does not end by itself
//! (logs, events, load) is a [`StreamedBody`].
//!
//! Every call is one round trip on one connection, and calls made at the same time travel on
//! connections of their own. A connection goes back to the idle list only once its answer has been
//! read to the end, so an answer dropped half-read costs a connection, never a mix-up.

mod connection;
mod containers;
mod error;
mod exec;
mod files;
mod frames;
mod hijack;
mod images;
mod models;
mod networks;
mod registry;
mod stats;
mod streamed;
mod system;
mod target;
mod upload;

pub use connection::Client;
pub use containers::{AttachOptions, ListOptions, LogOptions, PendingExit, WaitCondition};
pub use error::ClientError;
pub use exec::ExecOptions;
pub use files::{CommitOptions, FileChange};
pub use frames::{Channel, FrameDecoder, FrameError};
pub use hijack::{Hijacked, HijackedReader};
pub use images::ImportOptions;
pub use models::{
    ContainerConfigFacts, ContainerExit, ContainerFacts, ContainerHostFacts, ContainerStateFacts,
    ContainerSummary, CreatedContainer, Event, EventActor, ExecState, ExitError, FoundImage,
    HistoryStep, HostAddress, ImageSummary, LoginReply, NetworkFacts, NetworkSummary, PortBinding,
    Progress, ProgressDetail, ProgressError, PrunedImages, RemovedImage, SummaryNetworks, TopReply,
};
pub use registry::RegistryAuth;
pub use stats::ContainerStats;
pub use streamed::StreamedBody;
pub use target::Target;
pub use upload::Upload;

/// Models of requests, as Docker's own description of the API has them.
pub mod request {
    pub use super::containers::ContainerUpdateBody;
    pub use bollard_stubs::models::{
        ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HealthConfig, HostConfig, Ipam,
        IpamConfig, Mount, MountTmpfsOptions, MountType, NetworkConnectRequest,
        NetworkCreateRequest, NetworkDisconnectRequest, NetworkingConfig, PortBinding,
        ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
    };
}

#[cfg(test)]
mod tests;
