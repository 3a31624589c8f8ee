//! Clients attached to a process, and how fast they let it go.
//!
//! Each client has a bounded buffer. A client alone is waited for as long as it takes: its process
//! feels the back-pressure and nothing is lost, as with a pipe. As soon as somebody else would wait
//! with it (another client, or whoever stops the container), a client that takes nothing for
//! [`STALL_LIMIT`] is dropped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dhow_protocol::stream::StreamKind;
use tokio::sync::{mpsc, watch};

use super::OutputFrame;
use super::input::{self, InputReceiver, InputSender};

/// Frames buffered per client: at most 64 KiB each, so 2 MiB.
const CLIENT_BUFFER_FRAMES: usize = 32;

/// How long others wait for a client that takes nothing.
const STALL_LIMIT: Duration = Duration::from_secs(2);

/// Clients attached to one process at once; each may hold [`CLIENT_BUFFER_FRAMES`].
const MAX_CLIENTS: usize = 64;

/// Which streams a client asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// A client's end.
#[derive(Debug)]
pub struct Attachment {
    /// Output; ends when the process has ended or the client was too slow.
    pub output: mpsc::Receiver<OutputFrame>,
    /// Where its input goes, if it asked to write any.
    pub input: Option<InputSender>,
}

/// Too many clients on one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_CLIENTS} clients are attached already")]
pub struct Crowded;

/// The clients of one process.
#[derive(Debug)]
pub struct Hub {
    clients: Mutex<Vec<Client>>,
    next_client: AtomicU64,
    input: Mutex<(InputSender, Option<InputReceiver>)>,
    /// Who would wait together with a slow client.
    audience: watch::Sender<Audience>,
}

#[derive(Clone, Debug)]
struct Client {
    id: u64,
    selection: Selection,
    sender: mpsc::Sender<OutputFrame>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Audience {
    clients: usize,
    end_expected: bool,
}

impl Audience {
    fn shares_the_wait(self) -> bool {
        self.clients > 1 || self.end_expected
    }
}

impl Hub {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = input::channel();
        Self {
            clients: Mutex::default(),
            next_client: AtomicU64::new(0),
            input: Mutex::new((sender, Some(receiver))),
            audience: watch::channel(Audience::default()).0,
        }
    }

    /// Adds a client. It hears what comes from now on.
    pub(crate) fn attach(&self, selection: Selection) -> Result<Attachment, Crowded> {
        let (sender, output) = mpsc::channel(CLIENT_BUFFER_FRAMES);
        let mut clients = self.locked_clients();
        clients.retain(|client| !client.sender.is_closed());
        if clients.len() >= MAX_CLIENTS {
            return Err(Crowded);
        }
        clients.push(Client {
            id: self.next_client.fetch_add(1, Ordering::Relaxed),
            selection,
            sender,
        });
        self.count(clients.len());
        let input = selection.stdin.then(|| self.locked_input().0.clone());
        Ok(Attachment { output, input })
    }

    /// The process's end of standard input, for one run.
    pub(crate) fn take_input(&self) -> InputReceiver {
        let mut input = self.locked_input();
        input.1.take().unwrap_or_else(|| {
            let (sender, receiver) = input::channel();
            input.0 = sender;
            receiver
        })
    }

    /// Hands a frame to everyone who asked for its stream.
    pub(crate) async fn deliver(&self, frame: &OutputFrame) {
        for client in self.behind(frame) {
            if !self.wait_for(&client, frame).await {
                self.drop_client(client.id);
            }
        }
    }

    /// Somebody asked the process to end, and must not wait for a client that takes nothing.
    pub(crate) fn expect_end(&self) {
        self.audience
            .send_modify(|audience| audience.end_expected = true);
    }

    /// The process has ended: everybody's output ends, input starts anew.
    pub(crate) fn end(&self) {
        self.locked_clients().clear();
        self.audience
            .send_modify(|audience| *audience = Audience::default());
        let (sender, receiver) = input::channel();
        *self.locked_input() = (sender, Some(receiver));
    }

    /// Gives the frame to all who have room; those who have none are returned.
    fn behind(&self, frame: &OutputFrame) -> Vec<Client> {
        let mut behind = Vec::new();
        let mut clients = self.locked_clients();
        clients.retain(|client| {
            let wanted = match frame.kind {
                StreamKind::Stdout => client.selection.stdout,
                StreamKind::Stderr => client.selection.stderr,
                StreamKind::Stdin | StreamKind::Exit => false,
            };
            if !wanted {
                return !client.sender.is_closed();
            }
            match client.sender.try_send(frame.clone()) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    behind.push(client.clone());
                    true
                }
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            }
        });
        let count = clients.len();
        drop(clients);
        self.count(count);
        behind
    }

    /// Waits until the client takes the frame; false when it is gone or stalls others.
    async fn wait_for(&self, client: &Client, frame: &OutputFrame) -> bool {
        let mut audience = self.audience.subscribe();
        let stalls_others = async {
            // The sender lives in self: waiting cannot fail.
            drop(audience.wait_for(|now| now.shares_the_wait()).await);
            tokio::time::sleep(STALL_LIMIT).await;
        };
        tokio::select! {
            sent = client.sender.send(frame.clone()) => sent.is_ok(),
            () = stalls_others => false,
        }
    }

    fn drop_client(&self, id: u64) {
        let mut clients = self.locked_clients();
        clients.retain(|client| client.id != id);
        self.count(clients.len());
    }

    fn count(&self, clients: usize) {
        self.audience.send_if_modified(|audience| {
            let changed = audience.clients != clients;
            audience.clients = clients;
            changed
        });
    }

    fn locked_clients(&self) -> MutexGuard<'_, Vec<Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locked_input(&self) -> MutexGuard<'_, (InputSender, Option<InputReceiver>)> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const OUTPUT: Selection = Selection {
        stdin: false,
        stdout: true,
        stderr: false,
    };

    fn frame(kind: StreamKind) -> OutputFrame {
        OutputFrame::new(kind, Bytes::from_static(b"\x01\0\0\0\0\0\0\x02hi"))
    }

    async fn deliver_and_end(hub: &Hub, frames: usize) {
        for _ in 0..frames {
            hub.deliver(&frame(StreamKind::Stdout)).await;
        }
        hub.end();
    }

    async fn count_to_the_end(client: &mut Attachment) -> usize {
        let mut received = 0;
        while client.output.recv().await.is_some() {
            received += 1;
        }
        received
    }

    #[tokio::test]
    async fn every_client_hears_the_streams_it_asked_for() {
        let hub = Hub::new();
        let mut first = hub.attach(OUTPUT).unwrap();
        let mut second = hub.attach(OUTPUT).unwrap();

        hub.deliver(&frame(StreamKind::Stderr)).await;
        hub.deliver(&frame(StreamKind::Stdout)).await;
        hub.end();

        assert_eq!(first.output.recv().await, Some(frame(StreamKind::Stdout)));
        assert_eq!(second.output.recv().await, Some(frame(StreamKind::Stdout)));
        assert_eq!(first.output.recv().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_alone_is_waited_for() {
        let hub = Hub::new();
        let mut client = hub.attach(OUTPUT).unwrap();
        let sent = CLIENT_BUFFER_FRAMES * 3;

        let receive = async {
            tokio::time::sleep(STALL_LIMIT * 20).await;
            count_to_the_end(&mut client).await
        };
        let ((), received) = tokio::join!(deliver_and_end(&hub, sent), receive);

        assert_eq!(received, sent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_client_does_not_stall_another() {
        let hub = Hub::new();
        let _stuck = hub.attach(OUTPUT).unwrap();
        let mut reader = hub.attach(OUTPUT).unwrap();
        let sent = CLIENT_BUFFER_FRAMES * 3;

        let ((), received) =
            tokio::join!(deliver_and_end(&hub, sent), count_to_the_end(&mut reader));

        assert_eq!(received, sent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_client_does_not_keep_a_container_from_stopping() {
        let hub = Hub::new();
        let _stuck = hub.attach(OUTPUT).unwrap();
        hub.expect_end();

        for _ in 0..CLIENT_BUFFER_FRAMES * 2 {
            hub.deliver(&frame(StreamKind::Stdout)).await;
        }
    }
}
