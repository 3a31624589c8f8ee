//! Docker Engine wire types and a client for them.
//!
//! - [`request`]: what clients send, read as leniently as Docker reads it
//! - [`models`]: what the daemon answers
//!
//! Nothing here knows what a verb means; that is the engine's business.

pub mod request;

/// The models of Docker's own API description, for answers.
pub use bollard_stubs::models;
