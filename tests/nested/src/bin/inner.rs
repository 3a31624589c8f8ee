//! PID 1 of an inner guest: says that it is there, does what `dhow.do=` on the kernel's command
//! line asks for, and ends in the way `dhow.end=` names.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use anyhow::Context as _;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

/// Bytes read from the random number device.
const RANDOM_BYTES: usize = 16;

fn main() -> anyhow::Result<()> {
    say("userspace")?;
    for (kind, target) in [("proc", "/proc"), ("devtmpfs", "/dev")] {
        // A kernel may have mounted /dev already.
        let _mounted = mount(
            Some(kind),
            target,
            Some(kind),
            MsFlags::empty(),
            None::<&str>,
        );
    }
    let line = fs::read_to_string("/proc/cmdline").context("failed to read the command line")?;
    let asked = |key: &str| {
        line.split_whitespace()
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    };
    match asked("dhow.do") {
        Some("cpus") => count_cpus()?,
        Some("random") => read_random()?,
        _ => {}
    }
    end(asked("dhow.end").unwrap_or("reset"))
}

/// Writes a line to the console in one piece.
fn say(line: &str) -> anyhow::Result<()> {
    let mut console = File::options().write(true).open("/dev/console")?;
    console.write_all(format!("inner: {line}\n").as_bytes())?;
    Ok(())
}

fn count_cpus() -> anyhow::Result<()> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let count = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    say(&format!("cpus {count}"))
}

fn read_random() -> anyhow::Result<()> {
    let mut device = File::open("/dev/hwrng").context("failed to open /dev/hwrng")?;
    let mut bytes = [0; RANDOM_BYTES];
    device
        .read_exact(&mut bytes)
        .context("failed to read /dev/hwrng")?;
    say(&format!("random {}", String::from_utf8_lossy(&bytes)))
}

fn end(way: &str) -> anyhow::Result<()> {
    match way {
        "power_off" => {
            let ports = File::options()
                .write(true)
                .open("/dev/port")
                .context("failed to open /dev/port")?;
            ports.write_at(&[0], u64::from(dhow_vmm::POWER_OFF_PORT))?;
        }
        "hang" => loop {
            std::thread::sleep(Duration::from_secs(1));
        },
        // PID 1 that returns makes the kernel panic.
        "panic" => {}
        _ => {
            reboot(RebootMode::RB_AUTOBOOT)?;
        }
    }
    Ok(())
}
