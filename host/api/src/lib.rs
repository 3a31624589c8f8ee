//! Docker Engine wire types and a client for them.
//!
//! - [`client`] – speaks HTTP/1 over a unix socket, to our own daemon or to any other that answers
//!   Docker's API
//! - [`request`] – what clients send, read as leniently as Docker reads it
//! - [`models`] – what the daemon answers
//! - [`warning`] – what it adds to an answer without a body
//!
//! Nothing here knows what a verb means; that is the engine's business.

pub mod client;
pub mod request;
pub mod warning;

/// In the answer to a ping: our daemon has something to tell the user, to be had with
/// [`client::Client::notices`].
pub const NOTICES_HEADER: &str = "dhow-notices";

/// The models of Docker's own API description, for answers.
pub use bollard_stubs::models;
