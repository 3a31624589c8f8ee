//! What the container verbs mean: containers, images, ports, events, and the machine they share.
//!
//! - [`Engine`] – everything of one home; its verbs are in [`verb`], one file each
//! - [`container`] – one container, its phases, what of it is stored
//! - [`exec`] – further processes in a container
//! - [`stream`] – from the agent's frames to log and attached clients, and back
//! - [`log`], [`events`] – what was said and what happened
//! - [`oci`] – the runtime-spec configuration a container gets
//! - [`port`] – published ports
//! - [`guest`], [`machine`] – the machine, and who starts and stops it
//! - [`image`] – images as the verbs need them
//!
//! Rule: nothing here knows HTTP. Errors carry an [`ErrorClass`]; the daemon turns it into a status.

pub mod class;
pub mod container;
mod engine;
pub mod events;
pub mod exec;
pub mod filter;
pub mod guest;
pub mod id;
pub mod image;
pub mod log;
pub mod machine;
pub mod name;
mod notice;
pub mod oci;
pub mod port;
pub mod signal;
pub mod stream;
pub mod time;
pub mod verb;

pub use class::{Classified, ErrorClass};
pub use engine::{Engine, EngineOptions, OpenError};
pub use filter::Filters;
pub use time::Timestamp;
