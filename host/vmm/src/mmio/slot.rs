//! One attached device: its registers, its interrupt and its queue notifications.
//!
//! vCPU threads come with register accesses, the event loop with notifications; the lock lets one
//! of them at the device at a time. The interrupt status stays outside of it, so that a guest
//! that acknowledges an interrupt never waits for a device at work.

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dhow_virtio::{Event, Interrupt, Progress, Queues, VirtioDevice};
use virtio_bindings::virtio_mmio::{
    VIRTIO_MMIO_CONFIG, VIRTIO_MMIO_INT_CONFIG, VIRTIO_MMIO_INT_VRING, VIRTIO_MMIO_INTERRUPT_ACK,
    VIRTIO_MMIO_INTERRUPT_STATUS,
};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

use crate::mmio::registers::{Effect, Phase, Registers};

/// Registers before the configuration space are 32 bits wide and aligned.
const REGISTER_BYTES: usize = 4;

/// The interrupt of one device: a status the guest reads, and the line that makes it look.
#[derive(Debug)]
pub(crate) struct Line {
    status: AtomicU32,
    event: EventFd,
}

impl Line {
    /// An interrupt raised through `event`.
    pub(crate) fn new(event: EventFd) -> Self {
        Self {
            status: AtomicU32::new(0),
            event,
        }
    }

    /// The descriptor that KVM turns into an interrupt.
    pub(crate) fn event(&self) -> &EventFd {
        &self.event
    }

    fn raise(&self, reason: u32) -> io::Result<()> {
        self.status.fetch_or(reason, Ordering::SeqCst);
        self.event.write(1)
    }
}

impl Interrupt for Line {
    fn signal_used(&self, _queue: u16) -> io::Result<()> {
        self.raise(VIRTIO_MMIO_INT_VRING)
    }
}

/// What a register access asks of the event loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Watch {
    /// Go on as before.
    Same,
    /// The device's host descriptor is to be watched from now on.
    Start,
    /// The device's host descriptor is to be left alone.
    Stop,
}

struct State {
    registers: Registers,
    device: Box<dyn VirtioDevice>,
}

/// One attached device.
pub(crate) struct Slot {
    state: Mutex<State>,
    line: Line,
    notifications: Vec<EventFd>,
    host: Option<OwnedFd>,
}

impl Slot {
    /// Puts registers in front of `device`.
    pub(crate) fn new(
        device: Box<dyn VirtioDevice>,
        registers: Registers,
        line: Line,
        notifications: Vec<EventFd>,
    ) -> io::Result<Self> {
        let host = device
            .host_fd()
            .map(|fd| fd.try_clone_to_owned())
            .transpose()?;
        Ok(Self {
            state: Mutex::new(State { registers, device }),
            line,
            notifications,
            host,
        })
    }

    /// The descriptor that becomes readable when there is work for the device.
    pub(crate) fn host(&self) -> Option<BorrowedFd<'_>> {
        self.host.as_ref().map(|fd| fd.as_fd())
    }

    /// The descriptors that KVM makes readable when the guest notifies a queue.
    pub(crate) fn notifications(&self) -> &[EventFd] {
        &self.notifications
    }

    /// The interrupt.
    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    /// Accesses that the driver had no right to.
    pub(crate) fn refused(&self) -> u64 {
        self.lock().registers.refused()
    }

    /// Serves a read of the register window.
    pub(crate) fn read(&self, offset: u32, data: &mut [u8]) {
        if offset >= VIRTIO_MMIO_CONFIG {
            data.fill(0);
            let offset = u64::from(offset - VIRTIO_MMIO_CONFIG);
            self.lock().device.read_config(offset, data);
            return;
        }
        let Ok(word) = <&mut [u8; REGISTER_BYTES]>::try_from(&mut *data) else {
            data.fill(0);
            self.lock().registers.refuse();
            return;
        };
        let value = if offset == VIRTIO_MMIO_INTERRUPT_STATUS {
            self.line.status.load(Ordering::SeqCst)
        } else {
            self.lock().registers.read(offset)
        };
        *word = value.to_le_bytes();
    }

    /// Serves a write to the register window.
    pub(crate) fn write(&self, memory: &GuestMemoryMmap, offset: u32, data: &[u8]) -> Watch {
        if offset >= VIRTIO_MMIO_CONFIG {
            let mut state = self.lock();
            state
                .device
                .write_config(u64::from(offset - VIRTIO_MMIO_CONFIG), data);
            state.registers.configuration_changed();
            return Watch::Same;
        }
        let Ok(word) = <[u8; REGISTER_BYTES]>::try_from(data) else {
            self.lock().registers.refuse();
            return Watch::Same;
        };
        let value = u32::from_le_bytes(word);
        if offset == VIRTIO_MMIO_INTERRUPT_ACK {
            self.line.status.fetch_and(!value, Ordering::SeqCst);
            return Watch::Same;
        }
        let mut state = self.lock();
        match state.registers.write(memory, offset, value) {
            Effect::None => Watch::Same,
            Effect::Activate { features } => {
                state.device.activate(features);
                Watch::Start
            }
            Effect::Reset { was_active } => {
                self.line.status.store(0, Ordering::SeqCst);
                if was_active {
                    state.device.reset();
                }
                Watch::Stop
            }
        }
    }

    /// Lets the device do what `event` makes possible, where it is live.
    pub(crate) fn handle(&self, memory: &GuestMemoryMmap, event: Event) -> (Watch, Progress) {
        if let Event::Queue(index) = event {
            self.drain(index);
        }
        let mut state = self.lock();
        let State { registers, device } = &mut *state;
        if registers.phase() != Phase::Live {
            return (Watch::Same, Progress::Idle);
        }
        let mut queues = Queues::new(memory, registers.queues(), &self.line);
        let error = match device.handle(event, &mut queues) {
            Ok(progress) => return (Watch::Same, progress),
            Err(error) => error,
        };
        tracing::warn!(
            device = device.device_type(),
            error = &error as &dyn std::error::Error,
            "a device broke down and waits for its driver to reset it"
        );
        registers.break_down();
        if let Err(error) = self.line.raise(VIRTIO_MMIO_INT_CONFIG) {
            tracing::warn!(%error, "failed to tell the guest of it");
        }
        (Watch::Stop, Progress::Idle)
    }

    /// Empties the descriptor of a notification; one that is empty already is no harm.
    fn drain(&self, index: u16) {
        if let Some(event) = self.notifications.get(usize::from(index)) {
            let _count = event.read();
        }
    }

    /// The state; after a panic of the other thread it is what that left, and the guest's alone.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Slot")
            .field("line", &self.line)
            .field("queues", &self.notifications.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
