//! Compares machines, side by side in one outer guest: how long from the start of the process
//! until the guest's first program speaks, how often the guest was left on the way, and what the
//! process then holds beyond the guest's memory.
//!
//! `bench KERNEL INITRAMFS RUNS` alternates between ours and QEMU's microvm and prints the median
//! of each, the ratio of the medians, and the lowest and highest ratio of neighbouring runs.
//!
//! Both start from the same ground: each start finds free memory written over, and both machines
//! have a random number device.

use std::fmt;
use std::fs;
use std::hint::black_box;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use dhow_nested_tests::cost::Cost;

/// Memory of either guest.
const GUEST_KIB: u64 = 256 << 10;
/// Free memory that is left alone when the rest is written over.
const SPARE_KIB: usize = 256 << 10;
/// Bytes of a page.
const PAGE_BYTES: usize = 4096;
/// What the guest's first program says.
const SIGNAL: &str = "inner: userspace";
/// What both kernels are told. `reboot=k` is what QEMU needs and ours adds itself.
const COMMAND_LINE: &str = "console=ttyS0 quiet reboot=k panic=-1 dhow.end=hang";

/// A child that does not outlive us.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[expect(clippy::print_stdout, reason = "the figures are the output")]
fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [kernel, initramfs, runs] = &arguments[..] else {
        anyhow::bail!("usage: bench KERNEL INITRAMFS RUNS");
    };
    let runs: usize = runs.parse().context("RUNS is no number")?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        let our = time(our_machine(kernel, initramfs)).context("our machine")?;
        let their = time(qemu(kernel, initramfs)).context("QEMU's machine")?;
        println!("run {run}: ours {our}; microvm {their}");
        ours.push(our.elapsed);
        theirs.push(their.elapsed);
    }
    let ratios: Vec<_> = ours
        .iter()
        .zip(&theirs)
        .map(|(our, their)| ratio(*our, *their))
        .collect();
    let (our, their) = (median(ours), median(theirs));
    println!(
        "start_to_userspace: ours {} ms, microvm {} ms, ratio {:.2} (from {:.2} to {:.2})",
        our.as_millis(),
        their.as_millis(),
        ratio(our, their),
        ratios.iter().copied().fold(f64::INFINITY, f64::min),
        ratios.iter().copied().fold(0.0, f64::max),
    );
    Ok(())
}

fn ratio(our: Duration, their: Duration) -> f64 {
    our.as_secs_f64() / their.as_secs_f64()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn our_machine(kernel: &str, initramfs: &str) -> Command {
    let mut command = Command::new("/machine");
    command.args([kernel, initramfs, "1", "0", COMMAND_LINE]);
    command
}

fn qemu(kernel: &str, initramfs: &str) -> Command {
    let mut command = Command::new("/usr/bin/qemu-system-x86_64");
    command
        .args([
            "-M",
            "microvm,acpi=off",
            "-accel",
            "kvm",
            "-cpu",
            "host",
            "-m",
            "256M",
            "-smp",
            "1",
        ])
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-serial",
            "stdio",
        ])
        .args([
            // Ours has this device, too.
            "-device",
            "virtio-rng-device",
            "-no-reboot",
            "-kernel",
            kernel,
            "-initrd",
            initramfs,
            "-append",
            COMMAND_LINE,
        ]);
    command
}

/// One start of a machine.
struct Start {
    elapsed: Duration,
    cost: Cost,
}

impl fmt::Display for Start {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} ms, {} exits, {} KiB anonymous, {} KiB resident beside the guest",
            self.elapsed.as_millis(),
            self.cost.exits.unwrap_or_default(),
            self.cost.anonymous_kib,
            self.cost.resident_kib
        )
    }
}

/// Writes over the outer guest's free memory.
///
/// The emulated processor keeps what it translated of a guest that ran before, and until that is
/// written over every single write to its pages is slow: clearing one huge page for the next guest
/// took up to 350 ms. No real processor does that, and which side it hits is chance.
fn overwrite_free_memory() -> anyhow::Result<()> {
    let text = fs::read_to_string("/proc/meminfo").context("failed to read /proc/meminfo")?;
    let free_kib: usize = text
        .lines()
        .find_map(|line| line.strip_prefix("MemFree:")?.split_whitespace().next())
        .context("no MemFree in /proc/meminfo")?
        .parse()
        .context("MemFree is no number")?;
    let mut memory = vec![0_u8; free_kib.saturating_sub(SPARE_KIB) << 10];
    // One byte a page: the kernel clears the whole of it then.
    for byte in memory.iter_mut().step_by(PAGE_BYTES) {
        *byte = 1;
    }
    black_box(&memory);
    Ok(())
}

/// How long it takes the guest to speak; the machine is killed then.
fn time(mut command: Command) -> anyhow::Result<Start> {
    overwrite_free_memory()?;
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let started = Instant::now();
    let mut child = Killed(command.spawn().context("failed to start")?);
    let output = child.0.stdout.take().context("was started with a pipe")?;
    for line in BufReader::new(output).lines() {
        if line.context("failed to read the console")?.contains(SIGNAL) {
            let elapsed = started.elapsed();
            let cost = Cost::of(child.0.id(), GUEST_KIB)?;
            return Ok(Start { elapsed, cost });
        }
    }
    anyhow::bail!("ended before its guest said anything")
}
