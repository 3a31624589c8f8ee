//! What a container sees.

use serde_json::json;

use super::{Scenario, check, prints};
use crate::harness::{Machine, Result, config};

pub(crate) const ALL: &[Scenario] = &[
    ("is process 1 of its own", is_process_one),
    ("has its own host name", host_name),
    ("sees no mount of the machine", mounts),
    ("has Docker's devices and links", devices),
    ("may not open other devices", device_rules),
    ("cannot read what is masked", masked),
    ("cannot write kernel parameters", read_only_paths),
    ("sees its own cgroup only", cgroup_view),
    ("has its own hosts, resolv.conf and hostname", etc_files),
    ("has a loopback interface that works", loopback),
    ("has a sysctl of its own network", sysctl),
    ("refuses a sysctl of the machine", machine_sysctl),
    ("may have a read-only root", read_only_root),
    ("sees bind mounts, read-only where asked", bind_mounts),
    ("cannot leave its root", cannot_leave),
    ("sees the image's root mode and owner", root_mode),
    ("has an extra device", extra_device),
    ("sees the highest layer's files first", layers),
];

fn is_process_one(machine: &Machine) -> Result<()> {
    prints(
        &machine.script("echo $$; ls -d /proc/[0-9]* | head -1")?,
        "1\n/proc/1",
    )
}

fn host_name(machine: &Machine) -> Result<()> {
    prints(&machine.script("hostname")?, "box")?;
    let own = nix::unistd::gethostname()?;
    check("the machine's name", own != "box", &own)
}

fn mounts(machine: &Machine) -> Result<()> {
    let output =
        machine.script("cut -d' ' -f2 /proc/self/mounts | grep -v '^/proc/\\|^/sys/' | sort")?;
    let expected = "/\n/dev\n/dev/mqueue\n/dev/pts\n/dev/shm\n/etc/hostname\n/etc/hosts\n\
                    /etc/resolv.conf\n/proc\n/sys";
    prints(&output, expected)
}

fn devices(machine: &Machine) -> Result<()> {
    let script = "echo x >/dev/null && head -c 3 /dev/zero | wc -c; readlink /dev/stdin; \
                  stat -c '%a %t:%T' /dev/tty; readlink /dev/ptmx; echo via >/dev/stdout";
    prints(
        &machine.script(script)?,
        "3\n/proc/self/fd/0\n666 5:0\npts/ptmx\nvia",
    )
}

fn device_rules(machine: &Machine) -> Result<()> {
    let output = machine.script("mknod /tmp/kmsg c 1 11 && cat /tmp/kmsg")?;
    check(
        "denied",
        output.code != 0 && output.stderr.contains("not permitted"),
        &output,
    )
}

fn masked(machine: &Machine) -> Result<()> {
    prints(
        &machine.script("cat /proc/interrupts /proc/keys 2>/dev/null | wc -c")?,
        "0",
    )
}

fn read_only_paths(machine: &Machine) -> Result<()> {
    let output = machine.script("echo 1 >/proc/sys/kernel/panic")?;
    check(
        "refused",
        output.stderr.contains("Read-only file system"),
        &output,
    )?;
    let output = machine.script("echo 1 >/sys/kernel/profiling || mkdir /sys/fs/cgroup/x")?;
    check("refused", output.code != 0, &output)
}

fn cgroup_view(machine: &Machine) -> Result<()> {
    let script = "cat /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs | head -1";
    prints(&machine.script(script)?, "0::/\n1")
}

fn etc_files(machine: &Machine) -> Result<()> {
    let output = machine.script("cat /etc/hosts /etc/resolv.conf /etc/hostname")?;
    prints(&output, "127.0.0.1\tlocalhost\nnameserver 192.0.2.1\nbox")
}

fn loopback(machine: &Machine) -> Result<()> {
    let script = "echo hi | nc -l -p 99 & sleep 0.2; nc 127.0.0.1 99 </dev/null";
    prints(&machine.script(script)?, "hi")
}

fn sysctl(machine: &Machine) -> Result<()> {
    let mut config = config(&["/bin/cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"]);
    config["linux"]["sysctl"] = json!({"net.ipv4.ip_unprivileged_port_start": "77"});
    prints(&machine.run(&machine.request("test", &config))?, "77")
}

fn machine_sysctl(machine: &Machine) -> Result<()> {
    let mut config = config(&["/bin/true"]);
    config["linux"]["sysctl"] = json!({"kernel.panic": "77"});
    let error = machine
        .start(&machine.request("test", &config))
        .err()
        .ok_or("it started")?;
    check(
        "invalid",
        error.kind() == dhow_protocol::FailureKind::Invalid,
        &error.failure(),
    )
}

fn read_only_root(machine: &Machine) -> Result<()> {
    let mut config = config(&["/bin/sh", "-c", "pwd; touch /x"]);
    config["root"]["readonly"] = json!(true);
    config["process"]["cwd"] = json!("/new/folder");
    let output = machine.run(&machine.request("test", &config))?;
    check(
        "refused",
        output.stderr.contains("Read-only file system"),
        &output,
    )?;
    check("folder made", output.stdout == "/new/folder\n", &output)
}

fn bind_mounts(machine: &Machine) -> Result<()> {
    std::fs::create_dir_all("/data/volume")?;
    std::fs::write("/data/volume/file", "content\n")?;
    let script = "cat /v/file /deep/er/file; echo more >/v/new; echo no >/deep/er/file";
    let mut config = config(&["/bin/sh", "-c", script]);
    let mounts = config["mounts"].as_array_mut().ok_or("mounts")?;
    mounts.push(
        json!({"destination": "/v", "type": "bind", "source": "/data/volume",
                       "options": ["rbind", "rprivate"]}),
    );
    mounts.push(json!({"destination": "/deep/er/file", "type": "bind",
                       "source": "/data/volume/file", "options": ["rbind", "ro"]}));
    let output = machine.run(&machine.request("test", &config))?;
    check("read", output.stdout == "content\ncontent\n", &output)?;
    check(
        "read-only",
        output.stderr.contains("Read-only file system"),
        &output,
    )?;
    let new = std::fs::read_to_string("/data/volume/new")?;
    std::fs::remove_dir_all("/data/volume")?;
    check("written", new == "more\n", &new)
}

fn cannot_leave(machine: &Machine) -> Result<()> {
    // The classic way out of a chroot: CAP_SYS_CHROOT is among Docker's capabilities.
    let script = "mkdir /tmp/jail; cd /; chroot /tmp/jail /bin/true 2>/dev/null; \
                  cd ../../../..; ls -d bin data 2>/dev/null; ls /proc/1/root | grep -c data";
    let output = machine.script(script)?;
    check("still inside", output.stdout.trim() == "bin\n0", &output)
}

fn root_mode(machine: &Machine) -> Result<()> {
    prints(&machine.script("stat -c '%a %u:%g' /")?, "755 0:0")
}

fn extra_device(machine: &Machine) -> Result<()> {
    let mut config = config(&[
        "/bin/sh",
        "-c",
        "stat -c '%a %t:%T %g' /dev/net/tun; cat /dev/kmsg | true",
    ]);
    config["linux"]["devices"] = json!([
        {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 432,
         "uid": 0, "gid": 29}]);
    prints(
        &machine.run(&machine.request("test", &config))?,
        "660 a:c8 29",
    )
}

/// Each test layer has an `/etc/which` with its place from below; a folder in their place has none.
fn layers(machine: &Machine) -> Result<()> {
    let output =
        machine.script("cat /etc/which 2>/dev/null || echo 1; touch /new; ls -d /bin/sh")?;
    prints(&output, &format!("{}\n/bin/sh", machine.layers.len()))
}
