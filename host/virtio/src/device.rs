//! The seam between a device model and whatever drives it.
//!
//! A driver negotiates features, calls [`VirtioDevice::activate`] once the guest has set
//! `DRIVER_OK`, then calls [`VirtioDevice::handle`] for each queue notification and each time the
//! device's host descriptor becomes readable. Calls for one device come one at a time, but not
//! always from the same thread: under KVM a vCPU's thread activates and resets what the event
//! loop's thread otherwise serves.
//!
//! Rule: one call does a bounded share of work and says [`Progress::More`] where it left some, so
//! that a guest which refills a ring as fast as it is drained delays none of its other devices.

use std::fmt;
use std::os::fd::BorrowedFd;

use virtio_queue::{Queue, QueueT};
use vm_memory::GuestMemoryMmap;

use crate::ring;

/// What a driver tells a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The guest notified the queue of this index: buffers were made available.
    Queue(u16),
    /// The descriptor of [`VirtioDevice::host_fd`] is readable (level-triggered).
    Host,
}

/// How far a device came with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "work is left undone unless the driver comes back"]
pub enum Progress {
    /// Nothing is left to do until the next event.
    Idle,
    /// The call did its share and left the rest: the driver hands over the same event again once
    /// other devices have had their turn. No notification comes for what is left.
    More,
}

impl Progress {
    /// What two parts of a device together have left.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Idle, Self::Idle) => Self::Idle,
            _ => Self::More,
        }
    }
}

/// Where used-buffer notifications go: an irqfd, a vhost-user call descriptor, a test's counter.
pub trait Interrupt {
    /// Tells the guest that the queue of this index has used buffers.
    ///
    /// Called while the device handles an event, at most once per [`Queues::notify`]; must not
    /// block.
    fn signal_used(&self, queue: u16) -> std::io::Result<()>;
}

/// The active queues of one device and the guest memory they live in, lent for one call.
pub struct Queues<'a> {
    memory: &'a GuestMemoryMmap,
    queues: &'a mut [Queue],
    interrupt: &'a dyn Interrupt,
}

impl<'a> Queues<'a> {
    /// Lends `queues`, in index order, to a device for the length of one call.
    pub fn new(
        memory: &'a GuestMemoryMmap,
        queues: &'a mut [Queue],
        interrupt: &'a dyn Interrupt,
    ) -> Self {
        Self {
            memory,
            queues,
            interrupt,
        }
    }

    /// Guest memory and the queue of this index, or `None` where the guest did not set it up.
    pub fn get(&mut self, index: u16) -> Option<(&'a GuestMemoryMmap, &mut Queue)> {
        let queue = self.queues.get_mut(usize::from(index))?;
        queue.ready().then_some((self.memory, queue))
    }

    /// Signals used buffers of the queue of this index, unless the guest asked by its event index
    /// not to be told yet (`VIRTIO_F_EVENT_IDX`).
    ///
    /// Without that feature the guest is always told: `virtio-queue` does not read the hint
    /// `VRING_AVAIL_F_NO_INTERRUPT`, which a device may ignore (virtio 1.2, section 2.7.7.2).
    ///
    /// # Errors
    /// [`DeviceError`] where the ring lies outside guest memory or the signal cannot be sent.
    pub fn notify(&mut self, index: u16) -> Result<(), DeviceError> {
        let (memory, interrupt) = (self.memory, self.interrupt);
        let Some((_, queue)) = self.get(index) else {
            return Ok(());
        };
        let needed = queue
            .needs_notification(memory)
            .map_err(|source| DeviceError::Queue {
                queue: index,
                source,
            })?;
        if needed {
            signal(interrupt, index)?;
        }
        Ok(())
    }

    /// As [`notify`](Self::notify), for a queue whose used index was at `told` when the guest was
    /// last asked and has been moved by `ring::publish` since.
    pub(crate) fn notify_since(&mut self, index: u16, told: u16) -> Result<(), DeviceError> {
        let (memory, interrupt) = (self.memory, self.interrupt);
        let Some((_, queue)) = self.get(index) else {
            return Ok(());
        };
        let needed =
            ring::wants_notification(queue, memory, told).map_err(|source| DeviceError::Queue {
                queue: index,
                source,
            })?;
        if needed {
            signal(interrupt, index)?;
        }
        Ok(())
    }
}

fn signal(interrupt: &dyn Interrupt, queue: u16) -> Result<(), DeviceError> {
    interrupt
        .signal_used(queue)
        .map_err(|source| DeviceError::Interrupt { queue, source })
}

impl fmt::Debug for Queues<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Queues")
            .field("count", &self.queues.len())
            .finish_non_exhaustive()
    }
}

/// Why a device can go on no longer: the driver marks it `DEVICE_NEEDS_RESET`.
///
/// A single bad request is not an error: the device drops it, counts it and goes on.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A ring's structure is broken beyond one request.
    #[error("queue {queue} is broken")]
    Queue {
        /// Index of the queue.
        queue: u16,
        /// What the ring parser met.
        #[source]
        source: virtio_queue::Error,
    },
    /// The guest could not be told of used buffers.
    #[error("failed to signal queue {queue}")]
    Interrupt {
        /// Index of the queue.
        queue: u16,
        /// What the operating system answered.
        #[source]
        source: std::io::Error,
    },
    /// The device's own host resource failed.
    #[error("failed to {operation}")]
    Host {
        /// What the device tried, as a verb phrase.
        operation: &'static str,
        /// What the operating system answered.
        #[source]
        source: std::io::Error,
    },
}

/// One virtio device, independent of transport and hypervisor.
pub trait VirtioDevice: Send {
    /// The virtio device ID (virtio 1.2, section 5).
    fn device_type(&self) -> u32;

    /// The largest size of each queue, in index order; a power of two, 256 at most so that every
    /// engine can serve it (UML's driver has no more).
    fn queue_max_sizes(&self) -> &[u16];

    /// Device and ring features offered; transport features are the driver's to add.
    fn features(&self) -> u64;

    /// Fills `data` from the device's configuration space at `offset`, zeroes past its end.
    fn read_config(&self, offset: u64, data: &mut [u8]);

    /// Takes a write to the configuration space; read-only fields ignore it.
    fn write_config(&mut self, offset: u64, data: &[u8]);

    /// The guest's driver is up with these features; queues may be used from now on.
    ///
    /// Called once between resets, before any [`handle`](Self::handle).
    fn activate(&mut self, acked: u64);

    /// The descriptor whose readability is [`Event::Host`]. A device with many nests its own epoll.
    ///
    /// Asked once, after the device is made; stays the same for the device's life. May become
    /// readable before `activate`: the driver polls it only after.
    fn host_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Does what `event` makes possible, without blocking, up to a bound of the device's own.
    ///
    /// # Errors
    /// [`DeviceError`] when the device cannot go on until it is reset.
    fn handle(&mut self, event: Event, queues: &mut Queues<'_>) -> Result<Progress, DeviceError>;

    /// Back to the state before [`activate`](Self::activate): the guest reset the device or left.
    fn reset(&mut self);
}
