//! The API for containers that were given its socket: the connection comes from the machine.
//!
//! Whatever runs in the machine and has vsock may connect to it, for Linux has no namespaces there.
//! Only the machine's agent knows the engine's token, and it carries nobody but those containers; so
//! a connection that does not begin with the token is closed unanswered.

use std::time::Duration;

use dhow_engine::{API_TOKEN_BYTES, ApiToken};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long the token may take: the agent writes it at once.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The connection, once it has shown the token.
pub(crate) async fn admit(mut stream: UnixStream, token: &ApiToken) -> Option<UnixStream> {
    let mut shown = [0; API_TOKEN_BYTES];
    let read = timeout(TOKEN_TIMEOUT, stream.read_exact(&mut shown)).await;
    if matches!(read, Ok(Ok(_))) && token.matches(&shown) {
        return Some(stream);
    }
    tracing::warn!("refused a connection from the machine that is not its agent's");
    None
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const TOKEN: ApiToken = ApiToken([9; API_TOKEN_BYTES]);

    async fn admitted(written: &[u8]) -> Option<UnixStream> {
        let (mut machine, ours) = UnixStream::pair().unwrap();
        machine.write_all(written).await.unwrap();
        machine.shutdown().await.unwrap();
        admit(ours, &TOKEN).await
    }

    #[tokio::test]
    async fn what_follows_the_token_is_the_clients() {
        let mut stream = admitted(&[&TOKEN.0[..], b"GET"].concat()).await.unwrap();

        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"GET");
    }

    #[tokio::test]
    async fn nobody_else_is_answered() {
        assert!(
            admitted(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
                .await
                .is_none()
        );
        assert!(admitted(&TOKEN.0[1..]).await.is_none());
    }
}
