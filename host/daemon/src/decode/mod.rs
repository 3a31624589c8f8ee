//! From requests to the engine's terms.

mod container;
mod exec;
mod network;
mod refuse;

use axum::body::Body;
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use crate::failure::Failure;

pub(crate) use container::{create_options, update_options};
pub(crate) use exec::{console_size, exec_config};
pub(crate) use network::{endpoint, network};

/// The largest JSON body read: far more than any client sends, and nothing to fill memory with.
const MAX_JSON_BYTES: usize = 4 * 1024 * 1024;

/// Reads a JSON body whatever its media type, as Docker does; an empty one is an empty object.
pub(crate) async fn json<T: DeserializeOwned + Default>(body: Body) -> Result<T, Failure> {
    let bytes = axum::body::to_bytes(body, MAX_JSON_BYTES)
        .await
        .map_err(|error| {
            let message = format!("failed to read the request body: {error}");
            Failure::new(StatusCode::PAYLOAD_TOO_LARGE, message)
        })?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::invalid(format!("invalid JSON: {error}")))
}
