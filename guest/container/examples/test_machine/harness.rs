//! A machine to test on, and containers in three lines.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use dhow_container::{Paths, Process, ProcessIo, RunError, Runtime};
use dhow_protocol::{ExecProcess, LayerRange, NetworkSetup, RunContainer};
use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

/// The layer that stands for the image's files.
pub(crate) const IMAGE: LayerRange = LayerRange {
    offset: 0,
    length: 4096,
};

/// A booted machine.
pub(crate) struct Machine {
    pub(crate) runtime: Runtime,
    pub(crate) layers: Vec<LayerRange>,
}

/// What a process wrote and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: u8,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) oom_killed: bool,
}

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn mount_at(kind: &str, target: &str, data: &str) -> Result<()> {
    std::fs::create_dir_all(target)?;
    mount(Some(kind), target, Some(kind), MsFlags::empty(), Some(data))
        .map_err(|error| format!("mount {kind} at {target}: {error}").into())
}

impl Machine {
    /// Mounts what a machine needs, and starts the runtime.
    pub(crate) fn boot() -> Result<Self> {
        if std::process::id() == 1 {
            dhow_container::make_root_pivotable()?;
            mount_at("proc", "/proc", "")?;
            mount_at("sysfs", "/sys", "")?;
            mount_at("devtmpfs", "/dev", "")?;
            mount_at("cgroup2", "/sys/fs/cgroup", "")?;
            mount_at("tmpfs", "/data", "")?;
            mount_at("tmpfs", "/run", "")?;
        }
        let arguments = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
        let runtime = Runtime::new(Paths::default())?;
        let layers = match arguments
            .split_whitespace()
            .find_map(|word| word.strip_prefix("layers="))
        {
            Some(ranges) => ranges.split(',').map(layer).collect::<Result<_>>()?,
            None => {
                runtime.use_folder_as_layer(IMAGE, Path::new("/image"));
                vec![IMAGE]
            }
        };
        Ok(Self { runtime, layers })
    }

    /// Starts a container.
    pub(crate) fn start(&self, request: &RunContainer) -> std::result::Result<Process, RunError> {
        self.runtime.run(request)
    }

    /// Runs a container to its end, and removes it.
    pub(crate) fn run(&self, request: &RunContainer) -> Result<Output> {
        let process = self.start(request)?;
        let mut output = finish(process)?;
        output.oom_killed = self.runtime.finished(&request.id)?.oom_killed;
        self.runtime.remove(&request.id)?;
        Ok(output)
    }

    /// Runs a further process to its end.
    pub(crate) fn exec(&self, container: &str, process: &Value) -> Result<Output> {
        let request = exec_request(container, "exec1", process);
        let process = self.runtime.exec(&request)?;
        let output = finish(process)?;
        self.runtime.exec_finished(container, &request.exec);
        Ok(output)
    }

    /// A request for a container of the image.
    pub(crate) fn request(&self, id: &str, config: &Value) -> RunContainer {
        RunContainer {
            id: id.to_owned(),
            config_json: config.to_string(),
            user: String::new(),
            additional_groups: vec![],
            layers: self.layers.clone(),
            network: NetworkSetup::Own(Vec::new()),
            hosts: "127.0.0.1\tlocalhost\n".to_owned(),
            resolv_conf: "nameserver 192.0.2.1\n".to_owned(),
            open_stdin: false,
            init: false,
            console_size: None,
            grants: dhow_protocol::Grants::default(),
        }
    }

    /// Runs a shell script in a fresh container with Docker's configuration.
    pub(crate) fn script(&self, script: &str) -> Result<Output> {
        self.run(&self.request("test", &config(&["/bin/sh", "-c", script])))
    }
}

/// A layer as the command line gives it: `offset+length`.
fn layer(range: &str) -> Result<LayerRange> {
    let (offset, length) = range.split_once('+').ok_or("a layer is offset+length")?;
    Ok(LayerRange {
        offset: offset.parse()?,
        length: length.parse()?,
    })
}

/// A request for a further process.
pub(crate) fn exec_request(container: &str, exec: &str, process: &Value) -> ExecProcess {
    ExecProcess {
        container: container.to_owned(),
        exec: exec.to_owned(),
        process_json: process.to_string(),
        user: String::new(),
        additional_groups: vec![],
        open_stdin: false,
        console_size: None,
    }
}

/// Reads a process's output and waits for its end.
pub(crate) fn finish(process: Process) -> Result<Output> {
    let (stdout, stderr) = match process.io {
        ProcessIo::Pipes {
            stdin,
            stdout,
            stderr,
        } => {
            drop(stdin);
            let errors = std::thread::spawn(move || read_all(stderr));
            (read_all(stdout), errors.join().unwrap_or_default())
        }
        ProcessIo::Terminal { master } => (read_all(master), String::new()),
    };
    let exit = process.exit.wait();
    Ok(Output {
        code: exit.code,
        stdout,
        stderr,
        oom_killed: false,
    })
}

/// Reads to the end; a terminal's end is an error.
pub(crate) fn read_all(descriptor: OwnedFd) -> String {
    let mut content = Vec::new();
    let _ended = std::fs::File::from(descriptor).read_to_end(&mut content);
    String::from_utf8_lossy(&content).into_owned()
}

/// An OCI process as Docker makes it.
pub(crate) fn process(arguments: &[&str]) -> Value {
    let capabilities = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETFCAP",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
        "CAP_KILL",
        "CAP_AUDIT_WRITE",
    ];
    json!({
        "terminal": false, "user": {"uid": 0, "gid": 0}, "args": arguments, "cwd": "/",
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "capabilities": {
            "bounding": capabilities, "effective": capabilities, "permitted": capabilities
        },
        "oomScoreAdj": 0, "noNewPrivileges": false
    })
}

/// An OCI configuration as Docker makes it.
pub(crate) fn config(arguments: &[&str]) -> Value {
    json!({
        "ociVersion": "1.2.0", "hostname": "box", "domainname": "", "process": process(arguments),
        "root": {"path": "rootfs", "readonly": false},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
             "options": ["ro", "nosuid", "noexec", "nodev"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]}
        ],
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "network"}, {"type": "uts"},
                           {"type": "pid"}, {"type": "ipc"}, {"type": "cgroup"}],
            "resources": {"devices": [
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "access": "m"},
                {"allow": true, "type": "b", "access": "m"},
                {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
                {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
                {"allow": true, "type": "c", "major": 1, "minor": 7, "access": "rwm"},
                {"allow": true, "type": "c", "major": 1, "minor": 8, "access": "rwm"},
                {"allow": true, "type": "c", "major": 1, "minor": 9, "access": "rwm"},
                {"allow": true, "type": "c", "major": 5, "minor": 0, "access": "rwm"},
                {"allow": true, "type": "c", "major": 5, "minor": 2, "access": "rwm"},
                {"allow": true, "type": "c", "major": 136, "access": "rwm"}
            ]},
            "maskedPaths": ["/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore",
                "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                "/proc/sysrq-trigger"]
        }
    })
}

/// Says a line to whoever reads the console.
#[expect(
    clippy::print_stdout,
    reason = "results leave the machine over its console"
)]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Ends the machine.
pub(crate) fn power_off() -> ! {
    let _never = nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_POWER_OFF);
    std::process::abort()
}
