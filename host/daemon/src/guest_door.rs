//! The API for containers that were given its socket: the connection comes from the machine.
//!
//! Whatever runs in the machine and has vsock may connect to it, for Linux has no namespaces there.
//! Only the machine's agent knows the engine's token, and it carries nobody but those containers; so
//! a connection that does not begin with the token is closed unanswered.

use std::time::Duration;

use dhow_engine::{API_TOKEN_BYTES, Engine};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long the token may take: the agent writes it at once.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The connection, once it has shown the token.
pub(crate) async fn admit(mut stream: UnixStream, engine: &Engine) -> Option<UnixStream> {
    let mut shown = [0; API_TOKEN_BYTES];
    let read = timeout(TOKEN_TIMEOUT, stream.read_exact(&mut shown)).await;
    if matches!(read, Ok(Ok(_))) && engine.api_token().matches(&shown) {
        return Some(stream);
    }
    tracing::warn!("refused a connection from the machine that is not its agent's");
    None
}
