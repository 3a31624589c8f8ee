//! Containers and images over their life, seen by the real docker CLI.

use std::thread;
use std::time::Duration;

use dhow_conformance_tests::{docker_home, eventually, now, on_terminal};
use dhow_harness::{BUSYBOX, Home, Running, image, run};

fn state(home: &Home, container: &str) -> String {
    let format = "{{.State.Status}} {{.State.ExitCode}}";
    let seen = home.docker(&["inspect", "-f", format, container]).succeed();
    seen.text().to_owned()
}

/// Starts a container that says `tick 1`, `tick 2`, … and leaves on SIGTERM with 0.
fn ticking(home: &Home) {
    let script =
        "trap 'exit 0' TERM; i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.1; done";
    let _ = home
        .docker(&["run", "-d", "--name", "ticks", BUSYBOX, "sh", "-c", script])
        .succeed();
}

#[test]
fn a_container_is_stopped_started_restarted_renamed_and_removed() {
    let home = docker_home();
    let script = "trap 'exit 3' TERM; echo up; while true; do sleep 0.1; done";

    let _ = home
        .docker(&["create", "--name", "one", BUSYBOX, "sh", "-c", script])
        .succeed();
    assert_eq!(state(&home, "one"), "created 0");
    let _ = home.docker(&["start", "one"]).succeed();
    eventually("its trap", || {
        (home.docker(&["logs", "one"]).text() == "up").then_some(())
    });
    assert_eq!(home.docker(&["stop", "one"]).succeed().text(), "one");
    assert_eq!(state(&home, "one"), "exited 3");
    let _ = home.docker(&["restart", "-t", "0", "one"]).succeed();
    assert_eq!(state(&home, "one"), "running 0");
    let _ = home.docker(&["rename", "one", "two"]).succeed();
    let refused = home.docker(&["rm", "two"]).exit(1);
    assert!(refused.stderr.contains("is running"), "{refused:?}");
    let _ = home.docker(&["pause", "two"]).succeed();
    assert_eq!(state(&home, "two"), "paused 0");
    let _ = home.docker(&["unpause", "two"]).succeed();
    assert_eq!(home.docker(&["rm", "-f", "two"]).succeed().text(), "two");
    assert_eq!(home.docker(&["ps", "-aq"]).succeed().text(), "");
}

#[test]
fn start_with_a_attaches_and_returns_the_exit_code() {
    let home = docker_home();
    let script = "echo out; echo err >&2; exit 4";
    let _ = home
        .docker(&["create", "--name", "one", BUSYBOX, "sh", "-c", script])
        .succeed();

    let output = home.docker(&["start", "-a", "one"]).exit(4);

    assert_eq!(output.stdout, "out\n");
    assert_eq!(output.stderr, "err\n");
}

#[test]
fn logs_are_tailed_followed_stamped_and_cut_by_time() {
    let home = docker_home();
    ticking(&home);
    let mut following = Running::start(&mut home.client("docker", &["logs", "-f", "ticks"]));
    drop(following.stdin());
    thread::sleep(Duration::from_secs(1));
    let _ = home.docker(&["stop", "ticks"]).succeed();

    let followed = following.wait().succeed();
    let whole = home.docker(&["logs", "ticks"]).succeed();
    let stamped = home
        .docker(&["logs", "-t", "--tail", "2", "ticks"])
        .succeed();
    let future = home.docker(&["logs", "--since", "2100-01-01T00:00:00", "ticks"]);
    let past = home.docker(&["logs", "--until", "2020-01-01T00:00:00", "ticks"]);

    assert!(
        followed.stdout.starts_with("tick 1\ntick 2\n"),
        "{followed:?}"
    );
    assert_eq!(followed.stdout, whole.stdout);
    let lines: Vec<&str> = stamped.text().lines().collect();
    assert_eq!(lines.len(), 2, "{stamped:?}");
    assert!(lines[1].contains("Z tick "), "{stamped:?}");
    assert_eq!(future.succeed().stdout, "");
    assert_eq!(past.succeed().stdout, "");
}

#[test]
fn lists_are_filtered_and_formatted() {
    let home = docker_home();
    let _ = home
        .docker(&[
            "run", "-d", "--name", "up", "--label", "kind=a", BUSYBOX, "sleep", "1000",
        ])
        .succeed();
    let _ = home
        .docker(&["run", "--name", "done", BUSYBOX, "sh", "-c", "exit 2"])
        .exit(2);

    for (filter, expected) in [
        ("status=running", "up"),
        ("status=exited", "done"),
        ("exited=2", "done"),
        ("name=up", "up"),
        ("label=kind", "up"),
        ("label=kind=a", "up"),
        ("label=kind=b", ""),
        ("ancestor=busybox", "done\nup"),
    ] {
        let seen = home
            .docker(&["ps", "-a", "--filter", filter, "--format", "{{.Names}}"])
            .succeed();
        assert_eq!(seen.text(), expected, "{filter}");
    }
    let last = home
        .docker(&["ps", "-l", "--format", "{{.Image}} {{.Command}}"])
        .succeed();
    assert_eq!(last.text(), "busybox \"sh -c 'exit 2'\"");
}

#[test]
fn an_attached_terminal_is_left_with_keys_and_found_again() {
    let home = docker_home();
    let _ = home
        .docker(&["run", "-dit", "--name", "shell", BUSYBOX, "sh"])
        .succeed();

    let keys: [&[u8]; 2] = [b"echo $((6*7))\r", b"\x10\x11"];
    let left = on_terminal(&home, "docker attach shell", &keys);
    let own: [&[u8]; 1] = [b"x"];
    let also_left = on_terminal(&home, "docker attach --detach-keys x shell", &own);
    let still = state(&home, "shell");
    let end: [&[u8]; 1] = [b"exit 4\r"];
    let ended = on_terminal(&home, "docker attach shell", &end);

    assert!(left.stdout.contains("\n42\r\n"), "{left:?}");
    assert!(left.stdout.contains("read escape sequence"), "{left:?}");
    assert!(
        also_left.stdout.contains("read escape sequence"),
        "{also_left:?}"
    );
    assert_eq!(still, "running 0");
    let _ = ended.exit(4);
}

#[test]
fn images_are_loaded_tagged_inspected_and_removed() {
    let home = docker_home();
    let names = ["images", "--format", "{{.Repository}}:{{.Tag}}"];
    let archive = image(BUSYBOX);

    let _ = home
        .docker(&["tag", BUSYBOX, "registry.example:5000/other:1"])
        .succeed();
    let listed = home.docker(&names).succeed();
    // One image's names come in any order: the docker CLI keeps them in a Go map.
    let mut listed: Vec<&str> = listed.text().lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, ["busybox:latest", "registry.example:5000/other:1"]);
    let _ = home
        .docker(&["rmi", "registry.example:5000/other:1"])
        .succeed();
    let removed = home.docker(&["rmi", BUSYBOX]).succeed();
    assert!(
        removed.stdout.contains("Untagged: busybox:latest"),
        "{removed:?}"
    );
    assert!(removed.stdout.contains("Deleted: sha256:"), "{removed:?}");
    assert_eq!(home.docker(&names).succeed().text(), "");

    let bytes = std::fs::read(&archive).expect("the archive is there");
    let loaded = run(&mut home.client("docker", &["load"]), &bytes).succeed();
    assert!(
        loaded.stdout.contains("Loaded image: busybox:latest"),
        "{loaded:?}"
    );
    let path = archive.to_str().expect("a text path");
    let _ = home.docker(&["load", "-q", "-i", path]).succeed();
    let told = home
        .docker(&[
            "image",
            "inspect",
            "-f",
            "{{.Os}}/{{.Architecture}} {{.RepoTags}}",
            BUSYBOX,
        ])
        .succeed();
    assert_eq!(told.text(), "linux/amd64 [busybox:latest]");
    assert_eq!(home.docker(&names).succeed().text(), "busybox:latest");
}

#[test]
fn an_image_in_use_is_kept() {
    let home = docker_home();
    let _ = home
        .docker(&["run", "-d", "--name", "user", BUSYBOX, "sleep", "1000"])
        .succeed();

    let refused = home.docker(&["rmi", BUSYBOX]).exit(1);

    assert!(refused.stderr.contains("is using"), "{refused:?}");
    let _ = home.docker(&["exec", "user", "true"]).succeed();
}

#[test]
fn events_tell_a_life_in_order() {
    let home = docker_home();

    let _ = home
        .docker(&["run", "--name", "one", BUSYBOX, "true"])
        .succeed();
    let _ = home.docker(&["rm", "one"]).succeed();
    let until = now();
    let mut line = vec!["events", "--since", "1h", "--until", &until];
    line.extend(["--filter", "container=one", "--format", "{{.Action}}"]);
    let seen = home.docker(&line).succeed();

    let actions: Vec<&str> = seen.text().lines().collect();
    assert_eq!(actions, ["create", "attach", "start", "die", "destroy"]);
}

#[test]
fn the_server_tells_what_it_is() {
    let home = docker_home();

    let version = home
        .docker(&[
            "version",
            "-f",
            "{{.Server.Os}}/{{.Server.Arch}} {{.Server.APIVersion}}",
        ])
        .succeed();
    let info = home
        .docker(&["info", "-f", "{{.OSType}} {{.CgroupVersion}} {{.Images}}"])
        .succeed();

    assert!(version.text().starts_with("linux/amd64 1."), "{version:?}");
    assert_eq!(info.text(), "linux 2 1");
}

/// What docs/limits.md lists as not there.
#[test]
fn what_is_not_there_is_refused_by_name() {
    let home = docker_home();
    let _ = home
        .docker(&["run", "-d", "--name", "one", BUSYBOX, "sleep", "1000"])
        .succeed();

    for (line, name) in [
        (
            &["volume", "create", "-o", "type=nfs", "other"][..],
            "volume",
        ),
        (
            &["run", "--rm", "-v", "/tmp:/x", BUSYBOX, "true"],
            "bind mounts",
        ),
    ] {
        let refused = home.docker(line);
        assert_ne!(refused.code, 0, "{refused:?}");
        assert!(refused.stderr.contains(name), "{refused:?}");
        assert!(
            refused.stderr.contains("not supported by dhow yet"),
            "{refused:?}"
        );
    }
}
