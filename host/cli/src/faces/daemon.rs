//! `dhow daemon`: lock, log, socket; then the API is served until nobody needs it any more.
//!
//! Started by another command it is detached: a session of its own, nothing of the terminal left
//! open, and one word on standard output once connections are accepted. Started by hand it stays in
//! the foreground, which is what a service manager wants.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use dhow_daemon::ServeOptions;
use dhow_engine::machine::MachineBoot;
use dhow_engine::{Engine, EngineOptions};
use dhow_image::ImageStore;
use dhow_machine::{EngineChoice, MachineConfig};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::args::system::DaemonArgs;
use crate::daemon_start::READY;
use crate::failure::{Failure, OUR_FAULT, Outcome};
use crate::paths::{self, Paths};
use crate::resolve::size;

/// How long the daemon stays without containers and clients, unless `DHOW_IDLE_SECONDS` says else.
const DEFAULT_IDLE: Duration = Duration::from_secs(600);

/// The least memory that kernel, agent and a small container fit into.
const LEAST_MACHINE_MEMORY_BYTES: u64 = 128 << 20;

/// The most virtual CPUs a machine gets.
const MAX_VCPUS: u8 = 16;

/// What the log tells unless `DHOW_LOG` says else.
const DEFAULT_LOG_FILTER: &str = "info";

/// `dhow daemon`.
pub(crate) fn run(args: &DaemonArgs) -> Outcome {
    attempt(args).map_err(|failure| failure.code(OUR_FAULT))
}

fn attempt(args: &DaemonArgs) -> Outcome {
    let paths = Paths::prepare()?;
    let idle = idle_time(std::env::var("DHOW_IDLE_SECONDS").ok().as_deref())?;
    if args.detached {
        leave_the_terminal()?;
    }
    start_log()?;
    // Started by a command, we may find the daemon before us still stopping its machine.
    let wait = if args.detached {
        FlockArg::LockExclusive
    } else {
        FlockArg::LockExclusiveNonblock
    };
    let _lock = lock(&paths.daemon_lock(), wait)?;
    let listener = listen(&paths.socket())?;
    let ready = || {
        if args.detached {
            report_ready()
        } else {
            Ok(())
        }
    };
    serve(&paths, listener, idle, ready)
}

/// Ends our part in the session of whoever started us: its Ctrl-C is not for us.
fn leave_the_terminal() -> Result<(), Failure> {
    match nix::unistd::setsid() {
        // Started by something that made us a leader already.
        Ok(_) | Err(Errno::EPERM) => Ok(()),
        Err(errno) => Err(anyhow::Error::from(errno)
            .context("failed to leave the session")
            .into()),
    }
}

/// Everything said goes to standard error, which is the log file when we are detached.
fn start_log() -> Result<(), Failure> {
    let filter = std::env::var("DHOW_LOG").unwrap_or_else(|_| DEFAULT_LOG_FILTER.to_owned());
    let filter = EnvFilter::try_new(&filter)
        .with_context(|| format!("DHOW_LOG=\"{filter}\" is not a log filter"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(io::stderr)
        .init();
    Ok(())
}

/// One daemon a home. The kernel frees the lock when we end, whatever way.
fn lock(path: &Path, wait: FlockArg) -> Result<Flock<File>, Failure> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("failed to open {}", path.display()))?;
    Flock::lock(file, wait).map_err(|(_, errno)| {
        if errno == Errno::EWOULDBLOCK {
            Failure::new("another daemon serves this home already")
                .hint("set DHOW_HOME to another folder to have two")
        } else {
            anyhow::Error::from(errno)
                .context(format!("failed to lock {}", path.display()))
                .into()
        }
    })
}

/// The API's socket, ours alone. What a killed daemon left is removed: we hold the lock, so nobody
/// listens on it.
fn listen(path: &Path) -> Result<UnixListener, Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(anyhow::Error::from(error)
                .context(format!("failed to remove {}", path.display()))
                .into());
        }
        _ => {}
    }
    let listener = UnixListener::bind(path)
        .with_context(|| format!("failed to listen on {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("failed to protect {}", path.display()))?;
    Ok(listener)
}

/// Tells whoever started us that connections are accepted, and lets go of the pipe.
fn report_ready() -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(READY.as_bytes())?;
    stdout.flush()?;
    // Standard output must stay open, or the next file we open would take its place.
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok(())
}

fn idle_time(text: Option<&str>) -> Result<Duration, Failure> {
    match text.filter(|text| !text.is_empty()) {
        None => Ok(DEFAULT_IDLE),
        Some(text) => {
            let seconds: u64 = text.parse().with_context(|| {
                format!("DHOW_IDLE_SECONDS=\"{text}\" is not a number of seconds")
            })?;
            Ok(Duration::from_secs(seconds))
        }
    }
}

/// Serves the API and takes the socket away at the end, so that the next command sees at once that
/// nobody listens.
fn serve(
    paths: &Paths,
    listener: UnixListener,
    idle: Duration,
    ready: impl FnOnce() -> io::Result<()>,
) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let served = runtime.block_on(serve_api(paths, listener, idle, ready));
    let _gone = fs::remove_file(paths.socket());
    // A blocking read of a client's upload must not keep us.
    runtime.shutdown_background();
    served.map(|()| 0).map_err(Into::into)
}

async fn serve_api(
    paths: &Paths,
    listener: UnixListener,
    idle: Duration,
    ready: impl FnOnce() -> io::Result<()>,
) -> anyhow::Result<()> {
    let images = ImageStore::open(&paths.home.join("images"))?;
    let boot = MachineBoot::new(machine_config(paths)?);
    let engine = Engine::open(EngineOptions {
        home: paths.home.clone(),
        boot: Arc::new(boot),
        images: Arc::new(images),
        registry_settings: paths.settings(),
        machine_idle: idle,
    })?;
    let shutdown = CancellationToken::new();
    stop_on_signals(&shutdown)?;
    listener
        .set_nonblocking(true)
        .context("failed to prepare the socket")?;
    let listener =
        tokio::net::UnixListener::from_std(listener).context("failed to watch the socket")?;
    engine.start_by_policy();
    ready().context("failed to report readiness")?;
    let options = ServeOptions {
        idle_timeout: Some(idle),
        shutdown,
    };
    dhow_daemon::serve(listener, engine, options).await?;
    Ok(())
}

/// The machine that containers share.
fn machine_config(paths: &Paths) -> anyhow::Result<MachineConfig> {
    let engine = match std::env::var("DHOW_ENGINE") {
        Ok(choice) => choice.parse().context("DHOW_ENGINE is wrong")?,
        Err(_) => EngineChoice::Auto,
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(MachineConfig {
        engine,
        program: std::env::current_exe().context("failed to find our own program file")?,
        library: paths::library()?,
        run_dir: paths.run.join("machine"),
        data_disk: paths.home.join("machine").join("data.img"),
        memory_bytes: machine_memory(std::env::var("DHOW_MEMORY").ok().as_deref())?,
        vcpus: u8::try_from(cpus).unwrap_or(MAX_VCPUS).min(MAX_VCPUS),
    })
}

/// What `DHOW_MEMORY` asks for, in Docker's notation.
fn machine_memory(text: Option<&str>) -> anyhow::Result<Option<u64>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let bytes = size::parse(text).with_context(|| format!("DHOW_MEMORY=\"{text}\" is wrong"))?;
    match u64::try_from(bytes) {
        Ok(bytes) if bytes >= LEAST_MACHINE_MEMORY_BYTES => Ok(Some(bytes)),
        _ => anyhow::bail!("DHOW_MEMORY=\"{text}\" is too little: a machine needs 128m"),
    }
}

/// SIGTERM and SIGINT stop the daemon in good order.
fn stop_on_signals(shutdown: &CancellationToken) -> anyhow::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).context("failed to watch for signals")?;
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            signals.recv().await;
            shutdown.cancel();
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::fcntl::FlockArg;

    use super::{DEFAULT_IDLE, idle_time, listen, lock, machine_memory};

    #[test]
    fn machine_memory_comes_from_the_environment() {
        assert_eq!(machine_memory(None).expect("a default"), None);
        assert_eq!(machine_memory(Some("2g")).expect("a size"), Some(2 << 30));
        let _too_little = machine_memory(Some("1m")).expect_err("a refusal");
        let _no_size = machine_memory(Some("much")).expect_err("a refusal");
    }

    #[test]
    fn idle_time_comes_from_the_environment() {
        assert_eq!(idle_time(None).expect("a time"), DEFAULT_IDLE);
        assert_eq!(
            idle_time(Some("5")).expect("a time"),
            Duration::from_secs(5)
        );
        let _refused = idle_time(Some("soon")).expect_err("a refusal");
    }

    #[test]
    fn a_home_has_one_daemon() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("daemon.lock");
        let _first = lock(&path, FlockArg::LockExclusive).expect("the first lock");
        let second = lock(&path, FlockArg::LockExclusiveNonblock).expect_err("a refusal");
        assert_eq!(second.line(), "another daemon serves this home already");
    }

    #[test]
    fn a_socket_left_behind_is_replaced() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("docker.sock");
        drop(listen(&path).expect("a socket"));
        let again = listen(&path);
        assert!(again.is_ok(), "{again:?}");
    }
}
