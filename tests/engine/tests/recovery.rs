//! Whatever is killed, the next command works and says what happened.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use dhow_harness::{BUSYBOX, Home};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn kill_hard(ids: &[u32]) {
    for id in ids {
        // One of them may have gone with another.
        let _ = kill(Pid::from_raw(id.cast_signed()), Signal::SIGKILL);
    }
}

#[test]
fn after_the_daemon_was_killed_the_next_command_starts_another() {
    let home = Home::with_image(BUSYBOX);
    let _ = home
        .dhow(&["run", "-d", "--name", "lost", BUSYBOX, "sleep", "1000"])
        .succeed();
    let daemons = home.processes_with("bin/dhow daemon");
    assert_eq!(daemons.len(), 1);

    kill_hard(&daemons);
    let output = home
        .dhow(&["run", "--rm", BUSYBOX, "echo", "again"])
        .succeed();
    let state = home.dhow(&[
        "inspect",
        "-f",
        "{{.State.Status}} {{.State.ExitCode}}",
        "lost",
    ]);

    assert_eq!(output.text(), "again");
    assert!(
        output.stderr.contains("had been killed"),
        "{}",
        output.stderr
    );
    assert_eq!(state.succeed().text(), "exited 137");
}

#[test]
fn the_machine_dies_with_the_daemon() {
    let home = Home::with_image(BUSYBOX);
    let _ = home
        .dhow(&["run", "-d", BUSYBOX, "sleep", "1000"])
        .succeed();

    kill_hard(&home.processes_with("bin/dhow daemon"));

    home.assert_nothing_runs();
}

#[test]
fn after_the_machine_was_killed_the_next_command_boots_another() {
    let home = Home::with_image(BUSYBOX);
    let _ = home
        .dhow(&["run", "-d", "--name", "lost", BUSYBOX, "sleep", "1000"])
        .succeed();

    kill_hard(&home.processes_with("lib/dhow/linux"));
    let output = home
        .dhow(&["run", "--rm", BUSYBOX, "echo", "again"])
        .succeed();
    let state = home
        .dhow(&["inspect", "-f", "{{.State.Status}}", "lost"])
        .succeed();

    assert_eq!(output.text(), "again");
    assert_eq!(state.text(), "exited");
}

#[test]
fn the_next_command_tells_once_that_the_machine_was_killed() {
    let home = Home::with_image(BUSYBOX);
    let _ = home
        .dhow(&["run", "-d", BUSYBOX, "sleep", "1000"])
        .succeed();

    kill_hard(&home.processes_with("lib/dhow/linux"));
    // That it has ended is noticed some milliseconds later.
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut told = String::new();
    while !told.contains("the machine ended by itself") {
        assert!(Instant::now() < deadline, "told: {told:?}");
        told += &home.dhow(&["ps"]).succeed().stderr;
    }

    assert_eq!(home.dhow(&["ps"]).succeed().stderr, "");
}

#[test]
fn a_machine_that_was_stopped_leaves_its_console_and_no_socket() {
    let home = Home::with_image(BUSYBOX);
    let _ = home.dhow(&["run", "--rm", BUSYBOX, "true"]).succeed();

    let _ = home.dhow(&["machine", "down"]).succeed();

    let entries = fs::read_dir(home.path().join("run/machine")).expect("the folder stays");
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    assert_eq!(names, ["console.log", "owner.log"]);
}

#[test]
fn after_the_device_process_was_killed_the_next_command_boots_another() {
    let home = Home::with_image(BUSYBOX);
    let _ = home
        .dhow(&["run", "-d", BUSYBOX, "sleep", "1000"])
        .succeed();

    kill_hard(&home.processes_with("bin/dhow devices"));
    let output = home
        .dhow(&["run", "--rm", BUSYBOX, "echo", "again"])
        .succeed();

    assert_eq!(output.text(), "again");
}

#[test]
fn what_a_container_synced_survives_a_killed_machine() {
    let home = Home::with_image(BUSYBOX);
    let script = "cat /mark 2>/dev/null || { echo kept >/mark; sync; }";
    let _ = home
        .dhow(&["run", "--name", "writer", BUSYBOX, "sh", "-c", script])
        .succeed();

    kill_hard(&home.processes_with("lib/dhow/linux"));
    let read = home.dhow(&["start", "-a", "writer"]).succeed();

    assert_eq!(read.text(), "kept");
}

#[test]
fn a_killed_client_leaves_its_container_and_its_daemon_alone() {
    let home = Home::with_image(BUSYBOX);
    let client = home.start(&["run", "--name", "alone", BUSYBOX, "sleep", "1000"]);
    while home.dhow(&["ps", "-q"]).succeed().text().is_empty() {
        thread::sleep(Duration::from_millis(50));
    }

    kill_hard(&[client.id()]);
    let _ = client.wait().exit(137);

    assert_eq!(
        home.dhow(&["ps", "--format", "{{.Names}}"])
            .succeed()
            .text(),
        "alone"
    );
}
