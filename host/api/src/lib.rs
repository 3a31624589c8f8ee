//! Docker Engine wire types and a client for them.
//!
//! - [`client`] – speaks HTTP/1 over a unix socket, to our own daemon or to any other that answers
//!   Docker's API
//! - [`request`] – what clients send, read as leniently as Docker reads it
//! - [`models`] – what the daemon answers
//!
//! Nothing here knows what a verb means; that is the engine's business.

pub mod client;
pub mod request;

/// The models of Docker's own API description, for answers.
pub use bollard_stubs::models;
