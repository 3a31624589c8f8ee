//! From `run -d` to `rm`: what a container's life looks like from outside.

use std::thread;
use std::time::Duration;

use dhow_harness::{BUSYBOX, Home};

#[test]
fn a_detached_container_is_listed_executed_in_stopped_and_removed() {
    let home = Home::with_image(BUSYBOX);

    let id = home
        .dhow(&["run", "-d", "--name", "web", BUSYBOX, "sleep", "1000"])
        .succeed();
    assert_eq!(id.text().len(), 64);
    let listed = home
        .dhow(&["ps", "--format", "{{.Names}} {{.Image}} {{.Status}}"])
        .succeed();
    assert!(
        listed.text().starts_with("web busybox Up "),
        "{}",
        listed.text()
    );
    let inside = home.dhow(&["exec", "web", "echo", "inside"]).succeed();
    assert_eq!(inside.text(), "inside");
    assert_eq!(
        home.dhow(&["stop", "-t", "1", "web"]).succeed().text(),
        "web"
    );
    let stopped = home
        .dhow(&["ps", "-a", "--format", "{{.Status}}"])
        .succeed();
    assert!(
        stopped.text().starts_with("Exited (137)"),
        "{}",
        stopped.text()
    );
    assert_eq!(home.dhow(&["rm", "web"]).succeed().text(), "web");
    assert_eq!(home.dhow(&["ps", "-aq"]).succeed().text(), "");
}

#[test]
fn stop_lets_the_container_end_by_itself() {
    let home = Home::with_image(BUSYBOX);
    let script = "trap 'echo bye; exit 3' TERM; echo up; while true; do sleep 0.1; done";
    let _ = home
        .dhow(&["run", "-d", "--name", "polite", BUSYBOX, "sh", "-c", script])
        .succeed();
    wait_for_log(&home, "polite", "up");

    let _ = home.dhow(&["stop", "polite"]).succeed();

    let code = home
        .dhow(&["inspect", "-f", "{{.State.ExitCode}}", "polite"])
        .succeed();
    assert_eq!(code.text(), "3");
    assert_eq!(home.dhow(&["logs", "polite"]).succeed().stdout, "up\nbye\n");
}

#[test]
fn exec_passes_input_exit_code_environment_and_user() {
    let home = Home::with_image(BUSYBOX);
    let _ = home
        .dhow(&["run", "-d", "--name", "box", BUSYBOX, "sleep", "1000"])
        .succeed();

    let counted = home
        .dhow_with_input(&["exec", "-i", "box", "wc", "-c"], b"12345")
        .succeed();
    let code = home.dhow(&["exec", "box", "sh", "-c", "exit 7"]).exit(7);
    let told = home
        .dhow(&[
            "exec",
            "-e",
            "A=b",
            "-u",
            "5",
            "-w",
            "/etc",
            "box",
            "sh",
            "-c",
            "echo $A $(id -u) $(pwd)",
        ])
        .succeed();
    let missing = home.dhow(&["exec", "box", "no-such-command"]).exit(127);

    assert_eq!(counted.text(), "5");
    assert_eq!(code.stdout, "");
    assert_eq!(told.text(), "b 5 /etc");
    assert!(
        missing.stderr.contains("no-such-command"),
        "{}",
        missing.stderr
    );
}

#[test]
fn logs_follow_until_the_container_ends() {
    let home = Home::with_image(BUSYBOX);
    let script = "for i in 1 2 3; do echo line $i; sleep 0.2; done";
    let _ = home
        .dhow(&["run", "-d", "--name", "talker", BUSYBOX, "sh", "-c", script])
        .succeed();

    let followed = home.dhow(&["logs", "-f", "talker"]).succeed();
    let last = home.dhow(&["logs", "-n", "1", "talker"]).succeed();

    assert_eq!(followed.stdout, "line 1\nline 2\nline 3\n");
    assert_eq!(last.stdout, "line 3\n");
}

#[test]
fn wait_tells_the_exit_code_and_kill_sends_a_signal() {
    let home = Home::with_image(BUSYBOX);
    let script = "trap 'exit 9' USR1; echo up; while true; do sleep 0.1; done";
    let _ = home
        .dhow(&["run", "-d", "--name", "target", BUSYBOX, "sh", "-c", script])
        .succeed();
    wait_for_log(&home, "target", "up");
    let waiting = home.start(&["wait", "target"]);

    let _ = home.dhow(&["kill", "-s", "USR1", "target"]).succeed();

    assert_eq!(waiting.wait().succeed().text(), "9");
}

#[test]
fn a_name_is_taken_once() {
    let home = Home::with_image(BUSYBOX);
    let _ = home.dhow(&["create", "--name", "one", BUSYBOX]).succeed();

    let second = home.dhow(&["create", "--name", "one", BUSYBOX]).exit(1);
    let third = home.dhow(&["run", "--name", "one", BUSYBOX]).exit(125);

    for refused in [second, third] {
        let told = refused.stderr.contains("\"/one\" is already in use");
        assert!(told, "{refused:?}");
    }
}

#[test]
fn a_running_container_is_removed_only_by_force() {
    let home = Home::with_image(BUSYBOX);
    let _ = home
        .dhow(&["run", "-d", "--name", "busy", BUSYBOX, "sleep", "1000"])
        .succeed();

    let refused = home.dhow(&["rm", "busy"]).exit(1);
    let _ = home.dhow(&["rm", "-f", "busy"]).succeed();

    assert!(refused.stderr.contains("running"), "{}", refused.stderr);
    assert_eq!(home.dhow(&["ps", "-aq"]).succeed().text(), "");
}

#[test]
fn twenty_containers_run_at_once() {
    let home = Home::with_image(BUSYBOX);

    let running: Vec<_> = (0..20)
        .map(|index| {
            let word = format!("{index}");
            home.start(&[
                "run",
                "--rm",
                BUSYBOX,
                "sh",
                "-c",
                &format!("sleep 1; echo {word}"),
            ])
        })
        .collect();
    let mut printed: Vec<u32> = running
        .into_iter()
        .map(|run| run.wait().succeed().text().parse().unwrap())
        .collect();

    printed.sort_unstable();
    assert_eq!(printed, (0..20).collect::<Vec<_>>());
}

fn wait_for_log(home: &Home, container: &str, word: &str) {
    for _ in 0..200 {
        if home
            .dhow(&["logs", container])
            .succeed()
            .stdout
            .contains(word)
        {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("{container} never said {word}");
}
