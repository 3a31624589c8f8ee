//! Signals that are caught, to be passed on to a container or to clean up after.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal as the API names it, with its number for our exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caught {
    /// Without the "SIG" in front.
    pub(crate) name: &'static str,
    /// Linux's number on x86-64.
    pub(crate) number: u8,
}

impl Caught {
    /// Whether the sender wants us to end.
    pub(crate) fn asks_to_end(self) -> bool {
        matches!(self.name, "HUP" | "INT" | "QUIT" | "TERM")
    }
}

/// What is passed on, with the numbers of signal(7).
const PASSED_ON: [Caught; 6] = [
    Caught {
        name: "HUP",
        number: 1,
    },
    Caught {
        name: "INT",
        number: 2,
    },
    Caught {
        name: "QUIT",
        number: 3,
    },
    Caught {
        name: "USR1",
        number: 10,
    },
    Caught {
        name: "USR2",
        number: 12,
    },
    Caught {
        name: "TERM",
        number: 15,
    },
];

/// Catches signals from its making on; they lose their usual effect for the rest of the program.
#[derive(Debug)]
pub(crate) struct Signals {
    streams: Vec<(Caught, Signal)>,
    window: Signal,
}

/// Something a signal told us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A signal to pass on.
    Caught(Caught),
    /// Our terminal has another size.
    WindowChanged,
}

impl Signals {
    /// Starts catching.
    pub(crate) fn catch() -> io::Result<Self> {
        let mut streams = Vec::with_capacity(PASSED_ON.len());
        for caught in PASSED_ON {
            streams.push((
                caught,
                signal(SignalKind::from_raw(i32::from(caught.number)))?,
            ));
        }
        Ok(Self {
            streams,
            window: signal(SignalKind::window_change())?,
        })
    }

    /// The next signal. Nothing is lost when this is dropped and called again.
    pub(crate) async fn next(&mut self) -> Notice {
        std::future::poll_fn(|context| {
            for (caught, stream) in &mut self.streams {
                if stream.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(Notice::Caught(*caught));
                }
            }
            self.window
                .poll_recv(context)
                .map(|_| Notice::WindowChanged)
        })
        .await
    }

    /// The next signal that asks us to end.
    pub(crate) async fn next_end(&mut self) -> Caught {
        loop {
            if let Notice::Caught(caught) = self.next().await
                && caught.asks_to_end()
            {
                return caught;
            }
        }
    }
}
