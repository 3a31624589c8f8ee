//! Start, stop, start again; many at once; the end of everything.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use dhow_container::Runtime;
use dhow_protocol::{FailureKind, Signal};

use super::{Scenario, check, prints};
use crate::harness::{Machine, Result, config, exec_request, finish, process};

pub(crate) const ALL: &[Scenario] = &[
    ("keeps what was written until it is removed", keeps_writes),
    ("refuses to run or remove what runs", conflicts),
    ("tells a death by signal", signals),
    ("lets a process handle its signals", handled_signal),
    ("signals every process", signal_all),
    ("pauses and goes on", pause),
    ("lets the agent into its network", network),
    ("kills what its first process left behind", leftovers),
    ("starts many at once", many),
    ("executes many at once", many_execs),
    ("leaves nothing when a start fails late", late_failure),
    ("refuses bad configurations", bad_configurations),
    ("ends everything at shutdown", shutdown),
];

fn end(machine: &Machine, container: &str) -> Result<()> {
    machine.runtime.finished(container)?;
    machine.runtime.remove(container)?;
    Ok(())
}

fn send(machine: &Machine, signal: i32, all: bool) -> Result<()> {
    let container = "test".to_owned();
    Ok(machine.runtime.signal(&Signal {
        container,
        exec: None,
        signal,
        all,
    })?)
}

fn keeps_writes(machine: &Machine) -> Result<()> {
    let script = "cat /kept 2>/dev/null; echo kept >/kept";
    let request = machine.request("test", &config(&["/bin/sh", "-c", script]));
    let first = finish(machine.start(&request)?)?;
    machine.runtime.finished("test")?;
    let second = finish(machine.start(&request)?)?;
    end(machine, "test")?;
    let third = machine.run(&request)?;
    let outputs = [first.stdout, second.stdout, third.stdout];
    check("kept", outputs == ["", "kept\n", ""], &outputs)
}

fn conflicts(machine: &Machine) -> Result<()> {
    let request = machine.request("test", &config(&["/bin/sleep", "1000"]));
    let process = machine.start(&request)?;
    let again = machine
        .start(&request)
        .err()
        .ok_or("it started twice")?
        .failure();
    let removed = machine
        .runtime
        .remove("test")
        .err()
        .ok_or("it was removed")?
        .failure();
    send(machine, 9, false)?;
    let _exit = process.exit.wait();
    end(machine, "test")?;
    let kinds = (again.kind, removed.kind);
    check(
        "conflict",
        kinds == (FailureKind::Conflict, FailureKind::Conflict),
        &kinds,
    )
}

fn signals(machine: &Machine) -> Result<()> {
    let output = machine.script("(kill -SEGV $BASHPID; :) & sh -c 'kill -TERM $$'; echo $?")?;
    check("143", output.stdout.trim_end().ends_with("143"), &output)?;
    let process = machine.start(&machine.request("test", &config(&["/bin/sleep", "1000"])))?;
    // Process 1 of a pid namespace ignores what it does not handle.
    send(machine, 15, false)?;
    let still = process
        .exit
        .wait_until(Instant::now() + Duration::from_millis(100));
    send(machine, 9, false)?;
    let exit = process.exit.wait();
    end(machine, "test")?;
    check(
        "only SIGKILL",
        still.is_none() && exit.code == 137,
        &(still, exit),
    )
}

fn handled_signal(machine: &Machine) -> Result<()> {
    let script = "trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.05; done";
    let process = machine.start(&machine.request("test", &config(&["/bin/sh", "-c", script])))?;
    std::thread::sleep(Duration::from_millis(300));
    send(machine, 15, false)?;
    let output = finish(process)?;
    end(machine, "test")?;
    check(
        "handled",
        output.code == 4 && output.stdout == "ready\nbye\n",
        &output,
    )
}

fn signal_all(machine: &Machine) -> Result<()> {
    let script = "trap : TERM; sleep 1000 & wait $!; wait $!; echo $?";
    let process = machine.start(&machine.request("test", &config(&["/bin/sh", "-c", script])))?;
    std::thread::sleep(Duration::from_millis(300));
    send(machine, 15, true)?;
    let output = finish(process)?;
    end(machine, "test")?;
    prints(&output, "143")
}

fn pause(machine: &Machine) -> Result<()> {
    let script = "while :; do echo x; sleep 0.02; done";
    let process = machine.start(&machine.request("test", &config(&["/bin/sh", "-c", script])))?;
    machine.runtime.pause("test", true)?;
    let again = machine
        .runtime
        .pause("test", true)
        .err()
        .ok_or("paused twice")?
        .failure();
    let exec = exec_request("test", "e", &crate::harness::process(&["true"]));
    let exec = machine
        .runtime
        .exec(&exec)
        .err()
        .ok_or("executed")?
        .failure();
    machine.runtime.pause("test", false)?;
    machine.runtime.pause("test", true)?;
    send(machine, 9, false)?;
    let exit = process.exit.wait();
    end(machine, "test")?;
    let kinds = (again.kind, exec.kind);
    check(
        "conflict",
        kinds == (FailureKind::Conflict, FailureKind::Conflict),
        &kinds,
    )?;
    check("killed while frozen", exit.code == 137, &exit)
}

fn network(machine: &Machine) -> Result<()> {
    let server = ["/bin/sh", "-c", "echo served | nc -l -p 80"];
    let process = machine.start(&machine.request("test", &config(&server)))?;
    let namespace = machine.runtime.network_namespace("test")?;
    let client = std::thread::spawn(move || -> Result<String> {
        Runtime::enter_network(&namespace)?;
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut content = String::new();
        loop {
            match TcpStream::connect(("127.0.0.1", 80)) {
                Ok(mut stream) => {
                    stream.read_to_string(&mut content)?;
                    return Ok(content);
                }
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_not_yet) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    });
    let content = client.join().map_err(|_panic| "the client panicked")??;
    let _exit = process.exit.wait();
    let gone = machine.runtime.network_namespace("test").is_err();
    end(machine, "test")?;
    check("served", content == "served\n" && gone, &(content, gone))
}

fn leftovers(machine: &Machine) -> Result<()> {
    let process = machine.start(&machine.request("test", &config(&["/bin/sleep", "0.5"])))?;
    let daemon = process_that_stays(machine)?;
    let _exit = process.exit.wait();
    let exit = daemon.wait();
    end(machine, "test")?;
    check("killed", exit.code == 137, &exit)
}

fn process_that_stays(machine: &Machine) -> Result<dhow_container::ExitWatch> {
    let request = exec_request("test", "stays", &process(&["sleep", "1000"]));
    Ok(machine.runtime.exec(&request)?.exit)
}

fn many(machine: &Machine) -> Result<()> {
    const COUNT: usize = 24;
    let codes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..COUNT)
            .map(|number| {
                scope.spawn(move || {
                    let arguments = ["/bin/sh", "-c", &format!("exit {number}")].map(str::to_owned);
                    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                    let request = machine.request(&format!("many{number}"), &config(&arguments));
                    machine.run(&request).map(|output| usize::from(output.code))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no thread panics"))
            .collect()
    });
    for (number, code) in codes.into_iter().enumerate() {
        check("code", code? == number, &number)?;
    }
    Ok(())
}

fn many_execs(machine: &Machine) -> Result<()> {
    const COUNT: u8 = 24;
    let main = machine.start(&machine.request("test", &config(&["/bin/sleep", "1000"])))?;
    let codes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..COUNT)
            .map(|number| {
                scope.spawn(move || -> Result<u8> {
                    let process = process(&["/bin/sh", "-c", &format!("exit {number}")]);
                    let request = exec_request("test", &format!("e{number}"), &process);
                    Ok(finish(machine.runtime.exec(&request)?)?.code)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no thread panics"))
            .collect()
    });
    send(machine, 9, false)?;
    let _exit = main.exit.wait();
    end(machine, "test")?;
    for (number, code) in (0..COUNT).zip(codes) {
        check("code", code? == number, &number)?;
    }
    Ok(())
}

fn late_failure(machine: &Machine) -> Result<()> {
    let mut config = config(&["/bin/true"]);
    let mounts = config["mounts"].as_array_mut().ok_or("mounts")?;
    mounts.push(serde_json::json!({"destination": "/x", "type": "nosuchfs", "source": "x"}));
    let failure = machine
        .start(&machine.request("test", &config))
        .err()
        .ok_or("started")?;
    let message = failure.failure().message;
    let expected = "failed to start the container's process: failed to mount nosuchfs at /x: ";
    check("told", message.starts_with(expected), &message)
}

fn bad_configurations(machine: &Machine) -> Result<()> {
    let request = |json: &str| {
        let mut request = machine.request("test", &config(&["/bin/true"]));
        request.config_json = json.to_owned();
        request
    };
    for json in [
        "",
        "{}",
        "[]",
        r#"{"ociVersion":"1.0.0","process":{"cwd":"/","user":{}}}"#,
    ] {
        let failure = machine.start(&request(json)).err().ok_or("it started")?;
        check(
            "kind",
            failure.kind() == FailureKind::Invalid,
            &failure.failure(),
        )?;
    }
    let mut bad_id = request("{}");
    "../x".clone_into(&mut bad_id.id);
    let failure = machine.start(&bad_id).err().ok_or("it started")?;
    check(
        "kind",
        failure.kind() == FailureKind::Invalid,
        &failure.failure(),
    )
}

fn shutdown(machine: &Machine) -> Result<()> {
    let polite = [
        "/bin/sh",
        "-c",
        "trap 'exit 3' TERM; while :; do sleep 0.05; done",
    ];
    let polite = machine.start(&machine.request("polite", &config(&polite)))?;
    let deaf = machine.start(&machine.request("deaf", &config(&["/bin/sleep", "1000"])))?;
    std::thread::sleep(Duration::from_millis(300));
    machine.runtime.shutdown(Duration::from_millis(500))?;
    let codes = (polite.exit.wait().code, deaf.exit.wait().code);
    end(machine, "polite")?;
    end(machine, "deaf")?;
    check("codes", codes == (3, 137), &codes)
}
