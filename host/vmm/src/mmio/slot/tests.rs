//! A slot with a device that counts what it is asked for.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use dhow_virtio::DeviceError;
use vm_memory::GuestAddress;
use vmm_sys_util::eventfd::EFD_NONBLOCK;

use super::*;

/// Calls that the device got.
#[derive(Debug, Default)]
struct Calls {
    activated: AtomicUsize,
    handled: AtomicUsize,
    reset: AtomicUsize,
}

struct Counting {
    calls: Arc<Calls>,
    broken: bool,
}

impl VirtioDevice for Counting {
    fn device_type(&self) -> u32 {
        4
    }

    fn queue_max_sizes(&self) -> &[u16] {
        &[8]
    }

    fn features(&self) -> u64 {
        0
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        data.fill(u8::try_from(offset).unwrap());
    }

    fn write_config(&mut self, _offset: u64, _data: &[u8]) {}

    fn activate(&mut self, _acked: u64) {
        self.calls.activated.fetch_add(1, Ordering::SeqCst);
    }

    fn host_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn handle(&mut self, _event: Event, _queues: &mut Queues<'_>) -> Result<Progress, DeviceError> {
        self.calls.handled.fetch_add(1, Ordering::SeqCst);
        if self.broken {
            let source = io::Error::from(io::ErrorKind::BrokenPipe);
            return Err(DeviceError::Host {
                operation: "work",
                source,
            });
        }
        Ok(Progress::Idle)
    }

    fn reset(&mut self) {
        self.calls.reset.fetch_add(1, Ordering::SeqCst);
    }
}

fn memory() -> GuestMemoryMmap {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 16)]).unwrap()
}

fn slot(broken: bool) -> (Slot, Arc<Calls>) {
    let calls = Arc::new(Calls::default());
    let device = Box::new(Counting {
        calls: Arc::clone(&calls),
        broken,
    });
    let registers = Registers::new(4, 0, &[8]).unwrap();
    let line = Line::new(EventFd::new(EFD_NONBLOCK).unwrap());
    let notifications = vec![EventFd::new(EFD_NONBLOCK).unwrap()];
    (
        Slot::new(device, registers, line, notifications).unwrap(),
        calls,
    )
}

/// Takes a driver's steps up to DRIVER_OK; the last says whether to watch the device.
fn start(slot: &Slot) -> Watch {
    let write = |offset, value: u32| slot.write(&memory(), offset, &value.to_le_bytes());
    for (offset, value) in [(0x70, 1), (0x70, 3), (0x24, 1), (0x20, 1), (0x70, 0xb)] {
        assert_eq!(write(offset, value), Watch::Same);
    }
    write(0x70, 0xf)
}

fn read(slot: &Slot, offset: u32) -> u32 {
    let mut data = [0; 4];
    slot.read(offset, &mut data);
    u32::from_le_bytes(data)
}

#[test]
fn activates_its_device_once_and_watches_it() {
    let (slot, calls) = slot(false);

    let watch = start(&slot);

    assert_eq!(watch, Watch::Start);
    assert_eq!(calls.activated.load(Ordering::SeqCst), 1);
}

#[test]
fn keeps_notifications_from_a_device_that_is_not_live() {
    let (slot, calls) = slot(false);
    slot.notifications()[0].write(1).unwrap();

    let (watch, _) = slot.handle(&memory(), Event::Queue(0));

    assert_eq!(
        (watch, calls.handled.load(Ordering::SeqCst)),
        (Watch::Same, 0)
    );
    assert_eq!(
        slot.notifications()[0].read().unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
}

#[test]
fn tells_the_guest_of_a_device_that_broke_down() {
    let (slot, _calls) = slot(true);
    let _watch = start(&slot);

    let (watch, _) = slot.handle(&memory(), Event::Queue(0));

    assert_eq!(watch, Watch::Stop);
    assert_eq!(
        read(&slot, VIRTIO_MMIO_INTERRUPT_STATUS),
        VIRTIO_MMIO_INT_CONFIG
    );
    assert_eq!(read(&slot, 0x70), 0x4f);
    assert_eq!(slot.line().event().read().unwrap(), 1);
}

#[test]
fn resets_its_device_only_after_it_was_live() {
    let (slot, calls) = slot(false);
    let reset = 0u32.to_le_bytes();

    let _first = slot.write(&memory(), 0x70, &reset);
    let _started = start(&slot);
    let second = slot.write(&memory(), 0x70, &reset);

    assert_eq!(
        (second, calls.reset.load(Ordering::SeqCst)),
        (Watch::Stop, 1)
    );
}

#[test]
fn raises_and_clears_the_used_buffer_interrupt() {
    let (slot, _calls) = slot(false);

    slot.line().signal_used(0).unwrap();
    let raised = read(&slot, VIRTIO_MMIO_INTERRUPT_STATUS);
    let _watch = slot.write(&memory(), VIRTIO_MMIO_INTERRUPT_ACK, &1u32.to_le_bytes());

    assert_eq!((raised, read(&slot, VIRTIO_MMIO_INTERRUPT_STATUS)), (1, 0));
}

#[test]
fn refuses_registers_read_in_pieces() {
    let (slot, _calls) = slot(false);
    let mut byte = [0xff];

    slot.read(0x2, &mut byte);

    assert_eq!((byte, slot.refused()), ([0], 1));
}

#[test]
fn reads_the_configuration_space_in_any_width() {
    let (slot, _calls) = slot(false);
    let mut pair = [0; 2];

    slot.read(0x103, &mut pair);

    assert_eq!(pair, [3, 3]);
}
