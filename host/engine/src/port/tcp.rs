//! Carries TCP connections into a container.

use std::time::Duration;

use dhow_protocol::{Connect, Request};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::{Target, splice};

/// How long a connection waits for an application that does not listen yet.
const CONNECT_WAIT_MS: u32 = 10_000;

/// Connections of all published ports at once: each costs two descriptors and two pipes here and a
/// stream of the vsock device. That one has 1024; what is left serves commands, so that no crowd at
/// a port keeps its owner from stopping it. Those beyond wait in the kernel's backlog.
static SLOTS: Semaphore = Semaphore::const_new(768);

/// After a failed accept (descriptors used up), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until aborted; connections end with their container, not with the acceptor.
pub(super) async fn serve(listener: TcpListener, target: Target) {
    loop {
        match listener.accept().await {
            Ok((client, _address)) => {
                // After the accept: a slot held for a client to come would be lost to other ports.
                let Ok(slot) = SLOTS.acquire().await else {
                    return;
                };
                let target = target.clone();
                tokio::spawn(async move {
                    carry(client, target).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, port = %target.port, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn carry(client: TcpStream, target: Target) {
    let request = Request::Connect(Connect {
        container: target.container,
        port: target.port.number,
        kind: target.port.protocol.socket_kind(),
        wait_ms: CONNECT_WAIT_MS,
    });
    // Small writes go out at once, as they would from the application itself.
    let _best_effort = client.set_nodelay(true);
    let inside = match target.guest.open(&request).await {
        Ok((_reply, inside)) => inside,
        Err(error) => {
            tracing::debug!(%error, port = %target.port, "nobody listens behind a published port");
            reset(&client);
            return;
        }
    };
    if let Err(error) = splice::both_ways(&client, &inside).await {
        tracing::debug!(%error, port = %target.port, "a forwarded connection broke");
        reset(&client);
    }
}

/// Makes the close a reset: the client must not take it for an orderly, empty answer.
fn reset(client: &TcpStream) {
    let _best_effort = client.set_zero_linger();
}
