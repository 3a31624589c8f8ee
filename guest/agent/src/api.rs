//! The host's API inside the machine: a socket that containers are given as
//! `/var/run/docker.sock`, each connection carried to the host.
//!
//! The socket is made when the first container asks for it, and stays: a machine whose containers
//! ask for nothing has none. On the host's side the API answers only whoever brings the token that
//! came with the request, because a container without a seccomp filter can reach the host's vsock
//! ports by itself.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use dhow_protocol::grants::{API_PORT, API_SOCKET, ApiToken};
use dhow_protocol::{Failure, FailureKind};
use vsock::{VMADDR_CID_HOST, VsockStream};

use crate::{boot, forward};

/// Permissions of the socket, owned by root: as Docker's where there is no group for it.
const SOCKET_MODE: u32 = 0o660;

/// The most connections carried at once, two threads each; later ones wait in the socket's queue. A
/// container could use up the machine's memory otherwise.
const MAX_CONNECTIONS: usize = 256;

/// After a failed accept (memory or descriptors used up), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Whether the socket is there.
static OFFERED: Mutex<bool> = Mutex::new(false);

/// Makes the socket unless it is there; before the container that mounts it starts.
pub(crate) fn offer(token: &ApiToken) -> Result<(), Failure> {
    let mut offered = locked(&OFFERED);
    if !*offered {
        listen(token.clone()).map_err(|error| Failure {
            kind: FailureKind::Internal,
            message: format!("failed to offer the API's socket: {error:#}"),
        })?;
        *offered = true;
    }
    Ok(())
}

fn listen(token: ApiToken) -> anyhow::Result<()> {
    let listener = UnixListener::bind(API_SOCKET).context("failed to bind it")?;
    fs::set_permissions(API_SOCKET, Permissions::from_mode(SOCKET_MODE))
        .context("failed to set its mode")?;
    thread::Builder::new()
        .name("api".to_owned())
        .spawn(move || accept(&listener, &token))
        .context("failed to start a thread")?;
    Ok(())
}

fn accept(listener: &UnixListener, token: &ApiToken) {
    let room = Arc::new(Room::default());
    loop {
        let place = Room::enter(&room);
        let accepted = listener.accept().and_then(|(client, _address)| {
            let token = token.clone();
            thread::Builder::new()
                .name("api-client".to_owned())
                .spawn(move || carry(&client, &token, place))
        });
        if let Err(error) = accepted {
            boot::complain(&anyhow::Error::new(error).context("failed to accept an API client"));
            thread::sleep(ACCEPT_PAUSE);
        }
    }
}

/// Carries one client to the host, half-closes included: `exec` and `attach` end their input so.
fn carry(client: &UnixStream, token: &ApiToken, _place: Place) {
    let carried = connect(token).and_then(|host| forward::carry_stream(client, &host));
    if let Err(error) = carried {
        boot::complain(&anyhow::Error::new(error).context("failed to carry an API client"));
    }
}

fn connect(token: &ApiToken) -> io::Result<VsockStream> {
    let mut host = VsockStream::connect_with_cid_port(VMADDR_CID_HOST, API_PORT)?;
    host.write_all(&token.0)?;
    Ok(host)
}

/// How many connections are carried.
#[derive(Default)]
struct Room {
    taken: Mutex<usize>,
    left: Condvar,
}

/// One of them.
struct Place(Arc<Room>);

impl Room {
    /// Waits for a free place.
    fn enter(room: &Arc<Self>) -> Place {
        let mut taken = room
            .left
            .wait_while(locked(&room.taken), |taken| *taken >= MAX_CONNECTIONS)
            .unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Place(Arc::clone(room))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *locked(&self.0.taken) -= 1;
        self.0.left.notify_one();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
