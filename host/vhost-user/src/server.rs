//! The server: devices, their sockets, and the one loop that serves them all.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use dhow_virtio::{Event, VirtioDevice};

use crate::memory::Mappings;
use crate::poll::{Poll, Source};
use crate::session::{Session, SessionError};
use crate::wire::WireError;

/// Why [`Server::run`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Front-ends had connected, and all of them are gone: the machine ended.
    HungUp,
    /// The stop descriptor became readable.
    Stopped,
}

/// Why no device can be served any longer. What one front-end does wrong is never the reason.
#[derive(Debug, thiserror::Error)]
#[error("failed to {operation}")]
pub struct ServeError {
    operation: &'static str,
    source: io::Error,
}

impl ServeError {
    fn because(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { operation, source }
    }
}

/// Devices behind vhost-user sockets, served by the thread that calls [`run`](Self::run).
#[derive(Debug, Default)]
pub struct Server {
    endpoints: Vec<Endpoint>,
    mappings: Mappings,
}

/// One device, its socket, and the front-end connected to it, if any.
struct Endpoint {
    number: u16,
    device: Box<dyn VirtioDevice>,
    listener: UnixListener,
    host: Option<OwnedFd>,
    session: Option<Session>,
}

impl Server {
    /// A server of no devices.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `device`, to be served to whoever connects to `socket`: one front-end at a time, the
    /// next as soon as the one before has gone.
    ///
    /// # Errors
    /// The socket or the device's host descriptor cannot be prepared.
    pub fn add(
        &mut self,
        device: Box<dyn VirtioDevice>,
        socket: UnixListener,
    ) -> Result<(), ServeError> {
        let number = u16::try_from(self.endpoints.len()).map_err(|source| ServeError {
            operation: "number another device",
            source: io::Error::new(io::ErrorKind::QuotaExceeded, source),
        })?;
        socket
            .set_nonblocking(true)
            .map_err(ServeError::because("prepare a device's socket"))?;
        let host = device
            .host_fd()
            .map(|descriptor| descriptor.try_clone_to_owned())
            .transpose()
            .map_err(ServeError::because("keep a device's host descriptor"))?;
        self.endpoints.push(Endpoint {
            number,
            device,
            listener: socket,
            host,
            session: None,
        });
        Ok(())
    }

    /// Serves until every front-end that connected has hung up, or `stop` becomes readable.
    ///
    /// Every device is reset on the way out and may be served by another call.
    ///
    /// # Errors
    /// [`ServeError`] where the operating system refuses to poll.
    pub fn run(&mut self, stop: impl AsFd) -> Result<Exit, ServeError> {
        let mut poll = Poll::new().map_err(ServeError::because("create an epoll"))?;
        // By reference: an owned descriptor must stay open for as long as it is polled.
        poll.add(&stop, Source::Stop)
            .map_err(ServeError::because("poll the stop descriptor"))?;
        for endpoint in &self.endpoints {
            endpoint.listen(&poll)?;
        }
        let exit = self.serve(&mut poll);
        for endpoint in &mut self.endpoints {
            endpoint.hang_up(&poll);
        }
        exit
    }

    fn serve(&mut self, poll: &mut Poll) -> Result<Exit, ServeError> {
        let mut ready = Vec::new();
        loop {
            let hurry = self.endpoints.iter().any(Endpoint::has_unfinished);
            poll.wait(&mut ready, hurry)
                .map_err(ServeError::because("wait for an event"))?;
            for source in ready.drain(..) {
                if source == Source::Stop {
                    return Ok(Exit::Stopped);
                }
                if self.dispatch(source, poll)? && self.is_deserted() {
                    return Ok(Exit::HungUp);
                }
            }
            for endpoint in &mut self.endpoints {
                endpoint.go_on(poll, &mut self.mappings)?;
            }
        }
    }

    fn is_deserted(&self) -> bool {
        self.endpoints
            .iter()
            .all(|endpoint| endpoint.session.is_none())
    }

    /// Serves one event; says whether a front-end left by it.
    ///
    /// An event may be stale: one before it in the same batch can have ended the session that it
    /// belonged to. Then there is no session, or one to which it is merely a needless wake-up.
    fn dispatch(&mut self, source: Source, poll: &Poll) -> Result<bool, ServeError> {
        let (number, event) = match source {
            Source::Stop => return Ok(false),
            Source::Listener(number) => {
                if let Some(endpoint) = self.endpoints.get_mut(usize::from(number)) {
                    endpoint.accept(poll)?;
                }
                return Ok(false);
            }
            Source::FrontEnd(number) => (number, None),
            Source::Host(number) => (number, Some(Event::Host)),
            Source::Kick { device, queue } => (device, Some(Event::Queue(queue))),
        };
        let Some(endpoint) = self.endpoints.get_mut(usize::from(number)) else {
            return Ok(false);
        };
        let left = endpoint.session_event(event, poll, &mut self.mappings)?;
        if left {
            endpoint.hang_up(poll);
            endpoint.listen(poll)?;
        }
        Ok(left)
    }
}

impl Endpoint {
    fn listen(&self, poll: &Poll) -> Result<(), ServeError> {
        poll.add(&self.listener, Source::Listener(self.number))
            .map_err(ServeError::because("poll a device's socket"))
    }

    /// Takes a connection; the socket is not polled again before that one ends.
    fn accept(&mut self, poll: &Poll) -> Result<(), ServeError> {
        let socket = match self.listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if is_passing(&error) => return Ok(()),
            Err(error) => return Err(ServeError::because("accept a front-end")(error)),
        };
        match Session::new(self.number, socket, self.device.as_ref()) {
            Ok(session) => {
                poll.remove(&self.listener);
                poll.add(session.channel(), Source::FrontEnd(self.number))
                    .map_err(ServeError::because("poll a front-end"))?;
                self.session = Some(session);
            }
            Err(error) => self.report(&error),
        }
        Ok(())
    }

    /// Serves requests (`None`) or an event; says whether the session is over.
    fn session_event(
        &mut self,
        event: Option<Event>,
        poll: &Poll,
        mappings: &mut Mappings,
    ) -> Result<bool, ServeError> {
        let device = self.device.as_mut();
        let Some(session) = &mut self.session else {
            return Ok(false);
        };
        let was_active = session.is_active();
        let received = match event {
            Some(event) => {
                session.event(event, device, poll);
                Ok(())
            }
            None => session.receive(device, poll, mappings),
        };
        let is_active = session.is_active();
        if let Some(host) = &self.host {
            match (was_active, is_active) {
                (false, true) => poll
                    .add(host, Source::Host(self.number))
                    .map_err(ServeError::because("poll a device's host descriptor"))?,
                (true, false) => poll.remove(host),
                _ => {}
            }
        }
        if let Err(error) = &received {
            self.report(error);
        }
        Ok(received.is_err())
    }

    /// Whether the device left work over when it was last called.
    fn has_unfinished(&self) -> bool {
        self.session.as_ref().is_some_and(Session::has_unfinished)
    }

    /// Gives the device each event that it has not finished with, once.
    fn go_on(&mut self, poll: &Poll, mappings: &mut Mappings) -> Result<(), ServeError> {
        let unfinished = match &mut self.session {
            Some(session) => session.take_unfinished(),
            None => return Ok(()),
        };
        for event in unfinished {
            let _over = self.session_event(Some(event), poll, mappings)?;
        }
        Ok(())
    }

    /// Ends the session and makes the device as new.
    fn hang_up(&mut self, poll: &Poll) {
        let Some(mut session) = self.session.take() else {
            return;
        };
        if let (true, Some(host)) = (session.is_active(), &self.host) {
            poll.remove(host);
        }
        poll.remove(session.channel());
        session.end(self.device.as_mut(), poll);
    }

    fn report(&self, error: &SessionError) {
        let (number, device) = (self.number, self.device.device_type());
        match error {
            SessionError::Wire(WireError::HungUp) => {
                tracing::debug!(number, device, "front-end hung up");
            }
            _ => tracing::warn!(
                number,
                device,
                error = error as &dyn std::error::Error,
                "front-end dropped"
            ),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Endpoint")
            .field("number", &self.number)
            .field("device_type", &self.device.device_type())
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// Whether accepting failed for a reason that concerns one connection only.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
    )
}
