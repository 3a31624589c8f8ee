//! Ctrl-C at every stage: exit code 130, nothing half-done, and the next command just works.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use dhow_harness::{BUSYBOX, Home, image};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What a shell sees of a command that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// What a stage must have been reached within.
const STAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Between two looks: some stages last a few milliseconds.
const STAGE_INTERVAL: Duration = Duration::from_micros(200);

/// A home with busybox where nothing runs.
fn cold_home() -> Home {
    let home = Home::with_image(BUSYBOX);
    let _ = home.dhow(&["daemon", "stop"]).succeed();
    home.assert_nothing_runs();
    home
}

fn interrupt(id: u32) {
    kill(Pid::from_raw(id.cast_signed()), Signal::SIGINT).expect("it was not waited for");
}

fn wait_for(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + STAGE_TIMEOUT;
    while !reached() {
        assert!(Instant::now() < deadline, "waited for {what}");
        thread::sleep(STAGE_INTERVAL);
    }
}

/// Whether a container has been written down.
fn has_container(home: &Home) -> bool {
    let folders = fs::read_dir(home.path().join("containers"));
    folders.is_ok_and(|folders| {
        folders
            .flatten()
            .any(|folder| folder.path().join("state.json").exists())
    })
}

/// Interrupts a run of a container that never ends by itself, once a stage is reached; then nothing
/// of it may be left, and the home must be as good as new.
#[track_caller]
fn interrupt_run(home: &Home, what: &str, reached: impl Fn() -> bool) {
    // The init makes the container end by SIGINT; process 1 itself would ignore it.
    let line = [
        "run", "--rm", "--init", "--name", "victim", BUSYBOX, "sleep", "1000",
    ];
    let client = home.start(&line);
    wait_for(what, reached);
    interrupt(client.id());

    let ended = client.wait().exit(INTERRUPTED);
    let listed = home
        .dhow(&["ps", "-a", "--format", "{{.Names}} {{.Status}}"])
        .succeed();
    let next = home
        .dhow(&["run", "--rm", "--name", "victim", BUSYBOX, "echo", "next"])
        .succeed();

    assert_eq!(listed.text(), "", "{ended:?}");
    assert_eq!(next.text(), "next");
}

#[test]
fn while_the_daemon_starts() {
    let home = cold_home();

    interrupt_run(&home, "the daemon's process", || {
        !home.processes_with("bin/dhow daemon").is_empty()
    });
}

#[test]
fn when_the_daemon_listens() {
    let home = cold_home();
    let socket = home.path().join("run/docker.sock");

    interrupt_run(&home, "the daemon's socket", || socket.exists());
}

#[test]
fn when_the_container_is_created() {
    let home = cold_home();

    interrupt_run(&home, "the container", || has_container(&home));
}

#[test]
fn when_the_machines_process_starts() {
    let home = cold_home();
    let ready = home.path().join("run/machine/ready.sock");

    interrupt_run(&home, "the machine's own folder", || ready.exists());
}

#[test]
fn while_the_machine_boots() {
    let home = cold_home();
    let dial = home.path().join("run/machine/dial.sock");

    interrupt_run(&home, "the machine's devices", || dial.exists());
}

#[test]
fn when_the_machine_is_up() {
    let home = cold_home();

    interrupt_run(&home, "the machine", || {
        let log = fs::read_to_string(home.path().join("run/daemon.log"));
        log.is_ok_and(|log| log.contains("machine is up"))
    });
}

#[test]
fn while_the_container_runs() {
    let home = Home::with_image(BUSYBOX);

    interrupt_run(&home, "the running container", || {
        !home.dhow(&["ps", "-q"]).succeed().text().is_empty()
    });
}

/// What no file tells apart (the calls of create, attach, wait and start) is met by trying many
/// moments of a run that takes some tens of milliseconds.
#[test]
fn at_forty_moments_of_a_warm_run() {
    let home = Home::with_image(BUSYBOX);
    let _warm = home.dhow(&["run", "--rm", BUSYBOX, "true"]).succeed();

    for moment in 0..40 {
        let begin = Instant::now();
        interrupt_run(&home, "a moment", || {
            begin.elapsed() >= Duration::from_millis(2 * moment)
        });
    }
}

#[test]
fn a_detached_run_leaves_all_or_nothing() {
    let home = cold_home();
    let dial = home.path().join("run/machine/dial.sock");
    let client = home.start(&["run", "-d", "--name", "victim", BUSYBOX, "sleep", "1000"]);
    wait_for("the machine's devices", || dial.exists());

    interrupt(client.id());
    let _ = client.wait().exit(INTERRUPTED);

    let listed = home.dhow(&["ps", "-aq"]).succeed();
    assert_eq!(listed.text(), "");
}

#[test]
fn a_load_leaves_nothing() {
    let home = Home::new();
    let staged = home.path().join("images/tmp");
    let archive = fs::read(image(BUSYBOX)).expect("the archive is there");
    let mut client = home.start(&["load"]);
    let mut input = client.stdin().expect("a fresh child");
    // Without its end, so that the load waits.
    let part = &archive[..archive.len() - archive.len() / 10];
    std::io::Write::write_all(&mut input, part).expect("dhow reads it");
    let files = || {
        let sessions = fs::read_dir(&staged).into_iter().flatten().flatten();
        let files = sessions.flat_map(|session| fs::read_dir(session.path()).into_iter().flatten());
        // Each session has its lock.
        files
            .flatten()
            .filter(|file| file.file_name() != "lock")
            .count()
    };
    wait_for("the first layer", || files() > 0);

    interrupt(client.id());
    drop(input);
    let _ = client.wait().exit(INTERRUPTED);

    wait_for("the layer's removal", || files() == 0);
    assert_eq!(home.dhow(&["images", "-aq"]).succeed().text(), "");
    let again = home.dhow_with_input(&["load"], &archive).succeed();
    assert!(again.stdout.contains("busybox:latest"), "{again:?}");
}
