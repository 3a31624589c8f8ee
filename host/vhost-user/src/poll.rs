//! One epoll for everything a server waits for, and what each of its events means.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{Timespec, epoll};

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
    const STOP: u8 = 0;
    const LISTENER: u8 = 1;
    const FRONT_END: u8 = 2;
    const HOST: u8 = 3;
    const KICK: u8 = 4;

    /// Kind, device and queue, packed into what epoll keeps for a descriptor.
    fn to_data(self) -> u64 {
        let (kind, device, queue) = match self {
            Self::Stop => (Self::STOP, 0, 0),
            Self::Listener(device) => (Self::LISTENER, device, 0),
            Self::FrontEnd(device) => (Self::FRONT_END, device, 0),
            Self::Host(device) => (Self::HOST, device, 0),
            Self::Kick { device, queue } => (Self::KICK, device, queue),
        };
        let ([d0, d1], [q0, q1]) = (device.to_be_bytes(), queue.to_be_bytes());
        u64::from_be_bytes([0, 0, 0, kind, d0, d1, q0, q1])
    }

    fn from_data(data: u64) -> Self {
        let [_, _, _, kind, d0, d1, q0, q1] = data.to_be_bytes();
        let device = u16::from_be_bytes([d0, d1]);
        let queue = u16::from_be_bytes([q0, q1]);
        match kind {
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

    /// Appends what is ready to `sources`; where nothing is, waits for it unless in a `hurry`.
    pub(crate) fn wait(&mut self, sources: &mut Vec<Source>, hurry: bool) -> io::Result<()> {
        const AT_ONCE: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        self.ready.clear();
        let spare = rustix::buffer::spare_capacity(&mut self.ready);
        match epoll::wait(&self.epoll, spare, hurry.then_some(&AT_ONCE)) {
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
