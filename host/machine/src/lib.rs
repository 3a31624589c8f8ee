//! One microVM as an object: started, dialled, given layers, ended.
//!
//! [`Machine::start`] picks an engine ([`engine`], by trying: [`probe`]), formats the data disk on
//! first use ([`data_disk`]), and spawns one child process that owns the VM ([`spec`] is what it is
//! told, [`owner`] the lines spoken with it). Once the guest's agent has called back, every call is
//! a vsock connection of its own ([`dial`]).
//!
//! Rule: nothing above this crate knows which engine runs; nothing in it knows images or
//! containers.

pub mod data_disk;
pub mod dial;
pub mod engine;
mod machine;
pub mod owner;
pub mod probe;
pub mod spec;
pub mod uml;

pub use dial::{CallError, receive};
pub use engine::{Engine, EngineChoice};
pub use machine::{
    Machine, MachineConfig, MachineExit, MachineFacts, MapError, StartError, StopError,
    default_memory_bytes,
};
pub use owner::OwnerError;
pub use spec::{MachineSpec, NetworkCommand, Subnet};
