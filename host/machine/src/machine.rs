//! The machine itself: starts, takes calls and layers, ends.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dhow_protocol::{LayerRange, PROTOCOL_VERSION, READY_PORT, Reply, Request, Welcome};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::data_disk::{self, DataDiskError};
use crate::dial::{self, CallError};
use crate::engine::{Engine, EngineChoice};
use crate::owner::{Owner, OwnerError};
use crate::probe::{self, NoEngine, ProbePaths};
use crate::spec::{HostPort, MachineSpec, VmExit};

/// How long a guest may take from its start to the agent's call. Our kernel needs 0.15 s; the rest
/// is for a nested or heavily loaded host.
const BOOT_TIMEOUT: Duration = Duration::from_secs(60);

/// What the guest may need past the grace period to sync, unmount and power off.
const POWER_OFF_MARGIN: Duration = Duration::from_secs(10);

/// Size of the layer disk's address space: room for thousands of images, and only addresses.
const LAYER_DISK_BYTES: u64 = 1 << 40;

/// Alignment of layers on the layer disk; EROFS's block size.
const LAYER_ALIGNMENT: u64 = 4096;

/// What a machine is made of.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// Which engine to use.
    pub engine: EngineChoice,
    /// Our own executable, whose hidden faces own the VM.
    pub program: PathBuf,
    /// The folder with `linux`, `vmlinux` and `initramfs.cpio`.
    pub library: PathBuf,
    /// Folder for sockets and logs; made with mode 0700, emptied of an earlier machine's.
    pub run_dir: PathBuf,
    /// The data disk; made where there is none.
    pub data_disk: PathBuf,
    /// Guest memory in bytes, or `None` for what suits the engine ([`default_memory_bytes`]).
    pub memory_bytes: Option<u64>,
    /// Virtual CPUs.
    pub vcpus: u8,
}

/// Memory of a UML machine unless asked otherwise. Its kernel touches a page structure for every
/// page while booting: 4 GiB take 0.13 s longer to boot than 512 MiB.
const UML_MEMORY_BYTES: u64 = 1 << 30;

/// The least and the most memory of a KVM machine unless asked otherwise.
const KVM_MEMORY_BOUNDS: (u64, u64) = (512 << 20, 4 << 30);

/// Machine memory is a multiple of this.
const MEMORY_UNIT_BYTES: u64 = 1 << 20;

/// What a machine gets where nothing was asked for: 1 GiB on UML, half of the host's memory within
/// bounds on KVM. Either way the host stores only what the guest has used.
#[must_use]
pub fn default_memory_bytes(engine: Engine) -> u64 {
    match engine {
        Engine::Uml => UML_MEMORY_BYTES,
        Engine::Kvm => {
            let host = nix::sys::sysinfo::sysinfo().map_or(0, |facts| facts.ram_total());
            let (least, most) = KVM_MEMORY_BOUNDS;
            (host / 2).clamp(least, most)
        }
    }
}

/// What is known of a running machine.
#[derive(Clone, Debug)]
pub struct MachineFacts {
    /// The engine it runs on.
    pub engine: Engine,
    /// The guest kernel's release.
    pub kernel_release: String,
    /// Memory that the guest can use, in bytes.
    pub memory_bytes: u64,
    /// The guest's CPUs.
    pub cpus: u32,
    /// From the start of the owning process to the agent's answer.
    pub boot_time: Duration,
    /// When it was started.
    pub started_at: SystemTime,
    /// The owning process.
    pub process_id: Option<u32>,
}

/// Why a machine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No engine works.
    #[error(transparent)]
    NoEngine(#[from] NoEngine),
    /// The data disk could not be made.
    #[error(transparent)]
    DataDisk(#[from] DataDiskError),
    /// A folder or socket could not be made.
    #[error("failed to prepare {}", path.display())]
    Prepare {
        /// Which one.
        path: PathBuf,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
    /// The owning process could not be used.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// The VM ended before its agent answered.
    #[error("the machine ended while booting: {reason}; its messages are in {}", console.display())]
    EndedEarly {
        /// Why, as its owner saw it.
        reason: String,
        /// The guest kernel's messages.
        console: PathBuf,
    },
    /// The agent did not answer in time.
    #[error("the machine did not answer within {} s; its messages are in {}", BOOT_TIMEOUT.as_secs(), console.display())]
    TimedOut {
        /// The guest kernel's messages.
        console: PathBuf,
    },
    /// The handshake failed.
    #[error("failed to greet the machine's agent")]
    Handshake(#[source] CallError),
    /// The agent is of another build.
    #[error("the machine's agent speaks protocol {0}, this dhow speaks {PROTOCOL_VERSION}")]
    Version(u32),
}

/// Why a layer could not be put on the layer disk.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The file cannot be read.
    #[error("failed to read layer {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
    /// The address space of the layer disk is used up until the machine is started anew.
    #[error("the layer disk is full: run `dhow machine down`, then try again")]
    Full,
    /// The owning process refused.
    #[error("failed to map layer {}", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: OwnerError,
    },
}

/// Why a machine was not stopped in an orderly way; it has ended all the same.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The guest did not take or finish the request; the VM was killed.
    #[error("the machine did not power off by itself and was killed")]
    Killed(#[source] Option<CallError>),
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineExit {
    /// The guest powered off, or was told to.
    PowerOff,
    /// It broke, or its process was killed.
    Failed {
        /// Why, for the user.
        reason: String,
    },
}

/// A running machine; clones are the same machine. It ends when its process does.
#[derive(Clone, Debug)]
pub struct Machine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    owner: Owner,
    run_dir: PathBuf,
    dial_socket: PathBuf,
    layers: Mutex<LayerTable>,
    facts: MachineFacts,
}

/// What lies where on the layer disk.
#[derive(Debug, Default)]
struct LayerTable {
    by_path: HashMap<PathBuf, LayerRange>,
    end: u64,
}

impl Machine {
    /// Starts the VM and waits until the agent has answered the handshake.
    ///
    /// # Errors
    /// [`StartError`]; no process is left behind.
    pub async fn start(config: MachineConfig) -> Result<Self, StartError> {
        let started_at = SystemTime::now();
        let begin = Instant::now();
        let (ready, spec, engine) = prepare(&config).await?;
        let log = create(&config.run_dir.join("owner.log"))?;
        let owner = Owner::start(&config.program, engine, &spec, log).await?;
        let welcome = match greet(&owner, ready, &spec).await {
            Ok(welcome) => welcome,
            Err(error) => {
                owner.end().await;
                return Err(error);
            }
        };
        let facts = MachineFacts {
            engine,
            kernel_release: welcome.kernel_release,
            memory_bytes: welcome.memory_bytes,
            cpus: welcome.cpus,
            boot_time: begin.elapsed(),
            started_at,
            process_id: owner.process_id(),
        };
        let shared = Shared {
            owner,
            run_dir: spec.run_dir,
            dial_socket: spec.dial_socket,
            layers: Mutex::default(),
            facts,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Makes one call on a connection of its own.
    ///
    /// # Errors
    /// [`CallError`]; a failure told by the agent is [`CallError::Failed`].
    pub async fn call(&self, request: &Request) -> Result<Reply, CallError> {
        self.open(request).await.map(|(reply, _closed_here)| reply)
    }

    /// Makes a call whose connection lives on as a stream.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn open(&self, request: &Request) -> Result<(Reply, UnixStream), CallError> {
        dial::open(&self.shared.dial_socket, request).await
    }

    /// Puts a layer file on the layer disk; the same file again costs nothing.
    ///
    /// # Errors
    /// [`MapError`]; the layer disk is as before.
    pub async fn map_layer(&self, file: &Path) -> Result<LayerRange, MapError> {
        let mut layers = self.shared.layers.lock().await;
        if let Some(range) = layers.by_path.get(file) {
            return Ok(*range);
        }
        let data = fs::metadata(file).map_err(|source| MapError::File {
            path: file.to_owned(),
            source,
        })?;
        let length = data.len().next_multiple_of(LAYER_ALIGNMENT);
        let range = LayerRange {
            offset: layers.end,
            length,
        };
        let end = range
            .offset
            .checked_add(length)
            .filter(|end| *end <= LAYER_DISK_BYTES);
        let end = end.ok_or(MapError::Full)?;
        let owner = &self.shared.owner;
        owner
            .map_layer(range.offset, data.len(), file)
            .await
            .map_err(|source| MapError::Owner {
                path: file.to_owned(),
                source,
            })?;
        layers.end = end;
        layers.by_path.insert(file.to_owned(), range);
        Ok(range)
    }

    /// Resolves when the VM has ended, with the reason.
    pub async fn ended(&self) -> MachineExit {
        match self.shared.owner.ended().await {
            VmExit::PowerOff | VmExit::Stopped => MachineExit::PowerOff,
            VmExit::Failed { reason } => MachineExit::Failed { reason },
        }
    }

    /// Powers the machine off: SIGTERM to every process, `grace` to end, SIGKILL, sync.
    ///
    /// # Errors
    /// [`StopError`] where it had to be killed. Either way it has ended.
    pub async fn stop(&self, grace: Duration) -> Result<(), StopError> {
        let grace_ms = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
        let orderly = async {
            self.call(&Request::Shutdown { grace_ms }).await?;
            self.ended().await;
            Ok(())
        };
        let outcome = timeout(grace + POWER_OFF_MARGIN, orderly).await;
        self.shared.owner.end().await;
        self.ended().await;
        remove_sockets(&self.shared.run_dir);
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(StopError::Killed(Some(error))),
            Err(_elapsed) => Err(StopError::Killed(None)),
        }
    }

    /// What is known of it.
    #[must_use]
    pub fn facts(&self) -> &MachineFacts {
        &self.shared.facts
    }
}

/// Takes away what nobody listens on any more; the console and the owner's log stay, for whoever wants
/// to know how the machine ended. What cannot be removed goes with the next start.
fn remove_sockets(run_dir: &Path) {
    let entries = fs::read_dir(run_dir).into_iter().flatten().flatten();
    for entry in entries {
        if entry.file_type().is_ok_and(|kind| kind.is_socket()) {
            let _goes_later = fs::remove_file(entry.path());
        }
    }
}

/// Everything that must be there before the owner starts.
async fn prepare(
    config: &MachineConfig,
) -> Result<(UnixListener, MachineSpec, Engine), StartError> {
    let run_dir = &config.run_dir;
    let prepare = |path: &Path, source| StartError::Prepare {
        path: path.to_owned(),
        source,
    };
    if let Err(error) = fs::remove_dir_all(run_dir)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(prepare(run_dir, error));
    }
    fs::create_dir_all(run_dir).map_err(|source| prepare(run_dir, source))?;
    let parent = run_dir.parent().unwrap_or(run_dir).to_owned();
    let paths = ProbePaths {
        program: config.program.clone(),
        library: config.library.clone(),
        run: parent,
    };
    let engine = probe::choose(config.engine, &paths).await?;
    if let Some(folder) = config.data_disk.parent() {
        fs::create_dir_all(folder).map_err(|source| prepare(folder, source))?;
    }
    data_disk::ensure(&config.data_disk)?;

    let ready_socket = run_dir.join("ready.sock");
    let ready =
        UnixListener::bind(&ready_socket).map_err(|source| prepare(&ready_socket, source))?;
    let kernel = match engine {
        Engine::Kvm => "vmlinux",
        Engine::Uml => "linux",
    };
    let memory_bytes = config
        .memory_bytes
        .unwrap_or_else(|| default_memory_bytes(engine));
    let spec = MachineSpec {
        kernel: config.library.join(kernel),
        initramfs: config.library.join("initramfs.cpio"),
        memory_bytes: memory_bytes - memory_bytes % MEMORY_UNIT_BYTES,
        vcpus: config.vcpus,
        data_disk: config.data_disk.clone(),
        layer_disk_bytes: LAYER_DISK_BYTES,
        run_dir: run_dir.clone(),
        dial_socket: run_dir.join("dial.sock"),
        host_ports: vec![HostPort {
            port: READY_PORT,
            socket: ready_socket,
        }],
        console: run_dir.join("console.log"),
    };
    Ok((ready, spec, engine))
}

fn create(path: &Path) -> Result<File, StartError> {
    File::create(path).map_err(|source| StartError::Prepare {
        path: path.to_owned(),
        source,
    })
}

/// Waits for the agent's call, then shakes hands.
async fn greet(
    owner: &Owner,
    ready: UnixListener,
    spec: &MachineSpec,
) -> Result<Welcome, StartError> {
    let console = || spec.console.clone();
    tokio::select! {
        accepted = ready.accept() => {
            accepted.map_err(|source| {
                StartError::Prepare { path: spec.run_dir.join("ready.sock"), source }
            })?;
        }
        exit = owner.ended() => {
            let reason = match exit {
                VmExit::Failed { reason } => reason,
                VmExit::PowerOff => "it powered itself off".to_owned(),
                VmExit::Stopped => "it was told to stop".to_owned(),
            };
            return Err(StartError::EndedEarly { reason, console: console() });
        }
        () = tokio::time::sleep(BOOT_TIMEOUT) => {
            return Err(StartError::TimedOut { console: console() });
        }
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let hello = Request::Hello {
        protocol: PROTOCOL_VERSION,
        unix_time_ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
    };
    match dial::open(&spec.dial_socket, &hello)
        .await
        .map_err(StartError::Handshake)?
    {
        (Reply::Welcome(welcome), _) if welcome.protocol == PROTOCOL_VERSION => Ok(welcome),
        (Reply::Welcome(welcome), _) => Err(StartError::Version(welcome.protocol)),
        (other, _) => {
            tracing::warn!(?other, "unexpected answer to the handshake");
            Err(StartError::Version(0))
        }
    }
}
