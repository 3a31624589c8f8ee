//! Boots one machine with `dhow-vmm` and says how it ended; the smallest user of that crate.
//!
//! `machine KERNEL INITRAMFS VCPUS STOP_AFTER_MS COMMAND_LINE` prints the guest's console, then
//! `exit: REASON`. `STOP_AFTER_MS` of 0 waits for ever. `machine probe MS` tries KVM, as an engine does.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use dhow_virtio::{DeviceError, Event, Progress, Queues, VirtioDevice};
use dhow_vmm::{Vm, VmConfig};
use nix::sys::eventfd::EventFd;
use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;
use virtio_queue::QueueT as _;
use vm_memory::Bytes as _;

/// Memory of the inner guest.
const MEMORY_BYTES: u64 = 256 << 20;
/// What the random number device answers, over and over.
const PATTERN: &[u8] = b"dhow";

#[expect(
    clippy::print_stdout,
    reason = "the output is read by the step that ran this"
)]
fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let ["probe", budget] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        println!(
            "{:?}",
            dhow_vmm::probe(Duration::from_millis(budget.parse()?))?
        );
        return Ok(());
    }
    let [kernel, initramfs, vcpus, stop_after, command_line] = &arguments[..] else {
        anyhow::bail!("usage: machine KERNEL INITRAMFS VCPUS STOP_AFTER_MS COMMAND_LINE");
    };
    let config = VmConfig {
        kernel: PathBuf::from(kernel),
        initramfs: Some(PathBuf::from(initramfs)),
        command_line: command_line.clone(),
        memory_bytes: MEMORY_BYTES,
        vcpus: vcpus.parse().context("VCPUS is no number")?,
        console: Some(File::from(std::io::stdout().as_fd().try_clone_to_owned()?)),
    };
    let stop_after =
        Duration::from_millis(stop_after.parse().context("STOP_AFTER_MS is no number")?);
    let mut machine = Vm::new(&config)?;
    machine.attach(Box::new(Patterned))?;
    let stop = EventFd::new()?;
    let exit = thread::scope(|scope| {
        if !stop_after.is_zero() {
            scope.spawn(|| {
                thread::sleep(stop_after);
                stop.write(1)
            });
        }
        machine.run(&stop)
    })?;
    println!("exit: {exit:?}");
    Ok(())
}

/// A random number device whose numbers are known.
struct Patterned;

impl VirtioDevice for Patterned {
    fn device_type(&self) -> u32 {
        VIRTIO_ID_RNG
    }

    fn queue_max_sizes(&self) -> &[u16] {
        &[8]
    }

    fn features(&self) -> u64 {
        0
    }

    fn read_config(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write_config(&mut self, _offset: u64, _data: &[u8]) {}

    fn activate(&mut self, _acked: u64) {}

    fn host_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn handle(&mut self, event: Event, queues: &mut Queues<'_>) -> Result<Progress, DeviceError> {
        let Event::Queue(index) = event else {
            return Ok(Progress::Idle);
        };
        let Some((memory, queue)) = queues.get(index) else {
            return Ok(Progress::Idle);
        };
        let broken = |source| DeviceError::Queue {
            queue: index,
            source,
        };
        while let Some(chain) = queue.pop_descriptor_chain(memory) {
            let head = chain.head_index();
            let mut written = 0;
            for descriptor in chain.writable() {
                let length = usize::try_from(descriptor.len()).unwrap_or_default();
                let bytes: Vec<_> = PATTERN
                    .iter()
                    .copied()
                    .cycle()
                    .take(length.min(4096))
                    .collect();
                if memory.write_slice(&bytes, descriptor.addr()).is_ok() {
                    written += u32::try_from(bytes.len()).unwrap_or_default();
                }
            }
            queue.add_used(memory, head, written).map_err(broken)?;
        }
        queues.notify(index)?;
        Ok(Progress::Idle)
    }

    fn reset(&mut self) {}
}
