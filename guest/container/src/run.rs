//! Sets a container up and starts its first process.

mod error;
mod files;
mod undo;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};

use dhow_protocol::{NetworkSetup, RunContainer};
use oci_spec::runtime::{Linux, Process as OciProcess, Spec};
use rustix::fs::{Mode, OFlags};

use self::files::etc_files;
use self::undo::{Folder, Unused};
use crate::cgroup::{Cgroup, devices, limits};
use crate::container::{Container, Execs, Running};
use crate::io::{IoError, StreamRequest, Streams};
use crate::network::NetworkError;
use crate::plan::mounts::{self, MountPlan};
use crate::plan::namespaces::{self, Namespaces};
use crate::plan::process::{self, Filter, Surroundings};
use crate::plan::system;
use crate::plan::{c_string, capability};
use crate::rootfs::overlay;
use crate::runtime::{Process, Runtime};
use crate::seccomp;
use crate::spawn::{Plan, SpawnError, Spawned, Step};
use crate::user::{self, ResolvedUser, UserRequest};

pub use self::error::{CommandError, PartError, RunError};

impl Runtime {
    /// Sets a container up and starts its first process.
    ///
    /// Returns when that process has executed its program. The caller reads its output, waits for
    /// its end at [`Process::exit`], and then calls [`Runtime::finished`].
    ///
    /// # Errors
    /// [`RunError`]; then nothing of the container is left but what its directory on the data disk
    /// held before.
    pub fn run(&self, request: &RunContainer) -> Result<Process, RunError> {
        let reserved = self.register.reserve_in_turn(&request.id)?;
        let spec: Spec = serde_json::from_str(&request.config_json).map_err(RunError::Config)?;
        let oci = spec
            .process()
            .as_ref()
            .ok_or(RunError::Incomplete("process"))?;
        let linux = spec.linux().as_ref().ok_or(RunError::Incomplete("linux"))?;
        refuse_unsupported(&spec, linux)?;
        let folder = Folder::make(self.folder(&request.id))?;
        let layers = self.layers.mount(&request.layers)?;
        let root = Arc::new(overlay::mount(&layers, &folder.path)?);
        let parts = self.parts(request, &spec, &root, &folder.path)?;
        let own_network = matches!(request.network, NetworkSetup::Own(_));
        if parts.namespaces.own_network != own_network {
            return Err(NetworkError::Namespace.into());
        }
        let cgroup = Unused::new(self.cgroups.create(&request.id)?);
        let warnings = self.limit(cgroup.get(), linux)?;

        let network = self.connect(&request.network)?;
        let mut clone_flags = parts.namespaces.clone_flags;
        if !network.left_to_clone {
            clone_flags &= !namespaces::NEW_NETWORK;
        }
        let ticket = self.reaper.begin();
        let plan = Plan {
            steps: &parts.steps,
            namespaces: clone_flags,
            cgroup: cgroup.get().folder(),
            exposed: parts.namespaces.pid.is_some(),
        };
        let joined = parts.namespaces.pid.as_ref().map(AsFd::as_fd);
        let spawned = self
            .spawn(&plan, joined)
            .map_err(|error| command_error(error, oci))?;
        let connections = network.keep();
        let pidfd = Arc::new(spawned.pidfd);
        let exit = ticket.register(spawned.pid);
        let own_pidfd = clone_descriptor(&pidfd)?;
        reserved.fill(Container {
            init: Running {
                pidfd,
                terminal: parts.streams.terminal,
            },
            pid: spawned.pid,
            exit: exit.clone(),
            root,
            devpts: parts.devpts,
            cgroup: cgroup.keep(),
            seccomp: parts.seccomp,
            may_trace: capability::may_trace(oci.capabilities().as_ref()),
            frozen: Mutex::default(),
            execs: Execs::default(),
            connections: Mutex::new(connections),
        });
        folder.keep();
        Ok(Process {
            pid: spawned.pid,
            pidfd: own_pidfd,
            io: parts.streams.io,
            exit,
            warnings,
        })
    }

    /// Spawns, in another pid namespace if one is given.
    ///
    /// Only the *children* of a thread that joins a pid namespace are in it; the thread goes back
    /// at once.
    pub(crate) fn spawn(
        &self,
        plan: &Plan<'_>,
        pid_namespace: Option<std::os::fd::BorrowedFd<'_>>,
    ) -> Result<Spawned, SpawnError> {
        let Some(namespace) = pid_namespace else {
            return crate::spawn::spawn(plan);
        };
        let kind = rustix::thread::ThreadNameSpaceType::PROCESS_ID;
        rustix::thread::move_into_thread_name_spaces(namespace, kind)
            .map_err(SpawnError::EnterPidNamespace)?;
        let spawned = crate::spawn::spawn(plan);
        rustix::thread::move_into_thread_name_spaces(self.machine.pid_namespace.as_fd(), kind)
            .expect("a thread may always go back to the pid namespace it is in");
        spawned
    }

    /// Everything that is decided before there is a process.
    fn parts(
        &self,
        request: &RunContainer,
        spec: &Spec,
        root: &Arc<OwnedFd>,
        folder: &Path,
    ) -> Result<Parts, RunError> {
        let oci = spec
            .process()
            .as_ref()
            .ok_or(RunError::Incomplete("process"))?;
        let linux = spec.linux().as_ref().ok_or(RunError::Incomplete("linux"))?;
        let user = resolve_user(root, oci, &request.user, &request.additional_groups)?;
        let wanted = linux.namespaces().as_deref().unwrap_or_default();
        let mut namespaces = namespaces::plan(wanted).map_err(PartError::from)?;
        let seccomp = linux.seccomp().as_ref().map(seccomp::compile).transpose();
        let seccomp = seccomp.map_err(PartError::from)?;
        let mut mounts =
            mounts::plan(spec.mounts().as_deref().unwrap_or_default()).map_err(PartError::from)?;
        let mut streams = streams(
            oci,
            mounts.devpts.as_ref().map(AsFd::as_fd),
            StreamRequest {
                owner: user.uid,
                open_stdin: request.open_stdin,
                size: request.console_size,
                null: self.machine.null.as_fd(),
            },
        )?;
        let files = etc_files(request, spec, folder)?;
        let steps = self.steps(
            spec,
            &mut namespaces,
            Ingredients {
                root,
                user: &user,
                mounts: &mut mounts,
                files,
                streams: &mut streams,
                seccomp: seccomp.as_ref(),
                init: request.init,
                bare_network: matches!(&request.network, NetworkSetup::Own(list) if list.is_empty()),
            },
        )?;
        Ok(Parts {
            steps,
            namespaces,
            seccomp,
            devpts: mounts.devpts,
            streams,
        })
    }

    /// The steps of a container's first process, in order.
    fn steps(
        &self,
        spec: &Spec,
        namespaces: &mut Namespaces,
        ingredients: Ingredients<'_>,
    ) -> Result<Vec<Step>, RunError> {
        let oci = spec
            .process()
            .as_ref()
            .ok_or(RunError::Incomplete("process"))?;
        let mut steps = self.first_steps(oci, ingredients.streams)?;
        steps.append(&mut namespaces.joins);
        if namespaces.own_cgroup {
            steps.push(Step::NewCgroupNamespace);
        }
        let at = self.machine.root_mount.to_string_lossy();
        let at = c_string(&at).map_err(PartError::from)?;
        steps.push(Step::PrivateMounts);
        steps.push(Step::EnterRoot {
            root: Arc::clone(ingredients.root),
            at,
        });
        steps.push(Step::Umask(0));
        steps.append(&mut ingredients.mounts.steps);
        if ingredients.mounts.own_dev {
            steps.extend(system::devices(spec.linux().as_ref()).map_err(PartError::from)?);
        }
        if let Some(number) = ingredients.streams.terminal_number {
            let source = c_string(&format!("/dev/pts/{number}")).map_err(PartError::from)?;
            steps.push(Step::BindFile {
                source,
                target: c"/dev/console".to_owned(),
            });
            steps.push(Step::ControllingTerminal);
        }
        steps.extend(ingredients.files);
        steps.extend(
            system::names(spec, namespaces, ingredients.bare_network).map_err(PartError::from)?,
        );
        steps.push(process::working_directory(oci).map_err(PartError::from)?);
        steps.extend(system::protection(spec).map_err(PartError::from)?);
        let init = ingredients.init.then(own_executable).transpose()?;
        let surroundings = Surroundings {
            user: ingredients.user,
            seccomp: ingredients.seccomp,
            known_capabilities: self.machine.known_capabilities,
            init,
        };
        steps.extend(process::steps(oci, surroundings).map_err(PartError::from)?);
        Ok(steps)
    }

    /// The steps that every process begins with.
    pub(crate) fn first_steps(
        &self,
        oci: &OciProcess,
        streams: &mut Streams,
    ) -> Result<Vec<Step>, PartError> {
        let mut steps = vec![Step::NewSession];
        let score = process::oom_score(oci)?;
        if score.to_bytes() != self.machine.oom_score.as_bytes() {
            steps.push(Step::OomScore(score));
        }
        steps.push(std::mem::replace(&mut streams.step, Step::NewSession));
        Ok(steps)
    }

    /// Sets the limits and device rules of a new group; returns warnings.
    fn limit(&self, cgroup: &Cgroup, linux: &Linux) -> Result<Vec<String>, PartError> {
        let Some(resources) = linux.resources() else {
            return Ok(Vec::new());
        };
        let warnings = limits::apply(cgroup, resources)?;
        if let Some(rules) = resources.devices() {
            let program = self.device_program(devices::program(rules)?)?;
            devices::attach(cgroup.folder(), program.as_fd())?;
        }
        Ok(warnings)
    }
}

/// Refuses what would be silently ignored otherwise.
fn refuse_unsupported(spec: &Spec, linux: &Linux) -> Result<(), RunError> {
    let asked = |is_some, what| {
        if is_some {
            Err(RunError::Unsupported(what))
        } else {
            Ok(())
        }
    };
    asked(spec.hooks().is_some(), "hooks")?;
    asked(
        linux
            .uid_mappings()
            .as_ref()
            .is_some_and(|list| !list.is_empty()),
        "uidMappings",
    )?;
    asked(linux.intel_rdt().is_some(), "intelRdt")
}

/// What the steps of a container are made from.
struct Ingredients<'a> {
    root: &'a Arc<OwnedFd>,
    user: &'a ResolvedUser,
    mounts: &'a mut MountPlan,
    files: Vec<Step>,
    streams: &'a mut Streams,
    seccomp: Option<&'a Filter>,
    init: bool,
    /// Whether the network is made with the process, its loopback interface down.
    bare_network: bool,
}

/// A container, ready to start.
struct Parts {
    steps: Vec<Step>,
    namespaces: Namespaces,
    seccomp: Option<Filter>,
    devpts: Option<Arc<OwnedFd>>,
    streams: Streams,
}

/// The user that a process is to be.
pub(crate) fn resolve_user(
    root: &OwnedFd,
    oci: &OciProcess,
    user: &str,
    groups: &[String],
) -> Result<ResolvedUser, PartError> {
    let request = UserRequest {
        user,
        default: (oci.user().uid(), oci.user().gid()),
        group_ids: oci.user().additional_gids().as_deref().unwrap_or_default(),
        groups,
    };
    Ok(user::resolve(root.as_fd(), request)?)
}

/// The input and output of a process.
pub(crate) fn streams(
    oci: &OciProcess,
    devpts: Option<std::os::fd::BorrowedFd<'_>>,
    request: StreamRequest<'_>,
) -> Result<Streams, IoError> {
    if oci.terminal().unwrap_or(false) {
        Streams::terminal(devpts, request)
    } else {
        Streams::pipes(request)
    }
}

/// An error of a start, as the command's where it is.
fn command_error(error: SpawnError, oci: &OciProcess) -> RunError {
    match (&error, first_argument(oci)) {
        (SpawnError::Execute(errno), Some(command)) => match CommandError::of(*errno, command) {
            Some(error) => error.into(),
            None => RunError::Spawn(error),
        },
        _ => RunError::Spawn(error),
    }
}

/// The command of a process.
pub(crate) fn first_argument(oci: &OciProcess) -> Option<&str> {
    oci.args().as_ref()?.first().map(String::as_str)
}

/// The agent's executable, to be a container's init.
fn own_executable() -> Result<OwnedFd, RunError> {
    let path = Path::new("/proc/self/exe");
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
        RunError::File {
            path: path.to_owned(),
            errno,
        }
    })
}

/// Another descriptor for the same process.
pub(crate) fn clone_descriptor(descriptor: &OwnedFd) -> Result<OwnedFd, IoError> {
    rustix::io::fcntl_dupfd_cloexec(descriptor, 0).map_err(|errno| IoError::Create {
        what: "a descriptor for the process",
        errno,
    })
}
