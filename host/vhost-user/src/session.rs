//! What one front-end has set up for one device, from its connection to its hang-up.
//!
//! Requests (`requests`) only record; [`Session::update`] then starts every ring that has all it needs and stops
//! every one that no longer has. The device is activated when its first ring starts and reset when
//! its last one stops, so that a guest's reboot, a driver's removal and a hang-up all leave it as new.

mod requests;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use dhow_virtio::{DeviceError, Event, Progress, Queues, VirtioDevice};
use vhost::vhost_user::message::{FrontendReq, VhostUserVirtioFeatures};
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use virtio_queue::{Queue, QueueT};
use vm_memory::GuestAddress;

use crate::memory::{Mappings, MemoryError, MemoryTable};
use crate::poll::{Poll, Source};
use crate::vring::{Calls, Vring};
use crate::wire::{Channel, WireError};

/// Every ring may be this long, whatever its device asked for: vhost-user has no message that says
/// how long a ring may be. User Mode Linux always takes 256 (`MAX_SUPPORTED_QUEUE_SIZE`), a guest on
/// QEMU's virtio-mmio 1024 (`VIRTQUEUE_MAX_SIZE`).
const LEAST_MAXIMUM_SIZE: u16 = 1024;

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The socket, or a message's framing.
    #[error("failed to receive a message")]
    Wire(#[from] WireError),
    /// SET_MEM_TABLE.
    #[error("failed to set up guest memory")]
    Memory(#[from] MemoryError),
    /// A request nobody offered to take.
    #[error("unexpected request {request}")]
    Request { request: u32 },
    /// A queue the device does not have.
    #[error("no queue {index}")]
    NoQueue { index: u32 },
    /// A size, index or flag that cannot be.
    #[error("impossible {field} {value:#x}")]
    Value { field: &'static str, value: u64 },
    /// A message that must carry one descriptor, or none, does not.
    #[error("wrong number of descriptors")]
    Descriptors,
    /// A ring that lies outside guest memory, or is misplaced.
    #[error("queue {queue} lies outside guest memory")]
    Ring { queue: u16 },
    /// The operating system.
    #[error("failed to {operation}")]
    Host {
        operation: &'static str,
        #[source]
        source: std::io::Error,
    },
}

/// One front-end.
#[derive(Debug)]
pub(crate) struct Session {
    /// The device's number, for the events it registers.
    number: u16,
    channel: Channel,
    /// Kept open, never written to: User Mode Linux takes its end's closing for a broken device.
    _requests: Option<OwnedFd>,
    features: u64,
    memory: Option<MemoryTable>,
    queues: Vec<Queue>,
    vrings: Vec<Vring>,
    active: bool,
    /// What the device has more to do for: at most one event for each queue and one for the host.
    unfinished: Vec<Event>,
}

impl Session {
    /// Begins to talk to a front-end of `device`.
    pub(crate) fn new(
        number: u16,
        socket: UnixStream,
        device: &dyn VirtioDevice,
    ) -> Result<Self, SessionError> {
        let channel = Channel::new(socket).map_err(|source| SessionError::Host {
            operation: "prepare the front-end's socket",
            source,
        })?;
        let queues: Result<Vec<_>, _> = device
            .queue_max_sizes()
            .iter()
            .map(|size| {
                Queue::new((*size).max(LEAST_MAXIMUM_SIZE)).map_err(|_| SessionError::Value {
                    field: "maximum queue size",
                    value: u64::from(*size),
                })
            })
            .collect();
        let queues = queues?;
        Ok(Self {
            number,
            channel,
            _requests: None,
            features: 0,
            memory: None,
            vrings: queues.iter().map(|_| Vring::default()).collect(),
            queues,
            active: false,
            unfinished: Vec::new(),
        })
    }

    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Whether the device's host descriptor is to be polled.
    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    /// Takes every request that has arrived.
    pub(crate) fn receive(
        &mut self,
        device: &mut dyn VirtioDevice,
        poll: &Poll,
        mappings: &mut Mappings,
    ) -> Result<(), SessionError> {
        while let Some(message) = self.channel.receive()? {
            let request = message.request;
            match FrontendReq::try_from(request) {
                Ok(code) => self.request(code, message, device, poll, mappings)?,
                Err(_) => return Err(SessionError::Request { request }),
            }
            self.update(device, poll)?;
        }
        Ok(())
    }

    /// Lets the device work on `event`.
    pub(crate) fn event(&mut self, event: Event, device: &mut dyn VirtioDevice, poll: &Poll) {
        if !self.active {
            return;
        }
        let Some(memory) = &self.memory else { return };
        let calls = Calls(&self.vrings);
        let mut queues = Queues::new(memory.guest(), &mut self.queues, &calls);
        match device.handle(event, &mut queues) {
            Ok(Progress::Idle) => {}
            Ok(Progress::More) => {
                if !self.unfinished.contains(&event) {
                    self.unfinished.push(event);
                }
            }
            Err(error) => self.give_up(&error, device, poll),
        }
    }

    /// Whether the device left work over when it was last called.
    pub(crate) fn has_unfinished(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// The events that the device is to be given again.
    pub(crate) fn take_unfinished(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.unfinished)
    }

    /// Stops everything: the front-end is gone, or must start anew.
    pub(crate) fn end(&mut self, device: &mut dyn VirtioDevice, poll: &Poll) {
        for queue in 0..self.vrings.len() {
            self.stop(queue, poll);
            self.vrings[queue].kick = None;
        }
        self.unfinished.clear();
        if std::mem::take(&mut self.active) {
            device.reset();
        }
    }

    fn give_up(&mut self, error: &DeviceError, device: &mut dyn VirtioDevice, poll: &Poll) {
        tracing::error!(
            device = device.device_type(),
            error = error as &dyn std::error::Error,
            "device gave up until its driver resets it"
        );
        for vring in &self.vrings {
            vring.signal_error();
        }
        self.end(device, poll);
    }

    /// Replaces guest memory. Rings that run go on, at their new places.
    fn set_memory(&mut self, memory: MemoryTable) -> Result<(), SessionError> {
        for position in 0..self.queues.len() {
            if self.queues[position].ready() {
                place(&mut self.queues[position], &self.vrings[position], &memory)
                    .ok_or_else(|| ring_error(position))?;
            }
        }
        self.memory = Some(memory);
        Ok(())
    }

    /// Starts and stops rings until each is in the state its set-up asks for.
    fn update(&mut self, device: &mut dyn VirtioDevice, poll: &Poll) -> Result<(), SessionError> {
        for position in 0..self.vrings.len() {
            let runs = self.queues[position].ready();
            match (runs, self.should_run(position)) {
                (false, true) => self.start(position, device, poll)?,
                (true, false) => self.stop(position, poll),
                _ => {}
            }
        }
        if self.active && !self.queues.iter().any(Queue::ready) {
            self.active = false;
            self.unfinished.clear();
            device.reset();
        }
        Ok(())
    }

    fn should_run(&self, position: usize) -> bool {
        let vring = &self.vrings[position];
        // Without the protocol-features bit there is no SET_VRING_ENABLE: rings begin enabled.
        let protocol = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        let enabled = vring.enabled || self.features & protocol == 0;
        enabled && vring.kick.is_some() && vring.addresses.is_some() && self.memory.is_some()
    }

    fn start(
        &mut self,
        position: usize,
        device: &mut dyn VirtioDevice,
        poll: &Poll,
    ) -> Result<(), SessionError> {
        let vring = &self.vrings[position];
        let (Some(memory), Some(kick)) = (&self.memory, &vring.kick) else {
            return Ok(());
        };
        let queue = &mut self.queues[position];
        queue.set_event_idx(self.features & 1 << VIRTIO_RING_F_EVENT_IDX != 0);
        place(queue, vring, memory).ok_or_else(|| ring_error(position))?;
        let used = queue
            .used_idx(memory.guest(), std::sync::atomic::Ordering::Relaxed)
            .map_err(|_| ring_error(position))?;
        queue.set_next_used(used.0);
        let number = queue_number(position);
        let source = Source::Kick {
            device: self.number,
            queue: number,
        };
        poll.add_edge(kick, source)
            .map_err(|source| SessionError::Host {
                operation: "poll a kick descriptor",
                source,
            })?;
        if !self.active {
            self.active = true;
            device.activate(self.features & device.features());
        }
        // What the guest made available before the ring ran had nobody to notify.
        self.event(Event::Queue(number), device, poll);
        Ok(())
    }

    fn stop(&mut self, position: usize, poll: &Poll) {
        if self.queues[position].ready() {
            self.queues[position].set_ready(false);
            if let Some(kick) = &self.vrings[position].kick {
                poll.remove(kick);
            }
        }
    }
}

/// Puts `queue` where the front-end said it is, if that is inside guest memory, and makes it ready.
fn place(queue: &mut Queue, vring: &Vring, memory: &MemoryTable) -> Option<()> {
    let addresses = vring.addresses?;
    let descriptors = memory.translate(addresses.descriptors)?;
    let available = memory.translate(addresses.available)?;
    let used = memory.translate(addresses.used)?;
    queue.try_set_desc_table_address(descriptors).ok()?;
    queue.try_set_avail_ring_address(available).ok()?;
    queue.try_set_used_ring_address(used).ok()?;
    queue.set_ready(true);
    let valid = queue.is_valid(memory.guest()) && available != GuestAddress(0);
    queue.set_ready(valid);
    valid.then_some(())
}

fn ring_error(position: usize) -> SessionError {
    SessionError::Ring {
        queue: queue_number(position),
    }
}

/// A virtio device has far fewer than 65,536 queues.
fn queue_number(position: usize) -> u16 {
    u16::try_from(position).unwrap_or(u16::MAX)
}
