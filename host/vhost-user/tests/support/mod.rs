//! What the tests share: a server on a thread, and a machine that talks to it as UML and QEMU do.

use std::fs::File;
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;

use dhow_vhost_user::{Exit, Server};
use dhow_virtio::VirtioDevice;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tempfile::TempDir;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use virtio_bindings::virtio_ring::VRING_DESC_F_WRITE;
use virtio_queue::desc::{RawDescriptor, split::Descriptor};
use virtio_queue::mock::MockSplitQueue;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

/// Long enough for any loaded machine; reached only when something is broken.
const PATIENCE: Timespec = Timespec {
    tv_sec: 20,
    tv_nsec: 0,
};

const MEMORY_BYTES: usize = 1 << 20;

/// Where the front-end pretends to have guest memory mapped.
const USER_ADDRESS: u64 = 0x7f00_0000_0000;

/// Where guest memory begins.
pub(crate) const GUEST_ADDRESS: u64 = 0x10_0000;

/// Where a test's buffers are.
pub(crate) const BUFFER: u64 = GUEST_ADDRESS + 0x8_0000;

/// A server that runs until it is asked for its exit or every front-end has gone.
pub(crate) struct Serving {
    folder: TempDir,
    stop: std::io::PipeWriter,
    thread: JoinHandle<Exit>,
}

impl Serving {
    /// Serves device *i* at [`socket(i)`](Self::socket).
    pub(crate) fn start(devices: Vec<Box<dyn VirtioDevice>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (stopped, stop) = std::io::pipe().unwrap();
        let mut server = Server::new();
        for (index, device) in devices.into_iter().enumerate() {
            let path = folder.path().join(index.to_string());
            server
                .add(device, UnixListener::bind(path).unwrap())
                .unwrap();
        }
        let thread = std::thread::spawn(move || server.run(stopped).unwrap());
        Self {
            folder,
            stop,
            thread,
        }
    }

    pub(crate) fn socket(&self, index: usize) -> PathBuf {
        self.folder.path().join(index.to_string())
    }

    /// Waits for the server to end by itself.
    pub(crate) fn exit(self) -> Exit {
        self.thread.join().unwrap()
    }

    /// Asks the server to end.
    pub(crate) fn stop(mut self) -> Exit {
        self.stop.write_all(&[1]).unwrap();
        self.thread.join().unwrap()
    }
}

/// Guest memory with one ring in it, in a file that can be shared.
pub(crate) struct Machine {
    file: File,
    pub(crate) memory: GuestMemoryMmap,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let file = tempfile::tempfile().unwrap();
        file.set_len(MEMORY_BYTES as u64).unwrap();
        let offset = vm_memory::FileOffset::new(file.try_clone().unwrap(), 0);
        let ranges = [(GuestAddress(GUEST_ADDRESS), MEMORY_BYTES, Some(offset))];
        Self {
            memory: GuestMemoryMmap::from_ranges_with_files(ranges).unwrap(),
            file,
        }
    }

    pub(crate) fn region(&self) -> VhostUserMemoryRegionInfo {
        VhostUserMemoryRegionInfo {
            guest_phys_addr: GUEST_ADDRESS,
            memory_size: MEMORY_BYTES as u64,
            userspace_addr: USER_ADDRESS,
            mmap_offset: 0,
            mmap_handle: self.file.as_raw_fd(),
        }
    }

    /// The SET_MEM_TABLE payload for this memory, with `padding` bytes behind it.
    pub(crate) fn table(&self, padding: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(1_u32.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        for word in [GUEST_ADDRESS, MEMORY_BYTES as u64, USER_ADDRESS, 0] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.resize(bytes.len() + padding, 0);
        bytes
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A front-end that has one ring running.
pub(crate) struct FrontEnd<'m> {
    pub(crate) frontend: Frontend,
    pub(crate) ring: MockSplitQueue<'m, GuestMemoryMmap>,
    machine: &'m Machine,
    kick: EventFd,
    call: EventFd,
    offered: u16,
}

impl<'m> FrontEnd<'m> {
    /// Connects and sets up queue 0, in the order in which UML does.
    pub(crate) fn connect(socket: PathBuf, machine: &'m Machine) -> Self {
        let frontend = Frontend::connect(socket, 1).unwrap();
        let start = GuestAddress(GUEST_ADDRESS);
        let mut this = Self {
            frontend,
            ring: MockSplitQueue::create(&machine.memory, start, 256),
            machine,
            kick: EventFd::new(0).unwrap(),
            call: EventFd::new(0).unwrap(),
            offered: 0,
        };
        this.negotiate();
        this.start_ring();
        this
    }

    fn negotiate(&mut self) {
        let frontend = &mut self.frontend;
        frontend.set_owner().unwrap();
        let features = frontend.get_features().unwrap();
        assert_ne!(
            features & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits(),
            0
        );
        let protocol = frontend.get_protocol_features().unwrap();
        assert!(protocol.contains(VhostUserProtocolFeatures::BACKEND_REQ));
        frontend.set_protocol_features(protocol).unwrap();
        let (ours, _) = UnixStream::pair().unwrap();
        frontend.set_backend_request_fd(&ours).unwrap();
        // Without VIRTIO_F_EVENT_IDX, so that the mock driver is always notified.
        frontend.set_features(features & !(1 << 29)).unwrap();
    }

    pub(crate) fn start_ring(&mut self) {
        let frontend = &mut self.frontend;
        frontend.set_mem_table(&[self.machine.region()]).unwrap();
        frontend.set_vring_call(0, &self.call).unwrap();
        frontend.set_vring_num(0, 256).unwrap();
        frontend.set_vring_base(0, 0).unwrap();
        let user = |address: GuestAddress| address.0 - GUEST_ADDRESS + USER_ADDRESS;
        let ring = VringConfigData {
            queue_max_size: 256,
            queue_size: 256,
            flags: 0,
            desc_table_addr: user(self.ring.desc_table_addr()),
            used_ring_addr: user(self.ring.used_addr()),
            avail_ring_addr: user(self.ring.avail_addr()),
            log_addr: None,
        };
        frontend.set_vring_addr(0, &ring).unwrap();
        frontend.set_vring_kick(0, &self.kick).unwrap();
        frontend.set_vring_enable(0, true).unwrap();
    }

    /// Makes one writable buffer of `length` bytes available at [`BUFFER`], without notifying.
    pub(crate) fn offer(&mut self, length: u32) {
        let flags = u16::try_from(VRING_DESC_F_WRITE).unwrap();
        let descriptor = RawDescriptor::from(Descriptor::new(BUFFER, length, flags, 0));
        self.ring
            .add_desc_chains(&[descriptor], self.offered)
            .unwrap();
        self.offered += 1;
    }

    pub(crate) fn kick(&self) {
        self.kick.write(1).unwrap();
    }

    /// Waits for the device's next interrupt.
    pub(crate) fn wait_for_call(&self) {
        wait_readable(&self.call);
        self.call.read().unwrap();
    }

    /// Bytes written into the last used buffer.
    pub(crate) fn last_used(&self) -> u32 {
        let index = u16::from_le(self.ring.used().idx().load());
        let slot = usize::from(index.checked_sub(1).expect("nothing was used"));
        self.ring.used().ring().ref_at(slot).unwrap().load().len()
    }

    pub(crate) fn buffer(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.machine
            .memory
            .read_slice(&mut bytes, GuestAddress(BUFFER))
            .unwrap();
        bytes
    }
}

/// Waits until `descriptor` can be read or was closed by its peer.
pub(crate) fn wait_readable(descriptor: &impl AsRawFd) {
    // SAFETY: the descriptor is open for as long as it is borrowed.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor.as_raw_fd()) };
    let mut wanted = [PollFd::from_borrowed_fd(borrowed, PollFlags::IN)];
    let ready = poll(&mut wanted, Some(&PATIENCE)).unwrap();
    assert_eq!(ready, 1, "nothing happened");
}

/// A raw message, as a front-end of any quality may send it.
pub(crate) fn message(request: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(request.to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes());
    bytes.extend(u32::try_from(payload.len()).unwrap().to_ne_bytes());
    bytes.extend(payload);
    bytes
}

/// Sends bytes with descriptors attached.
pub(crate) fn send(socket: &UnixStream, bytes: &[u8], files: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(files)));
    }
    let sent = sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    );
    assert_eq!(sent.unwrap(), bytes.len());
}
