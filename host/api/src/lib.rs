//! Docker Engine wire types and a client for them.
//!
//! `client` speaks HTTP/1 over a unix socket, to our own daemon or to any other that answers
//! Docker's API. Nothing here knows what a verb means; that is the engine's business.

pub mod client;
