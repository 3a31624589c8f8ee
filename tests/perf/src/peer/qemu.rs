//! QEMU's microvm without KVM, running our own kernel.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

/// The program.
const PROGRAM: &str = "qemu-system-x86_64";

/// Without a timer and a clock the kernel hangs in the calibration of the time-stamp counter.
const MACHINE: &str = "microvm,pit=on,rtc=on,acpi=off";

/// What a machine of dhow gets, too.
const MEMORY: &str = "256M";

/// As our VMM starts it; the last word keeps a kernel that has no ACPI from hanging at its end.
const COMMAND_LINE: &str = "console=ttyS0 quiet reboot=k panic=-1";

/// The guest's address in QEMU's user networking.
pub const GUEST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// The guest's port behind a forwarded one.
pub const GUEST_PORT: u16 = 80;

/// How long a guest may take until it says what it is waited for.
const SPEAK_TIMEOUT: Duration = Duration::from_secs(60);

/// A running machine; it ends when this is dropped.
#[derive(Debug)]
pub struct Qemu {
    child: Child,
    /// From before the start of the process to the line that was waited for.
    pub spoke_after: Duration,
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Qemu {
    /// Boots a kernel with an initramfs and waits for a line on its console.
    ///
    /// # Errors
    /// Where QEMU is not installed, or the line does not come.
    pub fn boot(kernel: &Path, initramfs: &Path, line: &str) -> anyhow::Result<Self> {
        start(&mut command(kernel, initramfs), line)
    }

    /// Boots a machine whose initramfs holds the traffic program, with a host port forwarded to it.
    ///
    /// # Errors
    /// As [`boot`](Self::boot).
    pub fn serve_traffic(
        kernel: &Path,
        initramfs: &Path,
        line: &str,
    ) -> anyhow::Result<(Self, SocketAddr)> {
        let address = free_address()?;
        let network = format!("user,id=net,hostfwd=tcp:{address}-{GUEST_ADDRESS}:{GUEST_PORT}");
        let mut command = command(kernel, initramfs);
        command
            .args(["-netdev", &network])
            .args(["-device", "virtio-net-device,netdev=net"]);
        Ok((start(&mut command, line)?, address))
    }
}

/// A port of the loopback that was free a moment ago: QEMU cannot choose one itself.
fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr()?)
}

fn command(kernel: &Path, initramfs: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(["-accel", "tcg", "-M", MACHINE, "-m", MEMORY])
        .args(["-nodefaults", "-no-user-config", "-no-reboot"])
        .args(["-display", "none", "-serial", "stdio"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", COMMAND_LINE]);
    command
}

fn start(command: &mut Command, awaited: &str) -> anyhow::Result<Qemu> {
    let begin = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| {
            format!("failed to start {PROGRAM}; `apt-get install qemu-system-x86` may help")
        })?;
    let console = child.stdout.take().expect("standard output is piped above");
    let mut qemu = Qemu {
        child,
        spoke_after: Duration::ZERO,
    };
    let (speak, spoken) = mpsc::channel();
    let wanted = awaited.to_owned();
    // Reads on after the line, so that the guest never waits for its console.
    thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            if String::from_utf8_lossy(&line).contains(&wanted) {
                // Whoever waited may have given up.
                let _ = speak.send(begin.elapsed());
            }
        }
    });
    qemu.spoke_after = spoken
        .recv_timeout(SPEAK_TIMEOUT)
        .map_err(|_gone| anyhow!("QEMU's guest did not say \"{awaited}\""))?;
    Ok(qemu)
}
