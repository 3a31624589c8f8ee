//! Docker Engine wire types and client.
