//! A command line means the same to `dhow` and to `docker`: standard output and exit code.

use dhow_conformance_tests::docker_home;
use dhow_harness::{BUSYBOX, Finished, Home};

/// Runs each line with both programs against one daemon and compares what they leave.
#[track_caller]
fn same(home: &Home, lines: &[&[&str]]) {
    let mut wrong = Vec::new();
    for line in lines {
        let (docker, dhow) = (home.docker(line), home.dhow(line));
        let said = |finished: &Finished| {
            let mut lines: Vec<String> = finished.stdout.lines().map(str::to_owned).collect();
            // The docker CLI keeps an image's names in a Go map: they come in any order.
            if line[0] == "images" {
                lines.sort_unstable();
            }
            (finished.code, lines)
        };
        if said(&docker) != said(&dhow) {
            wrong.push(format!("{line:?}\ndocker: {docker:?}\ndhow: {dhow:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn run() {
    let home = docker_home();

    same(
        &home,
        &[
            &["run", "--rm", BUSYBOX, "echo", "hello"],
            &["run", "--rm", BUSYBOX, "sh", "-c", "exit 7"],
            &["run", "--rm", BUSYBOX, "no-such-command"],
            &["run", "--rm", BUSYBOX, "/etc/passwd"],
            &["run", "--rm", "no-such-image"],
            &["run", "--rm", "--network", "host", BUSYBOX, "true"],
            &["run", "--rm", "--no-such-flag", BUSYBOX, "true"],
            &[
                "run", "--rm", "-u", "1:2", "-w", "/srv", BUSYBOX, "sh", "-c", "id; pwd",
            ],
            &[
                "run", "--rm", "-e", "A=1", "-e", "B", "-h", "ship", BUSYBOX, "env",
            ],
            &["run", "--rm", "-h", "ship", BUSYBOX, "hostname"],
            &["run", "--rm", "--entrypoint", "echo", BUSYBOX, "-n", "x"],
            &[
                "run",
                "--rm",
                "--cap-drop",
                "ALL",
                BUSYBOX,
                "grep",
                "Cap",
                "/proc/self/status",
            ],
            &["run", "--rm", "--memory", "1k", BUSYBOX, "true"],
            &["create", "--memory", "1k", BUSYBOX],
            &["create", "--ulimit", "files=1", BUSYBOX],
            &["create", "no-such-image"],
            &["run", "--rm", "-v", "/tmp:/x", BUSYBOX, "true"],
        ],
    );
}

#[test]
fn looking_at_containers() {
    let home = docker_home();
    let _ = home
        .dhow(&[
            "run", "-d", "--name", "up", "-p", "0:80", "--label", "a=b", BUSYBOX, "sleep", "1000",
        ])
        .succeed();
    let script = "echo out; echo more; echo err >&2; exit 2";
    let _ = home
        .dhow(&["run", "--name", "done", BUSYBOX, "sh", "-c", script])
        .exit(2);

    same(
        &home,
        &[
            &["ps", "-q"],
            &["ps", "-aq", "--no-trunc"],
            &[
                "ps",
                "-a",
                "--format",
                "{{.ID}} {{.Names}} {{.Image}} {{.Ports}} {{.Command}}",
            ],
            &[
                "ps",
                "-a",
                "--filter",
                "status=exited",
                "--format",
                "{{.Names}}",
            ],
            &["ps", "--filter", "label=a=b", "--format", "{{.Names}}"],
            &["ps", "-a", "--filter", "exited=2", "-q"],
            &["ps", "--filter", "no-such-filter=1"],
            &["logs", "done"],
            &["logs", "--tail", "1", "done"],
            &["logs", "-t", "done"],
            &["logs", "no-such-container"],
            &["port", "up"],
            &["port", "up", "80"],
            &["port", "up", "81"],
            &[
                "inspect",
                "-f",
                "{{.State.Status}} {{.State.ExitCode}} {{.Name}}",
                "up",
                "done",
            ],
            &[
                "inspect",
                "-f",
                "{{.Config.Image}} {{.HostConfig.AutoRemove}}",
                "up",
            ],
            &["inspect", "up"],
            &["inspect", "no-such-container"],
            &["wait", "done"],
            &["wait", "no-such-container"],
        ],
    );
}

#[test]
fn exec() {
    let home = docker_home();
    let _ = home
        .dhow(&["run", "-d", "--name", "up", BUSYBOX, "sleep", "1000"])
        .succeed();
    let _ = home
        .dhow(&["create", "--name", "new", BUSYBOX, "true"])
        .succeed();

    same(
        &home,
        &[
            &["exec", "up", "echo", "in"],
            &[
                "exec",
                "-u",
                "3",
                "-w",
                "/etc",
                "-e",
                "X=y",
                "up",
                "sh",
                "-c",
                "id; pwd; echo $X",
            ],
            &["exec", "up", "sh", "-c", "exit 9"],
            &["exec", "up", "sh", "-c", "kill -9 $$"],
            &["exec", "-d", "up", "true"],
            &["exec", "new", "true"],
            &["exec", "no-such-container", "true"],
        ],
    );
}

#[test]
fn changing_containers() {
    let home = docker_home();
    let _ = home
        .dhow(&["run", "-d", "--name", "up", BUSYBOX, "sleep", "1000"])
        .succeed();
    let _ = home
        .dhow(&["create", "--name", "new", BUSYBOX, "true"])
        .succeed();

    same(
        &home,
        &[
            &["start", "up"],
            &["start", "no-such-container"],
            &["start", "-a", "new"],
            &["pause", "no-such-container"],
            &["restart", "-t", "0", "up"],
            &["kill", "-s", "NOSUCH", "up"],
            &["kill", "new"],
            &["rename", "up", "new"],
            &["rm", "up"],
            &["rm", "no-such-container"],
            &["rm", "-f", "no-such-container"],
            &["create", "--name", "new", BUSYBOX],
            &["run", "--name", "new", BUSYBOX],
            &["stop", "-t", "0", "up"],
            &["stop", "up"],
            &["stop", "no-such-container"],
        ],
    );
}

#[test]
fn images() {
    let home = docker_home();

    same(
        &home,
        &[
            &["images"],
            &["images", "-q"],
            &[
                "images",
                "--no-trunc",
                "--format",
                "{{.Repository}} {{.Tag}} {{.ID}} {{.Size}}",
            ],
            &["images", "no-such-image"],
            &["tag", BUSYBOX, "other:1"],
            &["tag", "no-such-image", "other:1"],
            // One name only: the docker CLI lists an image's names in the order of a Go map.
            &["images", "--format", "{{.Repository}}:{{.Tag}}", "other"],
            &["inspect", "-f", "{{.Id}} {{.Os}} {{.RepoTags}}", BUSYBOX],
            &["rmi", "no-such-image"],
        ],
    );
}

/// A line that changes something is given to each program for a container of its own.
#[test]
fn names_and_ids_are_echoed_alike() {
    let home = docker_home();
    let sleep = ["sleep", "1000"];

    for (program, name) in [("docker", "one"), ("dhow", "two")] {
        let act = |line: &[&str]| match program {
            "docker" => home.docker(line),
            _ => home.dhow(line),
        };
        let mut create = vec!["run", "-d", "--name", name, BUSYBOX];
        create.extend(sleep);
        assert_eq!(act(&create).succeed().text().len(), 64, "{program}");
        for verb in ["pause", "unpause", "kill", "start", "restart", "rm"] {
            let mut line = vec![verb];
            match verb {
                "restart" => line.extend(["-t", "0"]),
                "rm" => line.push("-f"),
                _ => {}
            }
            line.push(name);
            assert_eq!(act(&line).succeed().text(), name, "{program} {verb}");
        }
        let _ = act(&["tag", BUSYBOX, &format!("{name}:1")]).succeed();
        let removed = act(&["rmi", &format!("{name}:1")]).succeed();
        assert_eq!(removed.text(), format!("Untagged: {name}:1"), "{program}");
    }
}
