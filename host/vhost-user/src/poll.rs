//! One epoll for everything a server waits for, and what each of its events means.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll;

/// Events taken from the kernel at a time.
const EVENT_BATCH: usize = 16;

/// What became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The caller wants the server to stop.
    Stop,
    /// A front-end connects to this device's socket.
    Listener(u16),
    /// This device's front-end sent something, or hung up.
    FrontEnd(u16),
    /// The host descriptor of this device.
    Host(u16),
    /// The guest notified this queue of this device.
    Kick { device: u16, queue: u16 },
}

impl Source {
    const STOP: u64 = 0;
    const LISTENER: u64 = 1;
    const FRONT_END: u64 = 2;
    const HOST: u64 = 3;
    const KICK: u64 = 4;

    /// Kind, device and queue, 16 bits each.
    fn to_data(self) -> u64 {
        let pack = |kind: u64, device: u16, queue: u16| {
            kind << 32 | u64::from(device) << 16 | u64::from(queue)
        };
        match self {
            Self::Stop => pack(Self::STOP, 0, 0),
            Self::Listener(device) => pack(Self::LISTENER, device, 0),
            Self::FrontEnd(device) => pack(Self::FRONT_END, device, 0),
            Self::Host(device) => pack(Self::HOST, device, 0),
            Self::Kick { device, queue } => pack(Self::KICK, device, queue),
        }
    }

    fn from_data(data: u64) -> Self {
        let device = (data >> 16 & u64::from(u16::MAX)) as u16;
        let queue = (data & u64::from(u16::MAX)) as u16;
        match data >> 32 {
            Self::STOP => Self::Stop,
            Self::LISTENER => Self::Listener(device),
            Self::FRONT_END => Self::FrontEnd(device),
            Self::HOST => Self::Host(device),
            _ => Self::Kick { device, queue },
        }
    }
}

/// The epoll of one run.
pub(crate) struct Poll {
    epoll: OwnedFd,
    ready: Vec<epoll::Event>,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            ready: Vec::with_capacity(EVENT_BATCH),
        })
    }

    /// Reports `source` for as long as `descriptor` is readable or hung up.
    pub(crate) fn add(&self, descriptor: impl AsFd, source: Source) -> io::Result<()> {
        self.register(descriptor, source, epoll::EventFlags::IN)
    }

    /// Reports `source` each time `descriptor` is written to, without its having to be read.
    ///
    /// Right for kick eventfds only: each write wakes an edge-triggered waiter, and what the count
    /// has grown to does not matter, so the read, a system call per notification, is saved.
    pub(crate) fn add_edge(&self, descriptor: impl AsFd, source: Source) -> io::Result<()> {
        self.register(
            descriptor,
            source,
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )
    }

    fn register(
        &self,
        descriptor: impl AsFd,
        source: Source,
        flags: epoll::EventFlags,
    ) -> io::Result<()> {
        let data = epoll::EventData::new_u64(source.to_data());
        Ok(epoll::add(&self.epoll, descriptor, data, flags)?)
    }

    /// Ends the reports of `descriptor`.
    ///
    /// A front-end holds the other copies of what it sent, so closing ours would not end them.
    pub(crate) fn remove(&self, descriptor: impl AsFd) {
        if let Err(errno) = epoll::delete(&self.epoll, descriptor) {
            tracing::debug!(%errno, "descriptor was not polled");
        }
    }

    /// Waits until something is ready and appends it to `sources`.
    pub(crate) fn wait(&mut self, sources: &mut Vec<Source>) -> io::Result<()> {
        self.ready.clear();
        let spare = rustix::buffer::spare_capacity(&mut self.ready);
        match epoll::wait(&self.epoll, spare, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        sources.extend(
            self.ready
                .iter()
                .map(|event| Source::from_data(event.data.u64())),
        );
        Ok(())
    }
}
