//! Container networks: what they are, who has which address, and what the machine is told.
//!
//! - [`record`] – a network as it was asked for, kept in `networks/<id>.json`
//! - [`subnet`], [`pool`] – addresses and who has them
//! - [`endpoint`] – a container's place on a network, and its names
//! - [`store`] – all networks of a home
//! - `default.rs` – those that every home has, and subnets for those that name none
//! - [`mode`] – `--network` as a container has it
//! - [`settle`] – what a new container asks of networks
//! - [`join`] – takes a container's places for as long as it runs
//! - `links.rs` – Docker's legacy links
//! - `machine.rs` – tells the machine
//!
//! A network is a VLAN on the machine's interface. The guest's end is the agent's; gateways, names
//! and everything beyond are the host's end of the machine. Rule: the machine is told in one order,
//! under one lock, so that it never ends with old names.

mod default;
pub mod endpoint;
pub mod join;
mod links;
mod machine;
pub mod mode;
pub mod pool;
pub mod record;
pub mod settle;
pub mod store;
pub mod subnet;

pub use endpoint::{Endpoint, EndpointConfig, Mac, MacError};
pub use join::JoinError;
pub use links::Link;
pub use mode::{ModeError, NetworkMode};
pub use pool::{AddressError, AddressPlan};
pub use record::{Driver, NetworkRecord};
pub use settle::{ContainerNetwork, CreateNetworkError};
pub use store::{CreateRequest, LookupError, MakeError, PlanRequest, RemoveError};
pub use subnet::{Subnet, SubnetError};

pub(crate) use default::machine_interface;
pub(crate) use join::Joined;
pub(crate) use store::Networks;
