//! `dhow devices`: owns a UML machine, Linux as a child process with our devices behind sockets.

use std::fs::File;
use std::os::unix::net::UnixListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use dhow_machine::spec::{MachineSpec, VmExit};
use dhow_machine::uml::{self, VhostUserDevice};
use dhow_vhost_user::{Exit, Server};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::Pid;

use super::owner::{self, Devices};

/// Names of the devices' sockets, in the order of the devices.
const SOCKET_NAMES: [&str; 4] = ["layers.sock", "data.sock", "vsock.sock", "rng.sock"];

/// Runs the machine described on standard input until it or its user ends.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut input = owner::input();
    let spec = owner::read_spec(&mut input)?;
    let exit = own(&spec, input).unwrap_or_else(|error| VmExit::Failed {
        reason: format!("{error:#}"),
    });
    owner::tell_end(exit);
    Ok(())
}

fn own(spec: &MachineSpec, input: std::io::BufReader<std::io::Stdin>) -> anyhow::Result<VmExit> {
    let Devices {
        list,
        layers,
        // To the end of this function: until the machine has gone.
        data_lock: _data_lock,
    } = owner::devices(spec)?;
    let mut server = Server::new();
    let mut served = Vec::new();
    for (device, name) in list.into_iter().zip(SOCKET_NAMES) {
        let socket = spec.run_dir.join(name);
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("failed to listen on {}", socket.display()))?;
        served.push(VhostUserDevice {
            socket,
            device_type: device.device_type(),
        });
        server
            .add(device, listener)
            .context("failed to serve a device")?;
    }
    let stop = owner::serve_user(input, layers)?;
    let mut linux = start_linux(spec, &served)?;
    let served = server.run(&stop);
    let patience = match served {
        // It is powering off.
        Ok(Exit::HungUp) => EXIT_TIMEOUT,
        // Nobody wants it any more, and whoever comes next waits for the data disk.
        Ok(Exit::Stopped) | Err(_) => Duration::ZERO,
    };
    let outcome = wait(&mut linux, patience);
    served.context("failed to serve the devices")?;
    outcome
}

/// How long Linux has to end after it let go of its devices.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Between two looks whether it has.
const EXIT_INTERVAL: Duration = Duration::from_millis(1);

fn wait(linux: &mut Child, patience: Duration) -> anyhow::Result<VmExit> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = linux.try_wait().context("failed to wait for Linux")? {
            return Ok(exit_of(status));
        }
        if Instant::now() >= deadline {
            break;
        }
        std::thread::sleep(EXIT_INTERVAL);
    }
    linux.kill().context("failed to end Linux")?;
    linux.wait().context("failed to wait for Linux")?;
    Ok(VmExit::Stopped)
}

fn exit_of(status: ExitStatus) -> VmExit {
    if status.success() {
        return VmExit::PowerOff;
    }
    let reason = match status.signal() {
        Some(signal) => format!("Linux was ended by signal {signal}"),
        None => format!("Linux ended with {status}"),
    };
    VmExit::Failed { reason }
}

fn start_linux(spec: &MachineSpec, devices: &[VhostUserDevice]) -> anyhow::Result<Child> {
    let console = File::create(&spec.console)
        .with_context(|| format!("failed to create {}", spec.console.display()))?;
    let errors = console.try_clone().context("failed to share the console")?;
    let mut command = Command::new(&spec.kernel);
    command
        .args(uml::arguments(spec, devices))
        .env_clear()
        .env("HOME", &spec.run_dir)
        .env("TMPDIR", memory_folder(spec))
        .stdin(Stdio::null())
        .stdout(console)
        .stderr(errors);
    let processor = one_processor();
    let prepare = move || {
        if let Some(processor) = &processor {
            sched_setaffinity(Pid::from_raw(0), processor)?;
        }
        tie_to_parent()
    };
    // SAFETY: between fork and exec the closure makes three system calls and touches no memory but
    // its own: nothing is allocated and no lock taken.
    unsafe { command.pre_exec(prepare) };
    command
        .spawn()
        .with_context(|| format!("failed to start {}", spec.kernel.display()))
}

/// One of the processors we may use, another for each machine in turn.
///
/// UML runs a guest's process and the guest's kernel as two processes of the host, one of which
/// always waits for the other. On one processor their switch is a mere context switch; on two, each
/// wakes an idle processor: ten clients in turn of a server in a container were answered after
/// 2.3 ms instead of 6.8 ms.
fn one_processor() -> Option<CpuSet> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
    let usable: Vec<usize> = (0..CpuSet::count())
        .filter(|processor| allowed.is_set(*processor).unwrap_or(false))
        .collect();
    let turn = usize::try_from(std::process::id()).ok()?;
    let mut chosen = CpuSet::new();
    chosen.set(*usable.get(turn % usable.len().max(1))?).ok()?;
    Some(chosen)
}

/// Linux dies with us, even when we are killed, and dumps no core when its kernel panics.
fn tie_to_parent() -> std::io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    Ok(())
}

/// Where guest memory lies: in memory where that is large enough and allows execution, else in the
/// machine's own folder.
fn memory_folder(spec: &MachineSpec) -> PathBuf {
    let shared_memory = Path::new("/dev/shm");
    let fits = statvfs(shared_memory).is_ok_and(|facts| {
        let free = facts
            .blocks_available()
            .saturating_mul(facts.fragment_size());
        free >= spec.memory_bytes && !facts.flags().contains(FsFlags::ST_NOEXEC)
    });
    if fits {
        shared_memory.to_owned()
    } else {
        spec.run_dir.clone()
    }
}
