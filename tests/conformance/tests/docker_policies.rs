//! What happens to containers over time, seen by the real docker CLI: restart policies, health
//! checks, changed limits; and looking into them: `top` and `stats`.

use dhow_conformance_tests::{docker_home, eventually, now};
use dhow_harness::{BUSYBOX, Home};

fn inspected(home: &Home, format: &str, container: &str) -> String {
    let seen = home.docker(&["inspect", "-f", format, container]).succeed();
    seen.text().to_owned()
}

/// Starts a container in the background.
#[track_caller]
fn run(home: &Home, options: &[&str], command: &[&str]) {
    let line = [&["run", "-d"], options, &[BUSYBOX], command].concat();
    let _ = home.docker(&line).succeed();
}

#[test]
fn a_container_that_fails_is_started_again_as_often_as_asked() {
    let home = docker_home();

    run(
        &home,
        &["--name", "flaky", "--restart", "on-failure:2"],
        &["sh", "-c", "echo run; exit 3"],
    );
    eventually("its last end", || {
        let state = inspected(&home, "{{.State.Status}} {{.RestartCount}}", "flaky");
        (state == "exited 2").then_some(())
    });

    let code = inspected(&home, "{{.State.ExitCode}}", "flaky");
    let logs = home.docker(&["logs", "flaky"]).succeed();
    assert_eq!((code.as_str(), logs.text()), ("3", "run\nrun\nrun"));
}

#[test]
fn a_container_that_ends_well_is_not_a_failure() {
    let home = docker_home();

    run(
        &home,
        &["--name", "once", "--restart", "on-failure"],
        &["true"],
    );
    let code = home.docker(&["wait", "once"]).succeed();

    assert_eq!(code.text(), "0");
    assert_eq!(inspected(&home, "{{.RestartCount}}", "once"), "0");
}

#[test]
fn a_stop_holds_against_every_policy() {
    let home = docker_home();
    run(
        &home,
        &["--name", "again", "--restart", "always"],
        &["sh", "-c", "sleep 0.1"],
    );
    eventually("two restarts", || {
        let count = inspected(&home, "{{.RestartCount}}", "again");
        (count.parse::<u32>().expect("a number") >= 2).then_some(())
    });

    let refused = home.docker(&["rm", "again"]).exit(1);
    let _ = home.docker(&["stop", "-t", "0", "again"]).succeed();
    let policy = inspected(
        &home,
        "{{.State.Status}} {{.HostConfig.RestartPolicy.Name}}",
        "again",
    );
    let _ = home.docker(&["rm", "again"]).succeed();

    assert!(refused.stderr.contains("container is re") || refused.stderr.contains("is running"));
    assert_eq!(policy, "exited always");
}

#[test]
fn policies_outlive_the_daemon() {
    let home = docker_home();
    let sleep = ["sleep", "1000"];
    run(&home, &["--name", "always", "--restart", "always"], &sleep);
    run(
        &home,
        &["--name", "unless", "--restart", "unless-stopped"],
        &sleep,
    );
    run(
        &home,
        &["--name", "stopped", "--restart", "unless-stopped"],
        &sleep,
    );
    run(&home, &["--name", "never"], &sleep);
    let _ = home.docker(&["stop", "-t", "0", "stopped"]).succeed();

    let _ = home.dhow(&["daemon", "stop"]).succeed();
    let _ = home.dhow(&["ps"]).succeed();
    let running = eventually("both to run", || {
        let listed = home.docker(&["ps", "--format", "{{.Names}}"]).succeed();
        let mut names: Vec<String> = listed.text().lines().map(str::to_owned).collect();
        names.sort();
        (names.len() >= 2).then_some(names)
    });

    assert_eq!(running, ["always", "unless"]);
}

#[test]
fn a_policy_and_removal_exclude_each_other() {
    let home = docker_home();
    let line = ["run", "--rm", "--restart", "always", BUSYBOX, "true"];

    let docker = home.docker(&line);
    let dhow = home.dhow(&line);
    let unknown = home.docker(&["create", "--restart", "often", BUSYBOX]);

    assert_eq!((docker.code, dhow.code), (125, 125), "{docker:?} {dhow:?}");
    assert_ne!(unknown.code, 0);
}

#[test]
fn health_is_checked_listed_and_told() {
    let home = docker_home();

    run(
        &home,
        &[
            "--name",
            "sick",
            "--health-cmd",
            "test -e /well && echo fine",
            "--health-interval",
            "200ms",
            "--health-retries",
            "2",
        ],
        &["sleep", "1000"],
    );
    let health = |wanted: &str| {
        eventually(wanted, || {
            let state = inspected(&home, "{{.State.Health.Status}}", "sick");
            (state == wanted).then_some(())
        });
    };
    health("unhealthy");
    let listed = home
        .docker(&[
            "ps",
            "--filter",
            "health=unhealthy",
            "--format",
            "{{.Status}}",
        ])
        .succeed();
    let _ = home.docker(&["exec", "sick", "touch", "/well"]).succeed();
    health("healthy");
    let log = inspected(
        &home,
        "{{range .State.Health.Log}}{{.ExitCode}}{{.Output}}{{end}}",
        "sick",
    );
    let until = now();
    let mut line = vec!["events", "--since", "1h", "--until", &until];
    line.extend(["--filter", "event=health_status", "--format", "{{.Action}}"]);
    let events = home.docker(&line).succeed();

    assert!(listed.text().ends_with("(unhealthy)"), "{listed:?}");
    assert!(log.contains("0fine"), "{log}");
    assert!(
        events
            .text()
            .starts_with("health_status: unhealthy\nhealth_status: healthy"),
        "{events:?}"
    );
}

#[test]
fn a_check_that_hangs_is_ended() {
    let home = docker_home();

    run(
        &home,
        &[
            "--name",
            "slow",
            "--health-cmd",
            "sleep 1000",
            "--health-interval",
            "100ms",
            "--health-timeout",
            "200ms",
            "--health-retries",
            "1",
        ],
        &["sleep", "500"],
    );
    eventually("a verdict", || {
        let state = inspected(&home, "{{.State.Health.Status}}", "slow");
        (state == "unhealthy").then_some(())
    });
    let log = inspected(&home, "{{(index .State.Health.Log 0).Output}}", "slow");

    assert!(log.contains("exceeded timeout"), "{log}");
}

#[test]
fn limits_are_changed_while_it_runs() {
    let home = docker_home();
    run(
        &home,
        &["--name", "one", "--memory", "64m"],
        &["sleep", "1000"],
    );
    let inside = |file: &str| {
        let path = format!("/sys/fs/cgroup/{file}");
        let read = home.docker(&["exec", "one", "cat", &path]).succeed();
        read.text().to_owned()
    };

    let docker = home
        .docker(&["update", "--memory", "96m", "--memory-swap", "192m", "one"])
        .succeed();
    let memory = inside("memory.max");
    let dhow = home
        .dhow(&["update", "--pids-limit", "50", "--restart", "always", "one"])
        .succeed();

    assert_eq!((docker.text(), dhow.text()), ("one", "one"));
    assert_eq!(memory, "100663296");
    assert_eq!(
        (inside("memory.max").as_str(), inside("pids.max").as_str()),
        ("100663296", "50")
    );
    let format =
        "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}}";
    assert_eq!(inspected(&home, format, "one"), "100663296 50 always");
    let refused = home.docker(&["update", "--memory", "1m", "one"]).exit(1);
    assert!(
        refused.stderr.contains("Minimum memory limit"),
        "{refused:?}"
    );
}

#[test]
fn processes_are_listed() {
    let home = docker_home();
    run(
        &home,
        &["--name", "one"],
        &["sh", "-c", "sleep 1000 & wait"],
    );

    let docker = eventually("the shell's sleep", || {
        let seen = home.docker(&["top", "one"]).succeed();
        seen.text().ends_with(" sleep 1000").then_some(seen)
    });
    let dhow = home.dhow(&["top", "one"]).succeed();
    let chosen = home.docker(&["top", "one", "-o", "pid,comm"]).succeed();
    let _ = home.docker(&["stop", "-t", "0", "one"]).succeed();
    let refused = home.docker(&["top", "one"]).exit(1);

    let titles: Vec<&str> = docker
        .text()
        .lines()
        .next()
        .expect("titles")
        .split_whitespace()
        .collect();
    assert_eq!(
        titles,
        ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    );
    assert!(
        docker
            .text()
            .lines()
            .any(|line| line.ends_with("sleep 1000")),
        "{docker:?}"
    );
    assert_eq!(docker.text().lines().count(), 3, "{docker:?}");
    assert_eq!(dhow.text().lines().count(), 3, "{dhow:?}");
    assert!(
        chosen
            .text()
            .lines()
            .nth(2)
            .is_some_and(|line| line.ends_with("sleep")),
        "{chosen:?}"
    );
    assert!(refused.stderr.contains("is not running"), "{refused:?}");
}

#[test]
fn usage_is_shown_once_and_again_and_again() {
    let home = docker_home();
    run(
        &home,
        &["--name", "busy", "--memory", "64m"],
        &["sh", "-c", "while true; do :; done"],
    );
    let format = "{{.Name}}|{{.CPUPerc}}|{{.MemUsage}}|{{.PIDs}}";

    let docker = home
        .docker(&["stats", "--no-stream", "--format", format, "busy"])
        .succeed();
    let dhow = home
        .dhow(&["stats", "--no-stream", "--format", format, "busy"])
        .succeed();
    let _ = home.docker(&["stop", "-t", "0", "busy"]).succeed();
    let stopped = home
        .dhow(&["stats", "--no-stream", "--format", format, "busy"])
        .succeed();

    for seen in [&docker, &dhow] {
        let fields: Vec<&str> = seen.text().split('|').collect();
        assert_eq!(fields[0], "busy", "{seen:?}");
        let percent: f64 = fields[1]
            .trim_end_matches('%')
            .parse()
            .expect("a percentage");
        assert!(percent > 1.0, "{seen:?}");
        assert!(fields[2].ends_with("/ 64MiB"), "{seen:?}");
        assert_eq!(fields[3], "1", "{seen:?}");
    }
    assert_eq!(stopped.text(), "busy|--|--|--");
}
