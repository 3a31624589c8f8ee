//! Sets a container up and starts its first process.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dhow_protocol::{Failure, FailureKind, RunContainer};
use oci_spec::runtime::{Linux, Process as OciProcess, Spec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::cgroup::{Cgroup, CgroupError, DeviceFilterError, LimitError, devices, limits};
use crate::container::{Container, LookupError, Running};
use crate::io::{IoError, StreamRequest, Streams};
use crate::plan::mounts::{self, MountError, MountPlan};
use crate::plan::namespaces::{self, NamespaceError, Namespaces};
use crate::plan::process::{self, Filter, ProcessError, Surroundings};
use crate::plan::system::{self, SystemError};
use crate::plan::{ZeroByte, c_string, capability};
use crate::rootfs::{LayerError, RootError, detached, overlay};
use crate::runtime::{Process, Runtime};
use crate::seccomp::{self, SeccompError};
use crate::spawn::{Plan, SpawnError, Spawned, Step};
use crate::user::{self, ResolvedUser, UserError, UserRequest};

/// Why a container did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It runs already, or its id is none.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The configuration is none.
    #[error("the container's configuration is not a valid OCI config.json")]
    Config(#[source] serde_json::Error),
    /// The configuration lacks a part.
    #[error("the container's configuration has no {0}")]
    Incomplete(&'static str),
    /// One part of the configuration cannot be as asked.
    #[error(transparent)]
    Part(#[from] PartError),
    /// A layer cannot be used.
    #[error("failed to prepare the image's layers")]
    Layer(#[from] LayerError),
    /// The root cannot be mounted.
    #[error("failed to prepare the root file system")]
    Root(#[from] RootError),
    /// A file of the container cannot be written.
    #[error("failed to write {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        errno: Errno,
    },
    /// Its cgroup cannot be made.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Its input and output cannot be made.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The command cannot be executed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The process cannot be made.
    #[error("failed to start the container's process")]
    Spawn(#[source] SpawnError),
}

/// Why one part of a configuration cannot be as asked.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// Its user.
    #[error(transparent)]
    User(#[from] UserError),
    /// Its mounts.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// Its namespaces.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// Its process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Its devices, names or parameters.
    #[error(transparent)]
    System(#[from] SystemError),
    /// Its system call filter.
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
    /// Its resource limits.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// Its device rules.
    #[error(transparent)]
    Device(#[from] DeviceFilterError),
    /// A text of it.
    #[error(transparent)]
    Text(#[from] ZeroByte),
}

/// Why a command cannot be executed, as Docker says it.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It is not in any directory of `PATH`.
    #[error("exec: \"{0}\": executable file not found in $PATH")]
    NotInPath(String),
    /// It is not at its path.
    #[error("exec: \"{0}\": no such file or directory")]
    NoSuchFile(String),
    /// It is there but may not be executed.
    #[error("exec: \"{command}\": {reason}")]
    NotExecutable {
        /// The command.
        command: String,
        /// Why not, as the kernel says it.
        reason: &'static str,
    },
}

impl CommandError {
    /// What the kernel's answer to `execve` means; `None` where the command is not to blame.
    pub(crate) fn of(errno: Errno, command: &str) -> Option<Self> {
        let not_executable = |reason| Self::NotExecutable {
            command: command.to_owned(),
            reason,
        };
        match errno {
            Errno::NOENT | Errno::NOTDIR if command.contains('/') => {
                Some(Self::NoSuchFile(command.to_owned()))
            }
            Errno::NOENT | Errno::NOTDIR => Some(Self::NotInPath(command.to_owned())),
            Errno::ACCESS | Errno::PERM => Some(not_executable("permission denied")),
            Errno::NOEXEC => Some(not_executable("exec format error")),
            Errno::ISDIR => Some(not_executable("is a directory")),
            Errno::TXTBSY => Some(not_executable("text file busy")),
            Errno::LOOP => Some(not_executable("too many levels of symbolic links")),
            Errno::TOOBIG => Some(not_executable("argument list too long")),
            _ => None,
        }
    }

    /// What sort of failure this is.
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Self::NotInPath(_) | Self::NoSuchFile(_) => FailureKind::CommandNotFound,
            Self::NotExecutable { .. } => FailureKind::NotExecutable,
        }
    }
}

impl PartError {
    /// What sort of failure this is: mostly the request's own fault.
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Self::User(UserError::Read { .. })
            | Self::Mount(MountError::Prepare { .. })
            | Self::Limit(LimitError::Write(_))
            | Self::Device(DeviceFilterError::Load(_) | DeviceFilterError::Attach(_)) => {
                FailureKind::Internal
            }
            _ => FailureKind::Invalid,
        }
    }
}

impl RunError {
    /// What sort of failure this is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Lookup(error) => error.kind(),
            Self::Config(_) | Self::Incomplete(_) => FailureKind::Invalid,
            Self::Part(error) => error.kind(),
            Self::Command(error) => error.kind(),
            Self::Io(IoError::NoTerminals) => FailureKind::Invalid,
            Self::Layer(_)
            | Self::Root(_)
            | Self::File { .. }
            | Self::Cgroup(_)
            | Self::Io(_)
            | Self::Spawn(_) => FailureKind::Internal,
        }
    }

    /// The error as the host is told it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        crate::failure(self.kind(), self)
    }
}

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
        let reserved = self.register.reserve(&request.id)?;
        let spec: Spec = serde_json::from_str(&request.config_json).map_err(RunError::Config)?;
        let oci = spec
            .process()
            .as_ref()
            .ok_or(RunError::Incomplete("process"))?;
        let linux = spec.linux().as_ref().ok_or(RunError::Incomplete("linux"))?;
        let folder = Folder::make(self.folder(&request.id))?;
        let layers = self.layers.mount(&request.layers)?;
        let root = Arc::new(overlay::mount(&layers, &folder.path)?);
        let parts = self.parts(request, &spec, &root, &folder.path)?;
        let cgroup = Unused::new(self.cgroups.create(&request.id)?);
        let warnings = self.limit(cgroup.get(), linux)?;

        let ticket = self.reaper.begin();
        let plan = Plan {
            steps: &parts.steps,
            namespaces: parts.namespaces.clone_flags,
            cgroup: cgroup.get().folder(),
            exposed: parts.namespaces.pid.is_some(),
        };
        let joined = parts.namespaces.pid.as_ref().map(AsFd::as_fd);
        let spawned = self
            .spawn(&plan, joined)
            .map_err(|error| command_error(error, oci))?;
        let pidfd = Arc::new(spawned.pidfd);
        let exit = ticket.register(spawned.pid);
        let own_pidfd = clone_descriptor(&pidfd)?;
        reserved.fill(Container::new(
            Running {
                pidfd,
                terminal: parts.streams.terminal,
            },
            spawned.pid,
            exit.clone(),
            root,
            parts.devpts,
            cgroup.keep(),
            parts.seccomp,
            capability::may_trace(oci.capabilities().as_ref()),
        ));
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
        steps.extend(system::names(spec, namespaces).map_err(PartError::from)?);
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

/// What the steps of a container are made from.
struct Ingredients<'a> {
    root: &'a Arc<OwnedFd>,
    user: &'a ResolvedUser,
    mounts: &'a mut MountPlan,
    files: Vec<Step>,
    streams: &'a mut Streams,
    seccomp: Option<&'a Filter>,
    init: bool,
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

/// Files that are the container's own, whatever the image has there.
fn etc_files(request: &RunContainer, spec: &Spec, folder: &Path) -> Result<Vec<Step>, RunError> {
    let hostname = spec.hostname().as_ref().map(|name| format!("{name}\n"));
    let files = [
        ("hosts", "/etc/hosts", Some(request.hosts.as_str())),
        (
            "resolv.conf",
            "/etc/resolv.conf",
            Some(request.resolv_conf.as_str()),
        ),
        ("hostname", "/etc/hostname", hostname.as_deref()),
    ];
    let taken = |target: &str| {
        let mounts = spec.mounts().iter().flatten();
        mounts
            .into_iter()
            .any(|mount| mount.destination() == Path::new(target))
    };
    let mut steps = Vec::new();
    for (name, target, content) in files {
        let Some(content) = content.filter(|content| !content.is_empty() && !taken(target)) else {
            continue;
        };
        let path = folder.join(name);
        let error = |errno| RunError::File {
            path: path.clone(),
            errno,
        };
        write_file(&path, content.as_bytes()).map_err(error)?;
        let tree = Arc::new(detached::copy(&path, false).map_err(error)?);
        let target = c_string(target).map_err(PartError::from)?;
        steps.push(Step::Attach {
            tree,
            target,
            directory: false,
        });
    }
    Ok(steps)
}

fn write_file(path: &Path, content: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o644))?;
    std::io::Write::write_all(&mut std::fs::File::from(file), content)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
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

/// A container's directory, deleted with the value if it is new and not kept.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    is_new: bool,
}

impl Folder {
    fn make(path: PathBuf) -> Result<Self, RunError> {
        let is_new = match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o700)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(RunError::File { path, errno }),
        };
        Ok(Self { path, is_new })
    }

    fn keep(mut self) {
        self.is_new = false;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_new {
            let _removed = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// A group that is deleted with the value unless kept.
#[derive(Debug)]
struct Unused(Option<Cgroup>);

impl Unused {
    fn new(cgroup: Cgroup) -> Self {
        Self(Some(cgroup))
    }

    fn get(&self) -> &Cgroup {
        self.0
            .as_ref()
            .expect("only keep takes the group, and takes self too")
    }

    fn keep(mut self) -> Cgroup {
        self.0
            .take()
            .expect("only keep takes the group, and takes self too")
    }
}

impl Drop for Unused {
    fn drop(&mut self) {
        if let Some(cgroup) = &self.0 {
            let _deleted = cgroup.delete();
        }
    }
}
