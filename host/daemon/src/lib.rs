//! The Docker Engine API over a unix socket: parse, call the engine, encode.
//!
//! - [`serve`] – accepts connections until told to stop or idle
//! - [`route`] – one file for each part of the API
//! - `decode`: from requests to the engine's terms, refusing by name what dhow does not have
//! - `encode`: from the engine's terms to Docker's models
//! - `hijack`: connections that become a container's streams
//! - `guest_door`: which connections from the machine are answered
//!
//! Rule: no meaning here. What a verb does is the engine's; what it looks like is Docker's.

mod activity;
mod body;
mod decode;
mod detach;
mod encode;
mod failure;
mod guest_door;
mod hangup;
mod hijack;
mod parameters;
pub mod route;
mod serve;
mod version;

pub use serve::{Doors, ServeError, ServeOptions, bind, serve};
