//! Many commands, many at once, many connections: nothing is used up.

use std::fs;
use std::net::TcpStream;

use dhow_conformance_tests::{ask, eventually, host_port};
use dhow_harness::{BUSYBOX, Home};

/// How many more descriptors a process may hold after fifty containers than after the first: the
/// idle connections and threads that runtimes keep.
const SPARE_DESCRIPTORS: usize = 8;

/// How much more memory, likewise, in KiB: buffers that allocators keep. A leaked container would
/// cost its log and its relays, 64 KiB each at least, fifty times over.
const SPARE_MEMORY_KIB: usize = 16 * 1024;

/// Connections held open at once.
const IDLE_CONNECTIONS: usize = 500;

/// Open descriptors and resident KiB of the daemon and of the device process.
fn held(home: &Home) -> Vec<(usize, usize)> {
    ["bin/dhow daemon", "bin/dhow devices"]
        .iter()
        .flat_map(|word| home.processes_with(word))
        .map(|id| {
            let open = fs::read_dir(format!("/proc/{id}/fd"))
                .expect("it runs")
                .count();
            let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let resident = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            (open, resident.expect("a size in kB"))
        })
        .collect()
}

#[track_caller]
fn assert_no_growth(home: &Home, before: &[(usize, usize)]) {
    // What a finished command held is given back a moment after it ended.
    eventually("descriptors and memory to be given back", || {
        let now = held(home);
        let bounded = before.iter().zip(&now).all(|(before, now)| {
            now.0 <= before.0 + SPARE_DESCRIPTORS && now.1 <= before.1 + SPARE_MEMORY_KIB
        });
        (bounded && now.len() == before.len()).then_some(())
    });
}

#[test]
fn fifty_containers_one_after_the_other_leave_nothing() {
    let home = Home::with_image(BUSYBOX);
    let run = || {
        home.dhow(&["run", "--rm", BUSYBOX, "echo", "hello"])
            .succeed()
    };
    let _ = run();
    let before = held(&home);

    for _ in 0..50 {
        assert_eq!(run().stdout, "hello\n");
    }

    assert_no_growth(&home, &before);
    assert_eq!(home.dhow(&["ps", "-aq"]).succeed().text(), "");
}

#[test]
fn eight_containers_at_once_keep_their_outputs_apart() {
    let home = Home::with_image(BUSYBOX);
    let _ = home.dhow(&["run", "--rm", BUSYBOX, "true"]).succeed();
    let before = held(&home);

    let running: Vec<_> = (1..=8)
        .map(|number| {
            let script = format!("echo {number}; sleep 0.2; echo {number}; exit {number}");
            (
                number,
                home.start(&["run", "--rm", BUSYBOX, "sh", "-c", &script]),
            )
        })
        .collect();

    for (number, command) in running {
        assert_eq!(
            command.wait().exit(number).stdout,
            format!("{number}\n{number}\n")
        );
    }
    assert_no_growth(&home, &before);
}

#[test]
fn five_hundred_idle_connections_harm_nobody() {
    let home = Home::with_image(BUSYBOX);
    let server = ["nc", "-ll", "-p", "7", "-e", "cat"];
    let line = [&[
        "run", "-d", "--name", "web", "-p", "0:80", "-p", "0:7", BUSYBOX,
    ][..]]
    .concat();
    let script = format!("httpd -p 80 -h /etc; exec {}", server.join(" "));
    let _ = home
        .dhow(&[&line[..], &["sh", "-c", &script]].concat())
        .succeed();
    let (web, echo) = (host_port(&home, "web", "80"), host_port(&home, "web", "7"));
    let request = b"GET /hostname HTTP/1.0\r\n\r\n";
    assert!(ask(web, request).is_some());

    let idle: Vec<_> = (0..IDLE_CONNECTIONS)
        .map(|_| TcpStream::connect(("127.0.0.1", echo)).expect("the listener accepts"))
        .collect();
    let answer = ask(web, request);
    let listed = home
        .dhow(&["run", "--rm", BUSYBOX, "echo", "hello"])
        .succeed();
    drop(idle);

    assert!(answer.is_some_and(|answer| answer.contains("200 OK")));
    assert_eq!(listed.text(), "hello");
    assert!(ask(web, request).is_some_and(|answer| answer.contains("200 OK")));
}
