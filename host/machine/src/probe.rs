//! Which engine works here, found out by trying.
//!
//! Opening `/dev/kvm` proves nothing: a software KVM opens and then dies at the first `XRSTOR`. So
//! `dhow vmm --probe` runs a small long-mode guest in a process of its own, within
//! [`PROBE_BUDGET`]. The answer is kept in the run folder for as long as the host stays booted and
//! `/dev/kvm` the same, so only the first start pays.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::time::timeout;

use crate::engine::{Engine, EngineChoice};

/// How long the KVM probe's guest may take.
pub const PROBE_BUDGET: Duration = Duration::from_millis(200);

/// How long the probing process may take in all, before it is killed and KVM counts as unusable:
/// more than the three seconds that it gives KVM to make a machine, and [`PROBE_BUDGET`].
const PROBE_PROCESS_BUDGET: Duration = Duration::from_secs(4);

/// The KVM device.
const KVM_DEVICE: &str = "/dev/kvm";

/// What trying one engine showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The engine.
    pub engine: Engine,
    /// Why it cannot be used, or `None` where it can.
    pub problem: Option<Problem>,
}

/// Why an engine cannot be used here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct Problem {
    /// What is wrong, one line.
    pub reason: String,
    /// What to do about it, one line.
    pub fix: String,
}

/// No engine can run.
#[derive(Debug, thiserror::Error)]
pub enum NoEngine {
    /// The one asked for does not work.
    #[error("engine {engine} cannot be used: {problem}")]
    Asked {
        /// The engine asked for.
        engine: Engine,
        /// Why it does not work.
        problem: Problem,
    },
    /// None works.
    #[error("no engine can be used: kvm: {kvm}; uml: {uml}")]
    None {
        /// Why KVM does not work.
        kvm: Problem,
        /// Why UML does not work.
        uml: Problem,
    },
}

/// Where the probe finds programs and keeps its answer.
#[derive(Clone, Debug)]
pub struct ProbePaths {
    /// Our own executable.
    pub program: PathBuf,
    /// The folder with `linux`, `vmlinux` and `initramfs.cpio`.
    pub library: PathBuf,
    /// The folder in which the answer is kept.
    pub run: PathBuf,
}

/// Picks the engine to start a machine on.
///
/// # Errors
/// [`NoEngine`] with every reason, where none will do.
pub async fn choose(choice: EngineChoice, paths: &ProbePaths) -> Result<Engine, NoEngine> {
    match choice {
        EngineChoice::Only(engine) => match problem_of(engine, paths).await {
            None => Ok(engine),
            Some(problem) => Err(NoEngine::Asked { engine, problem }),
        },
        EngineChoice::Auto => {
            let Some(kvm) = problem_of(Engine::Kvm, paths).await else {
                return Ok(Engine::Kvm);
            };
            match uml_problem(paths) {
                None => {
                    tracing::info!(%kvm, "using uml");
                    Ok(Engine::Uml)
                }
                Some(uml) => Err(NoEngine::None { kvm, uml }),
            }
        }
    }
}

/// Tries every engine, for `dhow doctor`.
pub async fn findings(paths: &ProbePaths) -> Vec<Finding> {
    vec![
        Finding {
            engine: Engine::Kvm,
            problem: problem_of(Engine::Kvm, paths).await,
        },
        Finding {
            engine: Engine::Uml,
            problem: uml_problem(paths),
        },
    ]
}

async fn problem_of(engine: Engine, paths: &ProbePaths) -> Option<Problem> {
    match engine {
        Engine::Kvm => kvm_problem(paths).await,
        Engine::Uml => uml_problem(paths),
    }
}

fn uml_problem(paths: &ProbePaths) -> Option<Problem> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Some(Problem {
            reason: "User Mode Linux runs on x86-64 Linux only".to_owned(),
            fix: "use a host with KVM".to_owned(),
        });
    }
    missing(&paths.library, &["linux", "initramfs.cpio"])
}

/// The problem of a distribution that lacks files.
fn missing(library: &Path, names: &[&str]) -> Option<Problem> {
    let name = names.iter().find(|name| !library.join(name).is_file())?;
    Some(Problem {
        reason: format!("{} is missing", library.join(name).display()),
        fix: "install dhow again, or set DHOW_LIB to the folder that holds it".to_owned(),
    })
}

async fn kvm_problem(paths: &ProbePaths) -> Option<Problem> {
    if let Some(problem) = missing(&paths.library, &["vmlinux", "initramfs.cpio"]) {
        return Some(problem);
    }
    let key = KvmKey::of_this_host();
    let cache = paths.run.join("kvm-probe.json");
    let kept: Option<KvmAnswer> = fs::read(&cache)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if let Some(kept) = kept.filter(|kept| kept.key == key) {
        return kept.problem;
    }
    let problem = try_kvm(&paths.program).await;
    let answer = KvmAnswer { key, problem };
    let bytes = serde_json::to_vec(&answer).expect("plain data always encodes");
    if let Err(error) = fs::write(&cache, bytes) {
        tracing::debug!(%error, "the probe's answer is not kept");
    }
    answer.problem
}

/// Runs `dhow vmm --probe`, which prints a [`Problem`] or `null`.
async fn try_kvm(program: &Path) -> Option<Problem> {
    let child = Command::new(program)
        .args(["vmm", "--probe"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let fix = "run with DHOW_ENGINE=uml".to_owned();
    match timeout(PROBE_PROCESS_BUDGET, child).await {
        Ok(Ok(output)) => serde_json::from_slice(&output.stdout).unwrap_or_else(|_cut_short| {
            Some(Problem {
                reason: format!("the KVM probe ended with {}", output.status),
                fix,
            })
        }),
        Ok(Err(error)) => Some(Problem {
            reason: format!("the KVM probe cannot be started: {error}"),
            fix,
        }),
        Err(_elapsed) => Some(Problem {
            reason: "the KVM probe hangs".to_owned(),
            fix,
        }),
    }
}

/// The kept answer of the KVM probe.
#[derive(Debug, Serialize, Deserialize)]
struct KvmAnswer {
    key: KvmKey,
    problem: Option<Problem>,
}

/// What must be the same for a kept answer to hold: the boot, the device and who asks.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KvmKey {
    boot_id: String,
    device: Option<(u64, u32, u32, u32)>,
    user: u32,
    groups: Vec<u32>,
    version: String,
}

impl KvmKey {
    fn of_this_host() -> Self {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let device = fs::metadata(KVM_DEVICE)
            .ok()
            .map(|data| (data.rdev(), data.mode(), data.uid(), data.gid()));
        let groups = nix::unistd::getgroups().unwrap_or_default();
        Self {
            boot_id: boot_id.trim().to_owned(),
            device,
            user: nix::unistd::geteuid().as_raw(),
            groups: groups.into_iter().map(nix::unistd::Gid::as_raw).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
