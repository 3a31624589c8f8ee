//! The register file of one virtio-mmio device: what the guest's driver may do, and when.
//!
//! Pure state, no KVM and no device, so that any sequence of accesses can be tried in a unit test
//! (virtio 1.2, section 4.2.2). The driver climbs one step at a time:
//!
//! ```text
//!            +1            +2         +8, features agreed       +4
//!   Reset ───────► Seen ───────► Driver ───────► Negotiated ───────► Live
//!     ▲                 any step with +128 ► Failed                    │ device error
//!     └──────────────────────────── write of 0 ─────────────── Broken ◄┘
//! ```
//!
//! Features are taken only in `Driver`, queue addresses only in `Negotiated` and only while that
//! queue is not ready. Everything else is refused and counted: a driver that rewrites a queue
//! under a running device is how a guest escapes (CVE-2026-5747).

use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_DRIVER_OK,
    VIRTIO_CONFIG_S_FAILED, VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET,
    VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_mmio as offsets;
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use virtio_queue::{Queue, QueueT as _};
use vm_memory::GuestMemoryMmap;

/// "virt", which tells a virtio-mmio window from an empty one.
const MAGIC: u32 = 0x7472_6976;
/// Version of the register layout: 1 was legacy.
const VERSION: u32 = 2;
/// Our vendor number: "dhow" in ASCII; drivers do not read it.
const VENDOR: u32 = 0x776f_6864;
/// What the length of a shared memory region reads where there is none.
const NO_SHARED_MEMORY: u32 = u32::MAX;
/// The transport feature that every driver must take: virtio 1.0 or later.
const VERSION_1: u64 = 1 << VIRTIO_F_VERSION_1;

const ACKNOWLEDGE: u32 = VIRTIO_CONFIG_S_ACKNOWLEDGE;
const DRIVER: u32 = VIRTIO_CONFIG_S_DRIVER;
const FEATURES_OK: u32 = VIRTIO_CONFIG_S_FEATURES_OK;
const DRIVER_OK: u32 = VIRTIO_CONFIG_S_DRIVER_OK;
const NEEDS_RESET: u32 = VIRTIO_CONFIG_S_NEEDS_RESET;
const FAILED: u32 = VIRTIO_CONFIG_S_FAILED;

/// How far the guest's driver has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing happened since the start or the last reset.
    Reset,
    /// The guest has seen the device.
    Seen,
    /// The guest has a driver; it may choose features.
    Driver,
    /// Features are settled; it may set up queues.
    Negotiated,
    /// The device runs.
    Live,
    /// The device ran and met something that only a reset cures.
    Broken,
    /// The driver gave up, having come this far.
    Failed {
        /// The status bits of the phase before.
        from: u32,
    },
}

impl Phase {
    /// The status register's value.
    fn status(self) -> u32 {
        match self {
            Self::Reset => 0,
            Self::Seen => ACKNOWLEDGE,
            Self::Driver => ACKNOWLEDGE | DRIVER,
            Self::Negotiated => ACKNOWLEDGE | DRIVER | FEATURES_OK,
            Self::Live => ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK,
            Self::Broken => ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK | NEEDS_RESET,
            Self::Failed { from } => from | FAILED,
        }
    }
}

/// What a write asks of the device behind the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// Start, with these features.
    Activate {
        /// What the driver took of what was offered.
        features: u64,
    },
    /// Forget everything.
    Reset {
        /// Whether the device was running, and so must be told.
        was_active: bool,
    },
}

/// The registers of one device, all but the interrupt status, which needs no lock.
#[derive(Debug)]
pub(crate) struct Registers {
    device_type: u32,
    offered: u64,
    phase: Phase,
    offered_half: u32,
    taken: u64,
    taken_half: u32,
    selected: u32,
    queues: Vec<Queue>,
    generation: u32,
    refused: u64,
}

impl Registers {
    /// The registers of a device of this type, offering `features` and queues of these sizes.
    pub(crate) fn new(
        device_type: u32,
        features: u64,
        queue_sizes: &[u16],
    ) -> Result<Self, virtio_queue::Error> {
        let queues = queue_sizes
            .iter()
            .map(|size| Queue::new(*size))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            device_type,
            offered: features | VERSION_1,
            phase: Phase::Reset,
            offered_half: 0,
            taken: 0,
            taken_half: 0,
            selected: 0,
            queues,
            generation: 0,
            refused: 0,
        })
    }

    /// How far the driver has come.
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// The queues, for the device to work on while it is live.
    pub(crate) fn queues(&mut self) -> &mut [Queue] {
        &mut self.queues
    }

    /// Accesses that the driver had no right to, since the machine started.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// Counts an access that the driver had no right to.
    pub(crate) fn refuse(&mut self) {
        self.refused = self.refused.saturating_add(1);
    }

    /// Notes that the driver changed the configuration space.
    pub(crate) fn configuration_changed(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// The device met something that only a reset cures.
    pub(crate) fn break_down(&mut self) {
        if self.phase == Phase::Live {
            self.phase = Phase::Broken;
        }
    }

    /// What the register at `offset` reads.
    pub(crate) fn read(&mut self, offset: u32) -> u32 {
        match offset {
            offsets::VIRTIO_MMIO_MAGIC_VALUE => MAGIC,
            offsets::VIRTIO_MMIO_VERSION => VERSION,
            offsets::VIRTIO_MMIO_DEVICE_ID => self.device_type,
            offsets::VIRTIO_MMIO_VENDOR_ID => VENDOR,
            offsets::VIRTIO_MMIO_DEVICE_FEATURES => half(self.offered, self.offered_half),
            offsets::VIRTIO_MMIO_QUEUE_NUM_MAX => {
                self.queue().map_or(0, |queue| u32::from(queue.max_size()))
            }
            offsets::VIRTIO_MMIO_QUEUE_READY => {
                self.queue().map_or(0, |queue| u32::from(queue.ready()))
            }
            offsets::VIRTIO_MMIO_STATUS => self.phase.status(),
            offsets::VIRTIO_MMIO_CONFIG_GENERATION => self.generation,
            offsets::VIRTIO_MMIO_SHM_LEN_LOW
            | offsets::VIRTIO_MMIO_SHM_LEN_HIGH
            | offsets::VIRTIO_MMIO_SHM_BASE_LOW
            | offsets::VIRTIO_MMIO_SHM_BASE_HIGH => NO_SHARED_MEMORY,
            _ => {
                self.refuse();
                0
            }
        }
    }

    /// Takes a write to the register at `offset`.
    pub(crate) fn write(&mut self, memory: &GuestMemoryMmap, offset: u32, value: u32) -> Effect {
        match offset {
            offsets::VIRTIO_MMIO_DEVICE_FEATURES_SEL => self.offered_half = value,
            offsets::VIRTIO_MMIO_DRIVER_FEATURES_SEL => self.taken_half = value,
            offsets::VIRTIO_MMIO_QUEUE_SEL => self.selected = value,
            // No shared memory regions: whichever is selected reads as absent.
            offsets::VIRTIO_MMIO_SHM_SEL => {}
            offsets::VIRTIO_MMIO_DRIVER_FEATURES => self.take_features(value),
            // In place of the ioeventfd: KVM hands over only what no queue matches.
            offsets::VIRTIO_MMIO_QUEUE_NOTIFY => self.refuse(),
            offsets::VIRTIO_MMIO_STATUS => return self.write_status(value),
            offsets::VIRTIO_MMIO_QUEUE_READY => self.write_ready(memory, value),
            _ => self.write_queue(offset, value),
        }
        Effect::None
    }

    fn queue(&self) -> Option<&Queue> {
        self.queues.get(usize::try_from(self.selected).ok()?)
    }

    fn queue_mut(&mut self) -> Option<&mut Queue> {
        self.queues.get_mut(usize::try_from(self.selected).ok()?)
    }

    fn take_features(&mut self, value: u32) {
        let value = u64::from(value);
        match (self.phase, self.taken_half) {
            (Phase::Driver, 0) => self.taken = (self.taken & !LOW_HALF) | value,
            (Phase::Driver, 1) => self.taken = (self.taken & LOW_HALF) | (value << 32),
            // Linux writes no other half, and bits beyond 63 are not offered.
            _ => self.refuse(),
        }
    }

    /// One step of the diagram above.
    fn write_status(&mut self, value: u32) -> Effect {
        // Linux adds bits to what it reads, so this one comes back; it is the device's to set.
        let value = value & !NEEDS_RESET;
        let from = self.phase.status() & !NEEDS_RESET;
        if value == 0 {
            return self.reset();
        }
        if value == from {
            return Effect::None;
        }
        if value == from | FAILED {
            self.phase = Phase::Failed { from };
            return Effect::None;
        }
        match (self.phase, value ^ from) {
            (Phase::Reset, ACKNOWLEDGE) => self.phase = Phase::Seen,
            (Phase::Seen, DRIVER) => self.phase = Phase::Driver,
            (Phase::Driver, FEATURES_OK) if self.features_agree() => {
                self.phase = Phase::Negotiated;
                self.settle_rings();
            }
            (Phase::Negotiated, DRIVER_OK) => {
                self.phase = Phase::Live;
                return Effect::Activate {
                    features: self.taken,
                };
            }
            _ => self.refuse(),
        }
        Effect::None
    }

    fn features_agree(&self) -> bool {
        self.taken & !self.offered == 0 && self.taken & VERSION_1 != 0
    }

    fn settle_rings(&mut self) {
        let event_index = self.taken & (1 << VIRTIO_RING_F_EVENT_IDX) != 0;
        for queue in &mut self.queues {
            queue.set_event_idx(event_index);
        }
    }

    fn reset(&mut self) -> Effect {
        let was_active = match self.phase {
            Phase::Live | Phase::Broken => true,
            Phase::Failed { from } => from & DRIVER_OK != 0,
            Phase::Reset | Phase::Seen | Phase::Driver | Phase::Negotiated => false,
        };
        self.phase = Phase::Reset;
        (
            self.taken,
            self.taken_half,
            self.offered_half,
            self.selected,
        ) = (0, 0, 0, 0);
        for queue in &mut self.queues {
            queue.reset();
        }
        Effect::Reset { was_active }
    }

    fn write_ready(&mut self, memory: &GuestMemoryMmap, value: u32) {
        let negotiated = self.phase == Phase::Negotiated;
        let accepted = match self.queue_mut() {
            Some(queue) if value == 0 && !queue.ready() => true,
            Some(queue) if negotiated && value == 0 => {
                queue.set_ready(false);
                true
            }
            Some(queue) if negotiated && value == 1 && !queue.ready() => {
                // Rings outside guest memory or of a size that is none never become ready.
                queue.set_ready(true);
                let valid = queue.is_valid(memory);
                queue.set_ready(valid);
                valid
            }
            _ => false,
        };
        if !accepted {
            self.refuse();
        }
    }

    fn write_queue(&mut self, offset: u32, value: u32) {
        let negotiated = self.phase == Phase::Negotiated;
        let accepted = match self.queue_mut() {
            Some(queue) if negotiated && !queue.ready() => set_up(queue, offset, value),
            _ => false,
        };
        if !accepted {
            self.refuse();
        }
    }
}

/// Mask of the feature bits that half 0 selects.
const LOW_HALF: u64 = u32::MAX as u64;

/// The 32 feature bits that `selected` names.
fn half(features: u64, selected: u32) -> u32 {
    let shifted = match selected {
        0 => features,
        1 => features >> 32,
        _ => 0,
    };
    u32::try_from(shifted & LOW_HALF).expect("masked to 32 bits")
}

/// Writes a register of one queue; false where it is none, or the value makes no sense.
fn set_up(queue: &mut Queue, offset: u32, value: u32) -> bool {
    match offset {
        offsets::VIRTIO_MMIO_QUEUE_NUM => {
            return u16::try_from(value).is_ok_and(|size| queue.try_set_size(size).is_ok());
        }
        offsets::VIRTIO_MMIO_QUEUE_DESC_LOW => queue.set_desc_table_address(Some(value), None),
        offsets::VIRTIO_MMIO_QUEUE_DESC_HIGH => queue.set_desc_table_address(None, Some(value)),
        offsets::VIRTIO_MMIO_QUEUE_AVAIL_LOW => queue.set_avail_ring_address(Some(value), None),
        offsets::VIRTIO_MMIO_QUEUE_AVAIL_HIGH => queue.set_avail_ring_address(None, Some(value)),
        offsets::VIRTIO_MMIO_QUEUE_USED_LOW => queue.set_used_ring_address(Some(value), None),
        offsets::VIRTIO_MMIO_QUEUE_USED_HIGH => queue.set_used_ring_address(None, Some(value)),
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests;
