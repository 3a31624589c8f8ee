//! `dhow run` and what it leaves: output, exit codes, and nothing behind when it is interrupted.

mod fake_daemon;

use std::process::Stdio;

use fake_daemon::{Answer, Answers, FakeDaemon};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const CREATED: (&str, Answer) = (
    "POST /v1.44/containers/create",
    Answer::Json("201 Created", "{\"Id\":\"c0ffee\",\"Warnings\":[]}"),
);
const ATTACHED: (&str, Answer) = (
    "POST /v1.44/containers/c0ffee/attach",
    Answer::Stream(b"\x01\0\0\0\0\0\0\x04out\n\x02\0\0\0\0\0\0\x04err\n"),
);
const WAITED: (&str, Answer) = (
    "POST /v1.44/containers/c0ffee/wait",
    Answer::Json("200 OK", "{\"StatusCode\":7}"),
);
const STARTED: (&str, Answer) = (
    "POST /v1.44/containers/c0ffee/start",
    Answer::Json("204 No Content", ""),
);
const REMOVED: (&str, Answer) = (
    "DELETE /v1.44/containers/c0ffee",
    Answer::Json("204 No Content", ""),
);

const GOES_WELL: Answers = &[CREATED, ATTACHED, WAITED, STARTED];

#[test]
fn output_is_split_and_the_exit_code_passes_through() {
    let daemon = FakeDaemon::start(GOES_WELL);
    let output = daemon
        .dhow(&["run", "busybox", "sh"])
        .output()
        .expect("dhow runs");
    assert_eq!(output.stdout, b"out\n");
    assert_eq!(output.stderr, b"err\n");
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn nothing_is_missed_because_start_comes_last() {
    let daemon = FakeDaemon::start(GOES_WELL);
    daemon
        .dhow(&["run", "busybox"])
        .output()
        .expect("dhow runs");
    let asked = daemon.asked();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(asked[0].contains("/create "), "{asked:?}");
    assert!(asked[3].contains("/start "), "{asked:?}");
}

#[test]
fn detached_prints_the_id() {
    let daemon = FakeDaemon::start(GOES_WELL);
    let output = daemon
        .dhow(&["run", "-d", "busybox"])
        .output()
        .expect("dhow runs");
    assert_eq!(output.stdout, b"c0ffee\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn an_interrupt_before_the_start_leaves_no_container() {
    const START_HANGS: Answers = &[
        CREATED,
        ATTACHED,
        WAITED,
        ("POST /v1.44/containers/c0ffee/start", Answer::Silence),
        REMOVED,
    ];
    let daemon = FakeDaemon::start(START_HANGS);
    let mut dhow = daemon
        .dhow(&["run", "busybox"])
        .spawn()
        .expect("dhow starts");
    daemon.wait_for("POST /v1.44/containers/c0ffee/start");
    let process = Pid::from_raw(i32::try_from(dhow.id()).expect("process ids are small"));
    kill(process, Signal::SIGINT).expect("it runs");
    let status = dhow.wait().expect("it ends");
    assert_eq!(status.code(), Some(130));
    let last = daemon.asked().pop().expect("requests");
    assert_eq!(last, "DELETE /v1.44/containers/c0ffee?force=1&v=1 HTTP/1.1");
}

#[test]
fn a_missing_image_is_our_fault_and_has_a_hint() {
    const NO_IMAGE: Answers = &[(
        "POST /v1.44/containers/create",
        Answer::Json(
            "404 Not Found",
            "{\"message\":\"No such image: nope:latest\"}",
        ),
    )];
    let daemon = FakeDaemon::start(NO_IMAGE);
    let output = daemon
        .dhow(&["run", "--pull", "never", "nope"])
        .output()
        .expect("dhow runs");
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "dhow: Unable to find image 'nope:latest' locally\n\
         hint: fetch it with `dhow pull`, or add it with `dhow load -i FILE`\n"
    );
}

#[test]
fn a_missing_image_is_pulled_and_a_failed_pull_is_our_fault() {
    const NO_IMAGE: Answers = &[
        (
            "POST /v1.44/containers/create",
            Answer::Json("404 Not Found", "{\"message\":\"No such image: nope:1\"}"),
        ),
        (
            "POST /v1.44/images/create?fromImage=nope&tag=1 ",
            Answer::Json(
                "200 OK",
                "{\"status\":\"Pulling fs layer\",\"id\":\"abc\"}\r\n{\"error\":\"it broke\"}",
            ),
        ),
    ];
    let daemon = FakeDaemon::start(NO_IMAGE);
    let output = daemon.dhow(&["run", "nope:1"]).output().expect("dhow runs");
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "dhow: Unable to find image 'nope:1' locally\nabc: Pulling fs layer\ndhow: it broke\n"
    );
}

#[test]
fn a_missing_command_is_127_and_with_rm_nothing_stays() {
    const NO_COMMAND: Answers = &[
        CREATED,
        ATTACHED,
        WAITED,
        (
            "POST /v1.44/containers/c0ffee/start",
            Answer::Json(
                "400 Bad Request",
                "{\"message\":\"exec: \\\"nope\\\": executable file not found in $PATH\"}",
            ),
        ),
        REMOVED,
    ];
    let daemon = FakeDaemon::start(NO_COMMAND);
    let output = daemon
        .dhow(&["run", "--rm", "busybox", "nope"])
        .output()
        .expect("dhow runs");
    assert_eq!(output.status.code(), Some(127));
    let last = daemon.asked().pop().expect("requests");
    assert!(last.starts_with("DELETE "), "{last}");
}

#[test]
fn mistyped_flags_cost_no_call() {
    let daemon = FakeDaemon::start(GOES_WELL);
    let output = daemon
        .dhow(&["run", "-p", "http", "busybox"])
        .output()
        .expect("dhow runs");
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "dhow: invalid port specification \"http\": container port \"http\" is not a number\n"
    );
    assert!(daemon.asked().is_empty());
}

#[test]
fn a_reader_that_leaves_ends_a_listing_quietly() {
    const EMPTY: Answers = &[("GET /v1.44/containers/json", Answer::Json("200 OK", "[]"))];
    let daemon = FakeDaemon::start(EMPTY);
    let mut command = daemon.dhow(&["ps"]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = command
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .expect("dhow runs");
    assert_eq!(output.status.code(), Some(141));
    assert!(output.stderr.is_empty(), "{:?}", output.stderr);
}

#[test]
fn no_daemon_at_the_address_is_told() {
    let daemon = FakeDaemon::start(&[]);
    let output = daemon
        .dhow(&["-H", "unix:///nowhere/docker.sock", "run", "busybox"])
        .output()
        .expect("dhow runs");
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "dhow: failed to connect to /nowhere/docker.sock: No such file or directory (os error 2)\n"
    );
}
