//! The server against front-ends: the `vhost` crate's own, and hand-made ones that misbehave.

#[cfg(test)]
mod support;

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use dhow_vhost_user::Exit;
use dhow_virtio::block::LayerDisk;
use dhow_virtio::rng::Rng;
use dhow_virtio::{DeviceError, Event, Progress, Queues, VirtioDevice};
use support::{FrontEnd, Machine, Serving, message, send, wait_readable};
use vhost::VhostBackend;
use vhost::vhost_user::VhostUserFrontend;
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserProtocolFeatures};
use virtio_queue::QueueT;

const GET_FEATURES: u32 = 1;
const SET_MEM_TABLE: u32 = 5;
const SET_VRING_NUM: u32 = 8;
const SET_VRING_KICK: u32 = 12;

#[test]
fn serves_a_queue_and_interrupts() {
    let serving = Serving::start(vec![Box::new(Rng::new())]);
    let machine = Machine::new();
    let mut front_end = FrontEnd::connect(serving.socket(0), &machine);

    front_end.offer(64);
    front_end.kick();
    front_end.wait_for_call();

    assert_eq!(front_end.last_used(), 64);
    assert_ne!(front_end.buffer(64), vec![0; 64]);
    drop(front_end);
    assert_eq!(serving.exit(), Exit::HungUp);
}

#[test]
fn every_kick_is_noticed_though_none_is_read() {
    let serving = Serving::start(vec![Box::new(Rng::new())]);
    let machine = Machine::new();
    let mut front_end = FrontEnd::connect(serving.socket(0), &machine);

    for _ in 0..100 {
        front_end.offer(8);
        front_end.kick();
        front_end.wait_for_call();
    }

    assert_eq!(front_end.ring.used().idx().load(), 100);
}

/// Buffers offered to a device that takes 16 in a call.
const OFFERS: u16 = 48;

#[test]
fn a_device_that_has_more_to_do_than_one_share_is_called_again() {
    let serving = Serving::start(vec![Box::new(Rng::new())]);
    let machine = Machine::new();
    let mut front_end = FrontEnd::connect(serving.socket(0), &machine);
    // More than twice a share. The mock lays its used ring over the 58th entry of its available one.
    for _ in 0..OFFERS {
        front_end.offer(8);
    }

    front_end.kick();
    while front_end.ring.used().idx().load() < OFFERS {
        front_end.wait_for_call();
    }

    assert_eq!(front_end.last_used(), 8);
}

#[test]
fn serves_what_was_offered_before_the_ring_ran() {
    let serving = Serving::start(vec![Box::new(Rng::new())]);
    let machine = Machine::new();
    let mut front_end = FrontEnd::connect(serving.socket(0), &machine);
    front_end.frontend.set_vring_enable(0, false).unwrap();
    front_end.frontend.get_features().unwrap();
    front_end.offer(32);

    front_end.frontend.set_vring_enable(0, true).unwrap();
    front_end.wait_for_call();

    assert_eq!(front_end.last_used(), 32);
}

#[test]
fn a_stopped_ring_is_left_alone_and_tells_where_it_was() {
    let serving = Serving::start(vec![Box::new(Rng::new())]);
    let machine = Machine::new();
    let mut front_end = FrontEnd::connect(serving.socket(0), &machine);
    front_end.offer(16);
    front_end.kick();
    front_end.wait_for_call();

    let base = front_end.frontend.get_vring_base(0).unwrap();
    front_end.offer(16);
    front_end.kick();
    front_end.frontend.get_features().unwrap();

    assert_eq!(base, 1);
    assert_eq!(front_end.ring.used().idx().load(), 1);
}

#[test]
fn a_running_ring_follows_a_new_memory_table() {
    let serving = Serving::start(vec![Box::new(Rng::new())]);
    let machine = Machine::new();
    let mut front_end = FrontEnd::connect(serving.socket(0), &machine);

    front_end
        .frontend
        .set_mem_table(&[machine.region()])
        .unwrap();
    front_end.offer(16);
    front_end.kick();
    front_end.wait_for_call();

    assert_eq!(front_end.last_used(), 16);
}

#[test]
fn the_configuration_space_is_read_over_the_socket() {
    let (disk, _map) = LayerDisk::new(1 << 40);
    let serving = Serving::start(vec![Box::new(disk)]);
    let machine = Machine::new();
    let mut front_end = FrontEnd::connect(serving.socket(0), &machine);

    let flags = VhostUserConfigFlags::WRITABLE;
    let (_, capacity) = front_end.frontend.get_config(0, 8, flags, &[0; 8]).unwrap();

    assert_eq!(capacity, (1_u64 << 31).to_le_bytes());
}

#[test]
fn a_device_without_configuration_space_does_not_offer_one() {
    let serving = Serving::start(vec![Box::new(Rng::new())]);
    let machine = Machine::new();
    let mut front_end = FrontEnd::connect(serving.socket(0), &machine);

    let offered = front_end.frontend.get_protocol_features().unwrap();

    assert!(!offered.contains(VhostUserProtocolFeatures::CONFIG));
    assert_eq!(front_end.frontend.get_queue_num().unwrap(), 1);
}

#[test]
fn stops_when_told() {
    let serving = Serving::start(vec![Box::new(Rng::new()), Box::new(Rng::new())]);
    let machine = Machine::new();
    let _front_end = FrontEnd::connect(serving.socket(0), &machine);

    assert_eq!(serving.stop(), Exit::Stopped);
}

#[test]
fn ends_only_when_the_last_front_end_has_gone() {
    let serving = Serving::start(vec![Box::new(Rng::new()), Box::new(Rng::new())]);
    let machine = Machine::new();
    let first = FrontEnd::connect(serving.socket(0), &machine);
    let mut second = FrontEnd::connect(serving.socket(1), &machine);
    drop(first);

    second.offer(24);
    second.kick();
    second.wait_for_call();

    assert_eq!(second.last_used(), 24);
    drop(second);
    assert_eq!(serving.exit(), Exit::HungUp);
}

/// A device that writes down what its driver does to it.
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, entry: impl Into<String>) {
        self.0
            .lock()
            .expect("no test panics with it")
            .push(entry.into());
    }
}

impl VirtioDevice for Diary {
    fn device_type(&self) -> u32 {
        4
    }
    fn queue_max_sizes(&self) -> &[u16] {
        &[64]
    }
    fn features(&self) -> u64 {
        0b11
    }
    fn read_config(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }
    fn write_config(&mut self, _offset: u64, _data: &[u8]) {}
    fn activate(&mut self, acked: u64) {
        self.note(format!("activate {acked:#b}"));
    }
    fn host_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn handle(&mut self, event: Event, queues: &mut Queues<'_>) -> Result<Progress, DeviceError> {
        self.note(format!("{event:?}"));
        let Some((memory, queue)) = queues.get(0) else {
            return Ok(Progress::Idle);
        };
        let found = queue.pop_descriptor_chain(memory).is_some();
        if found || queue.next_avail() == 0 {
            return Ok(Progress::Idle);
        }
        Err(DeviceError::Host {
            operation: "find a chain",
            source: std::io::ErrorKind::Other.into(),
        })
    }
    fn reset(&mut self) {
        self.note("reset");
    }
}

#[test]
fn a_device_is_reset_when_its_front_end_leaves_and_serves_the_next() {
    let diary = Arc::default();
    let devices: Vec<Box<dyn VirtioDevice>> =
        vec![Box::new(Diary(Arc::clone(&diary))), Box::new(Rng::new())];
    let serving = Serving::start(devices);
    let machine = Machine::new();
    let _other = FrontEnd::connect(serving.socket(1), &machine);

    drop(FrontEnd::connect(serving.socket(0), &machine));
    let again = FrontEnd::connect(serving.socket(0), &machine);
    again.frontend.get_features().unwrap();

    let expected = [
        "activate 0b11",
        "Queue(0)",
        "reset",
        "activate 0b11",
        "Queue(0)",
    ];
    assert_eq!(*diary.lock().unwrap(), expected);
}

#[test]
fn a_device_that_gives_up_is_reset_and_left_alone() {
    let diary = Arc::default();
    let serving = Serving::start(vec![Box::new(Diary(Arc::clone(&diary)))]);
    let machine = Machine::new();
    let mut front_end = FrontEnd::connect(serving.socket(0), &machine);
    front_end.frontend.get_features().unwrap();
    front_end.offer(8);
    front_end.kick();
    front_end.kick();
    front_end.frontend.get_features().unwrap();

    drop(front_end);
    assert_eq!(serving.exit(), Exit::HungUp);

    let diary = diary.lock().unwrap();
    assert_eq!(diary.iter().filter(|entry| *entry == "reset").count(), 1);
    assert_eq!(diary.last().map(String::as_str), Some("reset"));
}

/// Sends `bytes` as a new front-end and waits until the server hangs up on it.
fn is_dropped(serving: &Serving, bytes: &[u8], files: &[BorrowedFd<'_>]) -> bool {
    let mut socket = UnixStream::connect(serving.socket(0)).expect("the server listens");
    send(&socket, bytes, files);
    wait_readable(&socket);
    // A reset is as good an end as an end of file: it says that something was left unread.
    !matches!(socket.read(&mut [0; 64]), Ok(1..))
}

#[test]
fn front_ends_that_break_the_protocol_are_dropped_and_others_go_on() {
    let serving = Serving::start(vec![Box::new(Rng::new()), Box::new(Rng::new())]);
    let machine = Machine::new();
    let mut honest = FrontEnd::connect(serving.socket(1), &machine);
    let vring = |index: u32, value: u32| [index.to_ne_bytes(), value.to_ne_bytes()].concat();
    let file = machine.file();

    assert!(is_dropped(&serving, &[0xff; 12], &[]), "version");
    assert!(
        is_dropped(&serving, &message(GET_FEATURES, &[0; 5000]), &[]),
        "size"
    );
    assert!(is_dropped(&serving, &message(9999, &[]), &[]), "request");
    assert!(
        is_dropped(&serving, &message(SET_VRING_NUM, &[0; 3]), &[]),
        "short"
    );
    assert!(
        is_dropped(&serving, &message(SET_VRING_NUM, &vring(7, 64)), &[]),
        "index"
    );
    assert!(
        is_dropped(&serving, &message(SET_VRING_NUM, &vring(0, 63)), &[]),
        "ring size"
    );
    assert!(
        is_dropped(&serving, &message(SET_VRING_NUM, &vring(0, 2048)), &[]),
        "ring size"
    );
    assert!(
        is_dropped(&serving, &message(SET_VRING_KICK, &[0; 8]), &[]),
        "no descriptor"
    );
    assert!(
        is_dropped(&serving, &message(SET_MEM_TABLE, &machine.table(0)), &[]),
        "no file"
    );
    assert!(
        is_dropped(&serving, &message(SET_MEM_TABLE, &[0; 8]), &[]),
        "no region"
    );
    let crowd = [file; 12];
    assert!(
        is_dropped(&serving, &message(SET_MEM_TABLE, &machine.table(0)), &crowd),
        "files"
    );

    honest.offer(40);
    honest.kick();
    honest.wait_for_call();
    assert_eq!(honest.last_used(), 40);
}

#[test]
fn a_front_end_that_stops_half_way_delays_nobody() {
    let serving = Serving::start(vec![Box::new(Rng::new()), Box::new(Rng::new())]);
    let machine = Machine::new();
    let stalled = UnixStream::connect(serving.socket(0)).unwrap();
    send(&stalled, &message(SET_VRING_NUM, &[0; 8])[..15], &[]);

    let mut honest = FrontEnd::connect(serving.socket(1), &machine);
    honest.offer(40);
    honest.kick();
    honest.wait_for_call();

    assert_eq!(honest.last_used(), 40);
}

#[test]
fn the_oversized_memory_table_of_user_mode_linux_is_taken() {
    let serving = Serving::start(vec![Box::new(Rng::new())]);
    let machine = Machine::new();
    let mut socket = UnixStream::connect(serving.socket(0)).unwrap();

    send(
        &socket,
        &message(SET_MEM_TABLE, &machine.table(32)),
        &[machine.file().as_fd()],
    );
    send(&socket, &message(GET_FEATURES, &[]), &[]);
    wait_readable(&socket);
    let mut reply = [0; 20];
    socket.read_exact(&mut reply).unwrap();

    assert_eq!(reply[..4], GET_FEATURES.to_ne_bytes());
    assert_eq!(reply[4..8], 5_u32.to_ne_bytes());
}
