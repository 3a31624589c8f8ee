//! What a process is and may do.

use std::io::{Read, Write};
use std::os::fd::AsFd;

use dhow_container::ProcessIo;
use dhow_protocol::{ConsoleSize, FailureKind, Resize, Signal};
use serde_json::json;

use super::{Scenario, check, prints};
use crate::harness::{Machine, Output, Result, config, exec_request, finish, process};

pub(crate) const ALL: &[Scenario] = &[
    ("hands on output, errors and the exit code", output),
    ("reads standard input", input),
    ("is the user that was asked for", named_user),
    ("is a user by number", numbered_user),
    ("refuses an unknown user", unknown_user),
    ("has Docker's capabilities", capabilities),
    ("has no capabilities as a user", user_capabilities),
    (
        "cannot gain privileges where that is forbidden",
        no_new_privileges,
    ),
    ("has its limits, umask and badness", limits),
    ("tells a missing command", missing_command),
    ("tells a command that cannot be executed", not_executable),
    ("has a terminal", terminal),
    ("resizes a terminal", resize),
    ("obeys its seccomp profile", seccomp),
    ("executes further processes", exec),
    ("executes as another user", exec_user),
    ("tells a missing command of an exec", exec_missing),
    ("executes with a terminal", exec_terminal),
    ("executes where processes may trace", exec_traced),
    ("keeps seccomp for execs", exec_seccomp),
    ("has a tiny init where asked", tiny_init),
    ("tells a missing command through the init", init_missing),
    (
        "starts with default signals and no descriptors",
        clean_start,
    ),
];

fn output(machine: &Machine) -> Result<()> {
    let output = machine.script("echo out; echo err >&2; exit 7")?;
    let expected = (7, "out\n", "err\n");
    check(
        "output",
        (output.code, &*output.stdout, &*output.stderr) == expected,
        &output,
    )
}

fn input(machine: &Machine) -> Result<()> {
    let mut request = machine.request("test", &config(&["/bin/cat"]));
    request.open_stdin = true;
    let mut process = machine.start(&request)?;
    if let ProcessIo::Pipes { stdin, .. } = &mut process.io {
        std::fs::File::from(stdin.take().ok_or("stdin")?).write_all(b"through\n")?;
    }
    let output = finish(process)?;
    machine.runtime.finished("test")?;
    machine.runtime.remove("test")?;
    prints(&output, "through")
}

fn as_user(machine: &Machine, user: &str, script: &str) -> Result<Output> {
    let mut request = machine.request("test", &config(&["/bin/sh", "-c", script]));
    request.user = user.to_owned();
    machine.run(&request)
}

fn named_user(machine: &Machine) -> Result<()> {
    let script = "id -u; id -G; echo $HOME; echo x >/dev/stderr; cat /root/x 2>/dev/null; pwd";
    prints(
        &as_user(machine, "app", script)?,
        "1000\n1000 29\n/home/app\n/",
    )
}

fn numbered_user(machine: &Machine) -> Result<()> {
    prints(
        &as_user(machine, "4711:29", "id -u; id -g; echo $HOME")?,
        "4711\n29\n/",
    )
}

fn unknown_user(machine: &Machine) -> Result<()> {
    let mut request = machine.request("test", &config(&["/bin/true"]));
    request.user = "nemo".to_owned();
    let failure = machine.start(&request).err().ok_or("it started")?.failure();
    let expected = "unable to find user nemo: no matching entries in passwd file";
    check(
        "told",
        failure.kind == FailureKind::Invalid && failure.message == expected,
        &failure,
    )
}

fn capabilities(machine: &Machine) -> Result<()> {
    let output = machine.script("grep Cap /proc/self/status | cut -f2")?;
    prints(
        &output,
        "0000000000000000\n00000000a80425fb\n00000000a80425fb\n00000000a80425fb\n0000000000000000",
    )
}

fn user_capabilities(machine: &Machine) -> Result<()> {
    let output = as_user(
        machine,
        "app",
        "grep 'CapEff\\|CapPrm' /proc/self/status | cut -f2",
    )?;
    prints(&output, "0000000000000000\n0000000000000000")
}

fn no_new_privileges(machine: &Machine) -> Result<()> {
    let mut config = config(&["/bin/grep", "NoNewPrivs", "/proc/self/status"]);
    config["process"]["noNewPrivileges"] = json!(true);
    prints(
        &machine.run(&machine.request("test", &config))?,
        "NoNewPrivs:\t1",
    )
}

fn limits(machine: &Machine) -> Result<()> {
    let script = "ulimit -n; ulimit -Hn; umask; cat /proc/self/oom_score_adj";
    let mut config = config(&["/bin/sh", "-c", script]);
    config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 456}]);
    config["process"]["oomScoreAdj"] = json!(500);
    prints(
        &machine.run(&machine.request("test", &config))?,
        "123\n456\n0022\n500",
    )
}

fn start_failure(machine: &Machine, command: &str) -> Result<dhow_protocol::Failure> {
    let request = machine.request("test", &config(&[command]));
    Ok(machine.start(&request).err().ok_or("it started")?.failure())
}

fn missing_command(machine: &Machine) -> Result<()> {
    let failure = start_failure(machine, "nope")?;
    let expected = "exec: \"nope\": executable file not found in $PATH";
    check("told", failure.message == expected, &failure)?;
    check(
        "kind",
        failure.kind == FailureKind::CommandNotFound,
        &failure,
    )?;
    let failure = start_failure(machine, "/no/pe")?;
    check(
        "told",
        failure.message == "exec: \"/no/pe\": no such file or directory",
        &failure,
    )
}

fn not_executable(machine: &Machine) -> Result<()> {
    let failure = start_failure(machine, "notexec")?;
    let expected = "exec: \"notexec\": permission denied";
    check("told", failure.message == expected, &failure)?;
    check("kind", failure.kind == FailureKind::NotExecutable, &failure)?;
    let failure = start_failure(machine, "/etc")?;
    check("kind", failure.kind == FailureKind::NotExecutable, &failure)
}

/// Docker's size for a terminal in a test.
const SIZE: ConsoleSize = ConsoleSize {
    rows: 33,
    columns: 111,
};

fn terminal(machine: &Machine) -> Result<()> {
    let script = "tty; stty size; echo >/dev/tty; stat -c %t /dev/console";
    let mut config = config(&["/bin/sh", "-c", script]);
    config["process"]["terminal"] = json!(true);
    let mut request = machine.request("test", &config);
    request.console_size = Some(SIZE);
    request.user = "app".to_owned();
    let output = machine.run(&request)?;
    prints(&output, "/dev/pts/0\r\n33 111\r\n\r\n88")
}

fn resize(machine: &Machine) -> Result<()> {
    let mut config = config(&[
        "/bin/sh",
        "-c",
        "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.1; done",
    ]);
    config["process"]["terminal"] = json!(true);
    let process = machine.start(&machine.request("test", &config))?;
    let ProcessIo::Terminal { master } = process.io else {
        return Err("no terminal".into());
    };
    let mut file = std::fs::File::from(master);
    let mut ready = [0; 7];
    file.read_exact(&mut ready)?;
    let size = ConsoleSize {
        rows: 5,
        columns: 6,
    };
    machine.runtime.resize(&Resize {
        container: "test".to_owned(),
        exec: None,
        size,
    })?;
    let rest = crate::harness::read_all(file.as_fd().try_clone_to_owned()?);
    let _exit = process.exit.wait();
    machine.runtime.finished("test")?;
    machine.runtime.remove("test")?;
    check("size", rest.trim() == "5 6", &rest)
}

fn with_seccomp(arguments: &[&str]) -> serde_json::Value {
    let mut config = config(arguments);
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
            {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 97,
             "args": [{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]}]});
    config
}

fn seccomp(machine: &Machine) -> Result<()> {
    let script = "mkdir /x; grep Seccomp: /proc/self/status; ping -c 1 127.0.0.1";
    let output =
        machine.run(&machine.request("test", &with_seccomp(&["/bin/sh", "-c", script])))?;
    check(
        "mkdir",
        output.stderr.contains("Operation not supported"),
        &output,
    )?;
    check(
        "socket",
        output.stderr.contains("not supported by protocol"),
        &output,
    )?;
    check("mode", output.stdout.contains("Seccomp:\t2"), &output)
}

/// Runs `body` while a container sleeps.
fn beside(
    machine: &Machine,
    config: &serde_json::Value,
    body: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let process = machine.start(&machine.request("test", config))?;
    let result = body();
    let container = "test".to_owned();
    machine.runtime.signal(&Signal {
        container,
        exec: None,
        signal: 9,
        all: false,
    })?;
    let exit = process.exit.wait();
    machine.runtime.finished("test")?;
    machine.runtime.remove("test")?;
    result.and_then(|()| check("killed", exit.code == 137, &exit))
}

fn exec(machine: &Machine) -> Result<()> {
    beside(machine, &config(&["/bin/sleep", "1000"]), || {
        let script = "hostname; cat /proc/self/cgroup; cat /proc/1/comm; [ $$ -gt 1 ] && pwd; \
                      cat /etc/hosts; grep Cap /proc/self/status | cut -f2 | tail -2; exit 3";
        let mut process = process(&["sh", "-c", script]);
        process["cwd"] = json!("/made/for/exec");
        let output = machine.exec("test", &process)?;
        let expected = "box\n0::/\nsleep\n/made/for/exec\n127.0.0.1\tlocalhost\n\
                        00000000a80425fb\n0000000000000000\n";
        check(
            "inside",
            output.code == 3 && output.stdout == expected,
            &output,
        )
    })
}

fn exec_user(machine: &Machine) -> Result<()> {
    beside(machine, &config(&["/bin/sleep", "1000"]), || {
        let mut request = exec_request("test", "e", &process(&["id", "-un"]));
        request.user = "app".to_owned();
        let output = finish(machine.runtime.exec(&request)?)?;
        machine.runtime.exec_finished("test", "e");
        prints(&output, "app")
    })
}

fn exec_missing(machine: &Machine) -> Result<()> {
    beside(machine, &config(&["/bin/sleep", "1000"]), || {
        let request = exec_request("test", "e", &process(&["nope"]));
        let failure = machine
            .runtime
            .exec(&request)
            .err()
            .ok_or("it started")?
            .failure();
        check(
            "kind",
            failure.kind == FailureKind::CommandNotFound,
            &failure,
        )?;
        let request = exec_request("other", "e", &process(&["true"]));
        let failure = machine
            .runtime
            .exec(&request)
            .err()
            .ok_or("it started")?
            .failure();
        check("kind", failure.kind == FailureKind::NotFound, &failure)
    })
}

fn exec_terminal(machine: &Machine) -> Result<()> {
    beside(machine, &config(&["/bin/sleep", "1000"]), || {
        let mut process = process(&["sh", "-c", "tty; stty size; echo >/dev/tty"]);
        process["terminal"] = json!(true);
        let mut request = exec_request("test", "e", &process);
        request.console_size = Some(SIZE);
        let output = finish(machine.runtime.exec(&request)?)?;
        machine.runtime.exec_finished("test", "e");
        prints(&output, "/dev/pts/0\r\n33 111")
    })
}

fn exec_traced(machine: &Machine) -> Result<()> {
    let mut config = config(&["/bin/sleep", "1000"]);
    for set in ["bounding", "effective", "permitted"] {
        let set = config["process"]["capabilities"][set]
            .as_array_mut()
            .ok_or("set")?;
        set.push(json!("CAP_SYS_PTRACE"));
    }
    beside(machine, &config, || {
        prints(&machine.exec("test", &process(&["hostname"]))?, "box")?;
        let request = exec_request("test", "e", &process(&["nope"]));
        let failure = machine
            .runtime
            .exec(&request)
            .err()
            .ok_or("it started")?
            .failure();
        check(
            "kind",
            failure.kind == FailureKind::CommandNotFound,
            &failure,
        )
    })
}

fn exec_seccomp(machine: &Machine) -> Result<()> {
    beside(machine, &with_seccomp(&["/bin/sleep", "1000"]), || {
        let output = machine.exec("test", &process(&["mkdir", "/x"]))?;
        check(
            "mkdir",
            output.stderr.contains("Operation not supported"),
            &output,
        )
    })
}

fn tiny_init(machine: &Machine) -> Result<()> {
    let script = "(sleep 0.1 &) ; sleep 0.4; grep -l 'State:.Z' /proc/*/status | wc -l; [ $$ -gt 1 ] && exit 9";
    let mut request = machine.request("test", &config(&["sh", "-c", script]));
    request.init = true;
    let output = machine.run(&request)?;
    check(
        "reaped",
        output.code == 9 && output.stdout == "0\n",
        &output,
    )?;
    let mut request = machine.request("test", &config(&["sleep", "1000"]));
    request.init = true;
    let process = machine.start(&request)?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    let container = "test".to_owned();
    machine.runtime.signal(&Signal {
        container,
        exec: None,
        signal: 15,
        all: false,
    })?;
    let exit = process.exit.wait();
    machine.runtime.finished("test")?;
    machine.runtime.remove("test")?;
    check("passed on", exit.code == 143, &exit)
}

fn init_missing(machine: &Machine) -> Result<()> {
    let mut request = machine.request("test", &config(&["nope"]));
    request.init = true;
    let output = machine.run(&request)?;
    check(
        "told",
        output.code == 127 && output.stderr.contains("nope"),
        &output,
    )
}

fn clean_start(machine: &Machine) -> Result<()> {
    let script = "grep 'SigBlk\\|SigIgn' /proc/self/status | cut -f2; ls /proc/self/fd | wc -l";
    // `ls` has its three and the directory it reads.
    prints(
        &machine.script(script)?,
        "0000000000000000\n0000000000000000\n4",
    )
}
