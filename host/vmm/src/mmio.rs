//! The virtio-mmio transport: one window of registers, one interrupt line and one set of
//! notification descriptors for each device, whichever it is.
//!
//! - [`registers`] – what the driver may do and when, as pure state
//! - [`slot`] – those registers in front of a device, for all threads

pub(crate) mod registers;
pub(crate) mod slot;

use dhow_virtio::VirtioDevice;
use kvm_ioctls::{IoEventAddress, VmFd};
use virtio_bindings::virtio_mmio::VIRTIO_MMIO_QUEUE_NOTIFY;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::layout::{FIRST_DEVICE_LINE, MAX_DEVICES, MMIO_ADDRESS, MMIO_WINDOW_BYTES};
use registers::Registers;
use slot::{Line, Slot};

/// Most queues of one device; the largest of ours has three.
const MAX_QUEUES: usize = 16;

/// Why a device could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Every interrupt line is taken.
    #[error("a machine has no more than {MAX_DEVICES} devices")]
    TooMany,
    /// The device wants more queues than a machine gives.
    #[error("a device of type {device} has {queues} queues, more than {MAX_QUEUES}")]
    TooManyQueues {
        /// The device's virtio type.
        device: u32,
        /// How many it has.
        queues: usize,
    },
    /// The device's queue sizes are no powers of two.
    #[error("failed to make the queues of a device of type {device}")]
    Queues {
        /// The device's virtio type.
        device: u32,
        /// What the queue said.
        #[source]
        source: virtio_queue::Error,
    },
    /// No descriptor left, most likely.
    #[error("failed to make the descriptors of a device of type {device}")]
    Descriptors {
        /// The device's virtio type.
        device: u32,
        /// What the operating system answered.
        #[source]
        source: std::io::Error,
    },
    /// KVM refused the interrupt.
    #[error("failed to connect a device of type {device} to interrupt line {line}")]
    Interrupt {
        /// The device's virtio type.
        device: u32,
        /// The line.
        line: u32,
        /// What KVM answered.
        #[source]
        source: kvm_ioctls::Error,
    },
    /// KVM refused the notification.
    #[error("failed to connect the notification of queue {queue} of a device of type {device}")]
    Notification {
        /// The device's virtio type.
        device: u32,
        /// The queue.
        queue: u32,
        /// What KVM answered.
        #[source]
        source: kvm_ioctls::Error,
    },
}

/// Where the registers of the device in this slot begin.
fn window(index: usize) -> u64 {
    MMIO_ADDRESS + index as u64 * MMIO_WINDOW_BYTES
}

/// The interrupt line of the device in this slot.
fn line(index: usize) -> u32 {
    FIRST_DEVICE_LINE + u32::try_from(index).expect("no more than MAX_DEVICES")
}

/// The slot and the offset that a guest physical address falls on.
pub(crate) fn locate(address: u64) -> Option<(usize, u32)> {
    let offset = address.checked_sub(MMIO_ADDRESS)?;
    let index = usize::try_from(offset / MMIO_WINDOW_BYTES).ok()?;
    let offset = u32::try_from(offset % MMIO_WINDOW_BYTES).ok()?;
    Some((index, offset))
}

/// How Linux is told of the device in this slot, on its command line.
pub(crate) fn command_line(index: usize) -> String {
    format!(
        " virtio_mmio.device=4K@{:#x}:{}",
        window(index),
        line(index)
    )
}

/// Makes the slot of this index and connects its interrupt and notifications to KVM.
pub(crate) fn attach(
    vm: &VmFd,
    index: usize,
    device: Box<dyn VirtioDevice>,
) -> Result<Slot, AttachError> {
    let kind = device.device_type();
    if index >= MAX_DEVICES {
        return Err(AttachError::TooMany);
    }
    let sizes = device.queue_max_sizes();
    if sizes.len() > MAX_QUEUES {
        return Err(AttachError::TooManyQueues {
            device: kind,
            queues: sizes.len(),
        });
    }
    let descriptors = |source| AttachError::Descriptors {
        device: kind,
        source,
    };
    let registers =
        Registers::new(kind, device.features(), sizes).map_err(|source| AttachError::Queues {
            device: kind,
            source,
        })?;
    let notifications = (0..sizes.len())
        .map(|_queue| EventFd::new(EFD_NONBLOCK))
        .collect::<Result<Vec<_>, _>>()
        .map_err(descriptors)?;
    let interrupt = EventFd::new(EFD_NONBLOCK).map_err(descriptors)?;
    let slot =
        Slot::new(device, registers, Line::new(interrupt), notifications).map_err(descriptors)?;
    connect(vm, index, kind, &slot)?;
    Ok(slot)
}

fn connect(vm: &VmFd, index: usize, device: u32, slot: &Slot) -> Result<(), AttachError> {
    let line = line(index);
    vm.register_irqfd(slot.line().event(), line)
        .map_err(|source| AttachError::Interrupt {
            device,
            line,
            source,
        })?;
    let notify = IoEventAddress::Mmio(window(index) + u64::from(VIRTIO_MMIO_QUEUE_NOTIFY));
    for (queue, event) in (0u32..).zip(slot.notifications()) {
        vm.register_ioevent(event, &notify, queue)
            .map_err(|source| AttachError::Notification {
                device,
                queue,
                source,
            })?;
    }
    Ok(())
}
