//! What all threads of a running machine share: memory, ports, devices and what is watched.
//!
//! vCPU threads come with accesses to ports and registers. The thread that runs the machine sits
//! in [`Platform::serve`] and gives the devices their notifications, so that a vCPU only ever
//! waits for a device whose registers it touches.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use dhow_virtio::{Event, Progress};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use vm_memory::GuestMemoryMmap;

use crate::mmio;
use crate::mmio::slot::{Slot, Watch};
use crate::ports::Ports;

/// What an address without a device reads.
const NOTHING: u8 = 0xff;
/// Events taken from the operating system at once.
const EVENTS_AT_ONCE: usize = 32;
/// Queue number that stands for a device's host descriptor in a [`Token`].
const HOST: u16 = u16::MAX;

/// Why [`Platform::serve`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wakeup {
    /// The descriptor that asks for the end became readable.
    Stop,
    /// A vCPU's thread ended.
    VcpuDone,
}

/// What a watched descriptor stands for, packed into the 64 bits that the kernel keeps for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Wakeup(Wakeup),
    Device { slot: usize, event: Event },
}

impl Token {
    const STOP: u64 = u64::MAX;
    const VCPU_DONE: u64 = u64::MAX - 1;

    fn pack(self) -> u64 {
        match self {
            Self::Wakeup(Wakeup::Stop) => Self::STOP,
            Self::Wakeup(Wakeup::VcpuDone) => Self::VCPU_DONE,
            Self::Device { slot, event } => {
                let queue = match event {
                    Event::Queue(queue) => queue,
                    Event::Host => HOST,
                };
                ((slot as u64) << 16) | u64::from(queue)
            }
        }
    }

    fn unpack(bits: u64) -> Self {
        match bits {
            Self::STOP => Self::Wakeup(Wakeup::Stop),
            Self::VCPU_DONE => Self::Wakeup(Wakeup::VcpuDone),
            _ => {
                let slot = usize::try_from(bits >> 16).expect("a slot number went in");
                let queue = u16::try_from(bits & 0xffff).expect("masked to 16 bits");
                let event = if queue == HOST {
                    Event::Host
                } else {
                    Event::Queue(queue)
                };
                Self::Device { slot, event }
            }
        }
    }
}

/// What all threads of a running machine share.
#[derive(Debug)]
pub(crate) struct Platform {
    memory: GuestMemoryMmap,
    ports: Ports,
    slots: Vec<Slot>,
    watched: Epoll,
    ending: AtomicBool,
}

impl Platform {
    /// Watches the devices' notifications.
    pub(crate) fn new(memory: GuestMemoryMmap, ports: Ports, slots: Vec<Slot>) -> io::Result<Self> {
        let platform = Self {
            memory,
            ports,
            slots,
            watched: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            ending: AtomicBool::new(false),
        };
        for (slot, device) in platform.slots.iter().enumerate() {
            for (queue, event) in (0u16..).zip(device.notifications()) {
                let token = Token::Device {
                    slot,
                    event: Event::Queue(queue),
                };
                // SAFETY: the eventfd stays open as long as `event` is borrowed.
                let fd = unsafe { BorrowedFd::borrow_raw(std::os::fd::AsRawFd::as_raw_fd(event)) };
                platform.watch(fd, token)?;
            }
        }
        Ok(platform)
    }

    /// Guest memory.
    pub(crate) fn memory(&self) -> &GuestMemoryMmap {
        &self.memory
    }

    /// The I/O ports.
    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Tells all threads that the machine ends.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    /// Whether the machine ends.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// Watches for what makes [`serve`](Self::serve) come back. Borrowed, because a descriptor that
    /// is closed is no longer watched: the caller keeps it open until then.
    pub(crate) fn watch_for(&self, fd: BorrowedFd<'_>, wakeup: Wakeup) -> io::Result<()> {
        self.watch(fd, Token::Wakeup(wakeup))
    }

    /// Serves a read of memory that is not RAM.
    pub(crate) fn read(&self, address: u64, data: &mut [u8]) {
        match self.device_at(address) {
            Some((_index, slot, offset)) => slot.read(offset, data),
            None => data.fill(NOTHING),
        }
    }

    /// Serves a write to memory that is not RAM.
    pub(crate) fn write(&self, address: u64, data: &[u8]) {
        if let Some((index, slot, offset)) = self.device_at(address) {
            let watch = slot.write(&self.memory, offset, data);
            self.follow(index, slot, watch);
        }
    }

    /// Gives the devices their events until one of the descriptors that end this is readable.
    pub(crate) fn serve(&self) -> io::Result<Wakeup> {
        let mut events = [EpollEvent::empty(); EVENTS_AT_ONCE];
        let mut unfinished = Vec::new();
        loop {
            let patience = if unfinished.is_empty() {
                EpollTimeout::NONE
            } else {
                EpollTimeout::ZERO
            };
            let count = match self.watched.wait(&mut events, patience) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(error) => return Err(error.into()),
            };
            // What devices left over comes after what is new, so that each has its turn.
            let left_over = std::mem::take(&mut unfinished);
            for event in &events[..count] {
                match Token::unpack(event.data()) {
                    Token::Wakeup(wakeup) => return Ok(wakeup),
                    Token::Device { slot, event } => self.handle(slot, event, &mut unfinished),
                }
            }
            for (slot, event) in left_over {
                self.handle(slot, event, &mut unfinished);
            }
        }
    }

    /// Gives a device an event, and notes it where the device has more to do for it.
    fn handle(&self, index: usize, event: Event, unfinished: &mut Vec<(usize, Event)>) {
        let Some(slot) = self.slots.get(index) else {
            return;
        };
        let (watch, progress) = slot.handle(&self.memory, event);
        self.follow(index, slot, watch);
        if progress == Progress::More && !unfinished.contains(&(index, event)) {
            unfinished.push((index, event));
        }
    }

    /// Says what the guest did wrong, once, when the machine has ended.
    pub(crate) fn report(&self) {
        self.ports.finish();
        for (index, slot) in self.slots.iter().enumerate() {
            let refused = slot.refused();
            if refused > 0 {
                tracing::warn!(device = index, refused, "refused register accesses");
            }
        }
    }

    fn device_at(&self, address: u64) -> Option<(usize, &Slot, u32)> {
        let (index, offset) = mmio::locate(address)?;
        Some((index, self.slots.get(index)?, offset))
    }

    /// Watches a device's host descriptor, or no longer.
    fn follow(&self, index: usize, slot: &Slot, watch: Watch) {
        let Some(host) = slot.host() else {
            return;
        };
        let done = match watch {
            Watch::Same => return,
            Watch::Start => {
                let token = Token::Device {
                    slot: index,
                    event: Event::Host,
                };
                self.watch(host, token)
            }
            Watch::Stop => match self.watched.delete(host) {
                Err(Errno::ENOENT) => Ok(()),
                result => result.map_err(io::Error::from),
            },
        };
        if let Err(error) = done {
            tracing::warn!(device = index, %error, "failed to change what is watched");
        }
    }

    fn watch(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, token.pack());
        Ok(self.watched.add(fd, event)?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use dhow_virtio::{DeviceError, Queues, VirtioDevice};
    use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

    use super::*;
    use crate::layout::MMIO_ADDRESS;
    use crate::mmio::registers::Registers;
    use crate::mmio::slot::Line;

    #[test]
    fn tells_watched_descriptors_apart() {
        let queue = Token::Device {
            slot: 3,
            event: Event::Queue(2),
        };
        let host = Token::Device {
            slot: 0,
            event: Event::Host,
        };
        let stop = Token::Wakeup(Wakeup::Stop);

        assert_eq!(Token::unpack(queue.pack()), queue);
        assert_eq!(Token::unpack(host.pack()), host);
        assert_eq!(Token::unpack(stop.pack()), stop);
    }

    /// A device that has more to do for so many calls, then ends the machine.
    struct Busy {
        calls_left: u32,
        done: OwnedFd,
    }

    impl VirtioDevice for Busy {
        fn device_type(&self) -> u32 {
            4
        }

        fn queue_max_sizes(&self) -> &[u16] {
            &[8]
        }

        fn features(&self) -> u64 {
            0
        }

        fn read_config(&self, _offset: u64, _data: &mut [u8]) {}

        fn write_config(&mut self, _offset: u64, _data: &[u8]) {}

        fn activate(&mut self, _acked: u64) {}

        fn host_fd(&self) -> Option<BorrowedFd<'_>> {
            None
        }

        fn handle(
            &mut self,
            _event: Event,
            _queues: &mut Queues<'_>,
        ) -> Result<Progress, DeviceError> {
            self.calls_left -= 1;
            if self.calls_left > 0 {
                return Ok(Progress::More);
            }
            nix::unistd::write(&self.done, &1_u64.to_ne_bytes()).unwrap();
            Ok(Progress::Idle)
        }

        fn reset(&mut self) {}
    }

    #[test]
    fn comes_back_to_a_device_until_it_has_nothing_left_to_do() {
        let done = nix::sys::eventfd::EventFd::new().unwrap();
        let device = Busy {
            calls_left: 3,
            done: done.as_fd().try_clone_to_owned().unwrap(),
        };
        let registers = Registers::new(4, 0, &[8]).unwrap();
        let kick = EventFd::new(EFD_NONBLOCK).unwrap();
        let line = Line::new(EventFd::new(EFD_NONBLOCK).unwrap());
        let slots = vec![Slot::new(Box::new(device), registers, line, vec![kick]).unwrap()];
        let console = EventFd::new(0).unwrap();
        let platform =
            Platform::new(GuestMemoryMmap::new(), Ports::new(None, console), slots).unwrap();
        platform.watch_for(done.as_fd(), Wakeup::Stop).unwrap();
        for (offset, value) in [
            (0x70, 1),
            (0x70, 3),
            (0x24, 1),
            (0x20, 1),
            (0x70, 0xb),
            (0x70, 0xf),
        ] {
            platform.write(MMIO_ADDRESS + offset, &u32::to_le_bytes(value));
        }

        platform.slots[0].notifications()[0].write(1).unwrap();

        assert_eq!(platform.serve().unwrap(), Wakeup::Stop);
    }

    #[test]
    fn reads_memory_without_a_device_as_all_ones() {
        let memory = GuestMemoryMmap::new();
        let line = vmm_sys_util::eventfd::EventFd::new(0).unwrap();
        let platform = Platform::new(memory, Ports::new(None, line), Vec::new()).unwrap();
        let mut data = [0; 4];

        platform.read(0xd000_0000, &mut data);
        platform.write(0xd000_0000, &data);

        assert_eq!(data, [0xff; 4]);
    }
}
