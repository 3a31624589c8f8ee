//! PID 1 of the outer guest: loads KVM, runs the steps, says on the serial line how each went.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use dhow_nested_tests::steps::{PREFIX, STEPS_PATH, Step};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How often a running step is looked at.
const POLL: Duration = Duration::from_millis(5);
/// Most of a step's output that is shown.
const SHOWN_BYTES: u64 = 8 << 10;
/// Most of a step's output that is searched.
const SEARCHED_BYTES: u64 = 4 << 20;

fn main() {
    say("up");
    let ran = prepare().and_then(|()| run_steps());
    if let Err(error) = ran {
        say(&format!("FAILED outer_guest: {error:#}"));
    }
    say("done");
    // SAFETY: sync has no conditions.
    unsafe { libc::sync() };
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    say(&format!("FAILED power_off: {error}"));
}

#[expect(
    clippy::print_stdout,
    reason = "the serial line is how results get out"
)]
fn say(line: &str) {
    println!("{PREFIX}{line}");
}

/// Makes this a host that a user of KVM recognises.
fn prepare() -> anyhow::Result<()> {
    for (kind, target) in [
        ("devtmpfs", "/dev"),
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
    ] {
        mount(
            Some(kind),
            target,
            Some(kind),
            MsFlags::empty(),
            None::<&str>,
        )
        .with_context(|| format!("failed to mount {target}"))?;
    }
    for (kind, target) in [
        ("devpts", "/dev/pts"),
        ("tmpfs", "/dev/shm"),
        ("cgroup2", "/sys/fs/cgroup"),
    ] {
        // The folder of the last is there already.
        let _exists = fs::create_dir(target);
        mount(
            Some(kind),
            target,
            Some(kind),
            MsFlags::empty(),
            None::<&str>,
        )
        .with_context(|| format!("failed to mount {target}"))?;
    }
    for folder in ["/tmp", "/dev/shm"] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o1777))?;
    }
    for (link, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ] {
        std::os::unix::fs::symlink(target, link)?;
    }
    // KVM's counters, for benches only: not every kernel has them.
    let _counters = mount(
        Some("debugfs"),
        "/sys/kernel/debug",
        Some("debugfs"),
        MsFlags::empty(),
        None::<&str>,
    );
    load_modules()?;
    fs::set_permissions("/dev/kvm", fs::Permissions::from_mode(0o666))
        .context("failed to open /dev/kvm to everyone")?;
    raise_loopback()
}

fn load_modules() -> anyhow::Result<()> {
    let mut modules: Vec<_> = fs::read_dir("/modules")?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    modules.sort();
    for path in modules {
        let module = File::open(&path)?;
        finit_module(module, c"", ModuleInitFlags::empty())
            .with_context(|| format!("failed to load {}", path.display()))?;
    }
    Ok(())
}

/// Brings 127.0.0.1 up: published ports are bound there.
fn raise_loopback() -> anyhow::Result<()> {
    use std::os::fd::AsRawFd as _;

    let socket = std::net::UdpSocket::bind("0.0.0.0:0").context("failed to make a socket")?;
    // SAFETY: an all-zero request is a valid value of this plain structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags)?;
    // SAFETY: the request is whole, and the call only reads it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    nix::errno::Errno::result(result).context("failed to raise the loopback interface")?;
    Ok(())
}

fn run_steps() -> anyhow::Result<()> {
    let steps = fs::read(format!("/{STEPS_PATH}")).context("failed to read the steps")?;
    let steps: Vec<Step> = serde_json::from_slice(&steps).context("failed to parse the steps")?;
    for step in &steps {
        let started = Instant::now();
        let mut log = new_log()?;
        let failure = run_step(step, &mut log).err();
        if step.show || failure.is_some() {
            show(&mut log)?;
        }
        if failure.is_some() {
            show_logs(&step.logs);
        }
        reap_orphans();
        match failure {
            None => say(&format!(
                "ok {} ({} ms)",
                step.name,
                started.elapsed().as_millis()
            )),
            Some(error) => say(&format!("FAILED {}: {error:#}", step.name)),
        }
    }
    Ok(())
}

/// An empty file that every writer appends to, whichever descriptor it came by.
fn new_log() -> anyhow::Result<File> {
    const PATH: &str = "/run/step.log";
    if fs::exists(PATH)? {
        fs::remove_file(PATH)?;
    }
    Ok(File::options()
        .create(true)
        .append(true)
        .read(true)
        .open(PATH)?)
}

fn run_step(step: &Step, log: &mut File) -> anyhow::Result<()> {
    let (program, arguments) = step.command.split_first().context("an empty command")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin")
        .env("HOME", "/tmp")
        .envs(step.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .current_dir("/tmp")
        .process_group(0);
    if let Some(user) = step.user {
        command.uid(user).gid(user);
    }
    let mut child = command
        .spawn()
        .with_context(|| format!("failed to start {program}"))?;
    let group = Pid::from_raw(i32::try_from(child.id())?);
    let deadline = Instant::now() + step.limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            killpg(group, Signal::SIGKILL)?;
            child.wait()?;
            anyhow::bail!("not done within {} s", step.limit.as_secs());
        }
        thread::sleep(POLL);
    };
    check(step, status, log)
}

fn check(step: &Step, status: ExitStatus, log: &mut File) -> anyhow::Result<()> {
    if let Some(signal) = status.signal() {
        anyhow::bail!("killed by signal {signal}");
    }
    let code = status.code().context("ended without an exit code")?;
    anyhow::ensure!(
        code == step.exit_code,
        "exit code {code}, not {}",
        step.exit_code
    );
    log.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    log.take(SEARCHED_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    for wanted in &step.output {
        anyhow::ensure!(text.contains(wanted), "no {wanted:?} in the output");
    }
    Ok(())
}

/// Takes leave of processes that outlived their step and have ended since: PID 1 is their parent.
fn reap_orphans() {
    while let Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) =
        waitpid(None, Some(WaitPidFlag::WNOHANG))
    {}
}

/// Shows the ends of files that may explain a failure.
#[expect(
    clippy::print_stdout,
    reason = "the serial line is how results get out"
)]
fn show_logs(paths: &[String]) {
    for path in paths {
        println!("| --- {path}");
        let shown = File::open(path)
            .context("failed to open it")
            .and_then(|mut log| show(&mut log));
        if let Err(error) = shown {
            println!("| {error:#}");
        }
    }
}

/// Shows the end of a step's output.
#[expect(
    clippy::print_stdout,
    reason = "the serial line is how results get out"
)]
fn show(log: &mut File) -> anyhow::Result<()> {
    let length = log.metadata()?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(SHOWN_BYTES)))?;
    let mut bytes = Vec::new();
    log.read_to_end(&mut bytes)?;
    for line in String::from_utf8_lossy(&bytes).lines() {
        println!("| {line}");
    }
    Ok(())
}
