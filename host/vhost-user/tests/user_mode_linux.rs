//! The devices under a real guest: User Mode Linux boots, reads the layer disk, writes the data disk,
//! gets its own frames back from its NIC.
//!
//! Needs the kernel that `cargo xtask build` makes (found through `DHOW_DIST`, or in `target/dhow`
//! above this crate), `gcc`, `cpio`, `mkfs.erofs` and `mke2fs`. The guest's init is `guest.c`.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use dhow_vhost_user::{Exit, Server};
use dhow_virtio::block::{DataDisk, LAYER_ALIGNMENT_BYTES, LayerDisk};
use dhow_virtio::net::{Checksums, Link};
use dhow_virtio::rng::Rng;
use dhow_virtio::{Net, NetConfig};

/// Where the second copy of the layer lies on the layer disk: `guest.c` knows it, too.
const SECOND_LAYER_OFFSET: u64 = 64 << 20;

const LAYER_DISK_BYTES: u64 = 1 << 30;
const DATA_DISK_BYTES: u64 = 256 << 20;

/// What a helper that fails says beside the error.
const REASON: &str = "the test's own set-up works";

/// Seconds after which a guest that hangs is ended.
const PATIENCE_SECONDS: &str = "60";

#[test]
fn a_guest_uses_every_device_and_a_second_machine_finds_its_data() {
    let folder = tempfile::tempdir().unwrap();
    let initramfs = initramfs(folder.path());
    let layer = layer(folder.path());
    let disk = folder.path().join("data.img");
    File::create(&disk)
        .unwrap()
        .set_len(DATA_DISK_BYTES)
        .unwrap();
    run(Command::new("mke2fs").args(["-q", "-t", "ext4"]).arg(&disk));
    let blocks_before = disk.metadata().unwrap().blocks();

    let first = boot(folder.path(), &initramfs, &layer, &disk, "write");
    let blocks_after = disk.metadata().unwrap().blocks();
    let second = boot(folder.path(), &initramfs, &layer, &disk, "read");

    assert_eq!(
        results(&first),
        [
            "hwrng ok",
            "mtu ok",
            "address ok",
            "up ok",
            "frames ok",
            "erofs ok",
            "second layer ok",
            "hole ok",
            "read only ok",
            "ext4 ok",
            "write ok",
            "verify ok",
            "trim ok",
            "keep ok",
            "done"
        ]
    );
    assert_eq!(results(&second), ["ext4 ok", "kept ok", "done"]);
    // The guest wrote 16 MiB, deleted and trimmed it; ext4's own tables may have grown.
    let grown_bytes = blocks_after.saturating_sub(blocks_before) * 512;
    assert!(
        grown_bytes < 8 << 20,
        "{grown_bytes} bytes were not given back"
    );
    run(Command::new("e2fsck").args(["-fn"]).arg(&disk));
}

/// Returns every frame to the guest it came from.
struct Echo {
    frames: VecDeque<Vec<u8>>,
    /// Never readable: there is nothing to wait for.
    silence: io::PipeReader,
    _keeps_it_silent: io::PipeWriter,
}

impl Echo {
    fn new() -> Self {
        let (silence, keeper) = io::pipe().expect(REASON);
        Self {
            frames: VecDeque::new(),
            silence,
            _keeps_it_silent: keeper,
        }
    }
}

impl Link for Echo {
    fn host_fd(&self) -> BorrowedFd<'_> {
        self.silence.as_fd()
    }

    fn agree(&mut self, _checksums: Checksums) {}

    fn receive(&mut self, frame: &[u8]) {
        self.frames.push_back(frame.to_vec());
    }

    fn poll(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn transmit(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let frame = self.frames.pop_front()?;
        buffer[..frame.len()].copy_from_slice(&frame);
        Some(frame.len())
    }

    fn reset(&mut self) {
        self.frames.clear();
    }
}

/// The NIC that `guest.c` expects.
fn nic() -> Net {
    let config = NetConfig {
        mac: [2, b'd', b'h', b'o', b'w', 1],
        mtu: 65_520,
    };
    Net::new(config, Box::new(Echo::new()))
}

/// Boots one machine and returns what it printed; the server must end with it.
fn boot(folder: &Path, initramfs: &Path, layer: &Path, disk: &Path, task: &str) -> String {
    let sockets = folder.join(task);
    fs::create_dir(&sockets).expect(REASON);
    let (layers, map) = LayerDisk::new(LAYER_DISK_BYTES);
    for offset in [0, SECOND_LAYER_OFFSET] {
        let file = File::open(layer).expect(REASON);
        let length = file.metadata().expect(REASON).len();
        assert_eq!(length % LAYER_ALIGNMENT_BYTES, 0);
        map.map(offset, file, length).expect(REASON);
    }
    let disk = File::options()
        .read(true)
        .write(true)
        .open(disk)
        .expect(REASON);
    let mut server = Server::new();
    let listen = |name: &str| UnixListener::bind(sockets.join(name)).expect(REASON);
    server
        .add(Box::new(layers), listen("layers"))
        .expect(REASON);
    server
        .add(Box::new(DataDisk::new(disk).expect(REASON)), listen("data"))
        .expect(REASON);
    server
        .add(Box::new(Rng::new()), listen("rng"))
        .expect(REASON);
    server.add(Box::new(nic()), listen("net")).expect(REASON);
    let (stopped, stop) = io::pipe().expect(REASON);
    let serving = std::thread::spawn(move || server.run(stopped).expect(REASON));

    let output = linux(folder, &sockets, initramfs, task);

    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    // Checked first: a server to which nobody ever connected would wait for ever.
    assert!(printed.contains("result: done"), "guest failed: {printed}");
    assert_eq!(serving.join().expect(REASON), Exit::HungUp);
    drop(stop);
    printed
}

fn linux(folder: &Path, sockets: &Path, initramfs: &Path, task: &str) -> Output {
    Command::new("timeout")
        .arg(PATIENCE_SECONDS)
        .arg(kernel())
        .args([
            "mem=128M",
            "quiet",
            "panic=-1",
            "con0=fd:0,fd:1",
            "con=null",
        ])
        // Spares the guest its delay calibration.
        .arg("lpj=20000000")
        .arg(format!("initrd={}", initramfs.display()))
        .arg(format!(
            "virtio_uml.device={}/layers:2:0",
            sockets.display()
        ))
        .arg(format!("virtio_uml.device={}/data:2:1", sockets.display()))
        .arg(format!("virtio_uml.device={}/rng:4:2", sockets.display()))
        .arg(format!("virtio_uml.device={}/net:1:3", sockets.display()))
        .arg(format!("task={task}"))
        .env("TMPDIR", folder)
        // The kernel keeps a folder there, and crashes at once where it cannot.
        .env("HOME", folder)
        .stdin(Stdio::null())
        .output()
        .expect(REASON)
}

/// What the guest's init printed, without the kernel's own lines.
fn results(printed: &str) -> Vec<&str> {
    printed
        .lines()
        .filter_map(|line| line.strip_prefix("result: "))
        .map(str::trim_end)
        .collect()
}

fn kernel() -> PathBuf {
    const INSIDE: &str = "lib/dhow/linux";
    let chosen = std::env::var_os("DHOW_DIST").map(|dist| PathBuf::from(dist).join(INSIDE));
    let built = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("target/dhow").join(INSIDE));
    chosen
        .into_iter()
        .chain(built)
        .find(|path| path.exists())
        .expect("no kernel for User Mode Linux: run `cargo xtask build` first, or set DHOW_DIST")
}

fn initramfs(folder: &Path) -> PathBuf {
    let root = folder.join("root");
    fs::create_dir(&root).expect(REASON);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest.c");
    let mut compile = Command::new("gcc");
    run(compile
        .args(["-static", "-O1", "-o"])
        .arg(root.join("init"))
        .arg(source));
    let archive = folder.join("initramfs.cpio");
    run(Command::new("sh")
        .args([
            "-c",
            "echo init | cpio --quiet -o -H newc > ../initramfs.cpio",
        ])
        .current_dir(&root));
    archive
}

/// An EROFS file that holds `hello` and 4 MiB of the letter x.
fn layer(folder: &Path) -> PathBuf {
    let tree = folder.join("tree");
    fs::create_dir(&tree).expect(REASON);
    fs::write(tree.join("hello"), "hello\n").expect(REASON);
    fs::write(tree.join("large"), vec![b'x'; 4 << 20]).expect(REASON);
    let layer = folder.join("layer.erofs");
    run(Command::new("mkfs.erofs").arg(&layer).arg(&tree));
    layer
}

fn run(command: &mut Command) {
    // Where mke2fs lies is not in the path of an ordinary user of Debian.
    let path = std::env::var("PATH").unwrap_or_default();
    let output = command
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output()
        .unwrap_or_else(|error| panic!("{command:?} could not be started: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
