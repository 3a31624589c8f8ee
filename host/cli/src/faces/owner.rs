//! What both owners of a VM share: the description read from standard input, the devices made
//! from it, and the lines answered until standard input ends.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Stdin, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use dhow_machine::spec::{MachineSpec, OwnerCommand, OwnerEvent, VmExit};
use dhow_netstack::NetstackControl;
use dhow_virtio::{DataDisk, LayerDisk, LayerMap, Rng, VirtioDevice, Vsock, VsockConfig};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::network;

/// How many devices a VM has.
pub(super) const DEVICES: usize = 5;

/// The VM's devices, in the order in which the guest must probe them.
pub(super) struct Devices {
    /// Layer disk, data disk, vsock, rng, NIC.
    pub(super) list: [Box<dyn VirtioDevice>; DEVICES],
    /// Where layers are put on the layer disk.
    pub(super) layers: LayerMap,
    /// Where networks are set up behind the NIC.
    pub(super) network: NetstackControl,
    /// Held for the machine's life: two machines on one file system would destroy it.
    pub(super) data_lock: Flock<File>,
}

/// Readable once the machine's user is gone or wants the VM gone.
#[derive(Clone, Debug)]
pub(super) struct Stop(Arc<EventFd>);

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Reads the description: the first line of standard input.
pub(super) fn read_spec(input: &mut impl BufRead) -> anyhow::Result<MachineSpec> {
    let mut line = String::new();
    input
        .read_line(&mut line)
        .context("failed to read the machine's description")?;
    serde_json::from_str(&line).context("failed to understand the machine's description")
}

/// Standard input, buffered: the description and the commands come from the same buffer.
pub(super) fn input() -> BufReader<Stdin> {
    BufReader::new(io::stdin())
}

/// Makes the devices.
pub(super) fn devices(spec: &MachineSpec) -> anyhow::Result<Devices> {
    let data = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&spec.data_disk)
        .with_context(|| format!("failed to open {}", spec.data_disk.display()))?;
    // An owner before us, whose daemon was killed, frees it as soon as it has gone.
    let data_lock = Flock::lock(data, FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno)
        .context("failed to lock the data disk")?;
    let data = data_lock
        .try_clone()
        .context("failed to share the data disk")?;
    let dial = UnixListener::bind(&spec.dial_socket)
        .with_context(|| format!("failed to listen on {}", spec.dial_socket.display()))?;
    let host_ports = spec
        .host_ports
        .iter()
        .map(|entry| (entry.port, entry.socket.clone()))
        .collect();
    let guest_cid = dhow_protocol::GUEST_CID
        .try_into()
        .context("failed to give a CID")?;
    let vsock = Vsock::new(VsockConfig {
        guest_cid,
        dial,
        host_ports,
    })
    .context("failed to make the vsock device")?;
    let (layer_disk, layers) = LayerDisk::new(spec.layer_disk_bytes);
    let data_disk = DataDisk::new(data).context("failed to make the data disk's device")?;
    let (nic, network) = network::device()?;
    let list: [Box<dyn VirtioDevice>; DEVICES] = [
        Box::new(layer_disk),
        Box::new(data_disk),
        Box::new(vsock),
        Box::new(Rng::new()),
        Box::new(nic),
    ];
    Ok(Devices {
        list,
        layers,
        network,
        data_lock,
    })
}

/// Answers the machine's user in a thread until it is gone, then raises the returned flag.
pub(super) fn serve_user(
    input: BufReader<Stdin>,
    layers: LayerMap,
    network: NetstackControl,
) -> anyhow::Result<Stop> {
    let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC)
        .context("failed to make an eventfd")?;
    let stop = Stop(Arc::new(event));
    let raised = stop.clone();
    thread::Builder::new()
        .name("user".to_owned())
        .spawn(move || {
            for line in input.lines() {
                let Ok(line) = line else { break };
                obey(&line, &layers, &network);
            }
            raised.0.write(1).expect("an eventfd's counter takes a one");
        })
        .context("failed to start a thread")?;
    Ok(stop)
}

fn obey(line: &str, layers: &LayerMap, network: &NetstackControl) {
    match serde_json::from_str(line) {
        Ok(OwnerCommand::MapLayer {
            offset,
            length,
            path,
        }) => {
            let mapped = File::open(&path)
                .with_context(|| format!("failed to open {}", path.display()))
                .and_then(|file| layers.map(offset, file, length).context("failed to map it"));
            tell(&match mapped {
                Ok(()) => OwnerEvent::Mapped { offset },
                Err(error) => OwnerEvent::MapFailed {
                    offset,
                    reason: format!("{error:#}"),
                },
            });
        }
        Ok(OwnerCommand::Network(command)) => network.apply(network::translate(command)),
        Err(error) => tracing::warn!(%line, %error, "unknown command"),
    }
}

/// Says how the VM ended.
pub(super) fn tell_end(exit: VmExit) {
    tell(&OwnerEvent::Ended { exit });
}

/// Writes one line to standard output. A user that is gone needs no answer.
fn tell(event: &OwnerEvent) {
    let mut line = serde_json::to_vec(event).expect("plain data always encodes");
    line.push(b'\n');
    let mut output = io::stdout().lock();
    let _ = output.write_all(&line).and_then(|()| output.flush());
}
