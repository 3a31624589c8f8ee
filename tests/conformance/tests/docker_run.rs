//! `docker run` and `docker exec` of the real docker CLI.

use dhow_conformance_tests::{ask, docker_home, host_port, on_terminal};
use dhow_harness::{BUSYBOX, run};

#[test]
fn exit_codes_are_those_of_the_command_or_say_what_is_wrong() {
    let home = docker_home();

    for (arguments, code) in [
        (&["busybox", "true"][..], 0),
        (&["busybox", "sh", "-c", "exit 7"], 7),
        (
            &["busybox", "sh", "-c", "sleep 100 & kill -9 $!; wait $!"],
            137,
        ),
        (&["busybox", "no-such-command"], 127),
        (&["busybox", "/no/such/file"], 127),
        (&["busybox", "/etc/passwd"], 126),
        (&["busybox", "/etc"], 126),
        (&["no-such-image"], 125),
        (&["--network", "no-such-network", "busybox", "true"], 125),
    ] {
        let mut line = vec!["run", "--rm"];
        line.extend_from_slice(arguments);
        let _ = home.docker(&line).exit(code);
    }
    assert_eq!(home.docker(&["ps", "-aq"]).succeed().text(), "");
}

#[test]
fn a_killed_container_ends_with_137() {
    let home = docker_home();
    let _ = home
        .docker(&["run", "-d", "--name", "long", BUSYBOX, "sleep", "1000"])
        .succeed();
    let mut waiting = dhow_harness::Running::start(&mut home.client("docker", &["wait", "long"]));
    drop(waiting.stdin());

    assert_eq!(
        home.docker(&["kill", "-s", "KILL", "long"])
            .succeed()
            .text(),
        "long"
    );

    assert_eq!(waiting.wait().succeed().text(), "137");
}

#[test]
fn standard_input_and_both_outputs_are_carried() {
    let home = docker_home();
    let script = "cat; echo out; echo err >&2";

    let output = run(
        &mut home.client(
            "docker",
            &["run", "-i", "--rm", BUSYBOX, "sh", "-c", script],
        ),
        b"typed\n",
    )
    .succeed();

    assert_eq!(output.stdout, "typed\nout\n");
    assert_eq!(output.stderr, "err\n");
}

#[test]
fn environment_user_folder_host_name_and_entry_point_are_set() {
    let home = docker_home();
    let script = "echo $COLOUR $(id -u):$(id -g) $(pwd) $(hostname)";

    let output = home
        .docker(&[
            "run",
            "--rm",
            "-e",
            "COLOUR=blue",
            "-u",
            "1000:1001",
            "-w",
            "/srv/new",
            "-h",
            "ship",
            "--entrypoint",
            "sh",
            BUSYBOX,
            "-c",
            script,
        ])
        .succeed();

    assert_eq!(output.text(), "blue 1000:1001 /srv/new ship");
}

#[test]
fn a_terminal_has_the_size_of_the_one_outside() {
    let home = docker_home();
    let script = "'tty; sleep 0.5; stty size; exit 3'";

    let ran = on_terminal(
        &home,
        &format!("docker run --rm -it busybox sh -c {script}"),
        &[],
    );
    let _ = home
        .docker(&["run", "-d", "--name", "long", BUSYBOX, "sleep", "1000"])
        .succeed();
    let executed = on_terminal(&home, &format!("docker exec -it long sh -c {script}"), &[]);

    for finished in [ran, executed] {
        let finished = finished.exit(3);
        assert!(finished.stdout.contains("/dev/pts/"), "{finished:?}");
        assert!(finished.stdout.contains("33 99"), "{finished:?}");
    }
}

#[test]
fn what_is_typed_reaches_the_shell() {
    let home = docker_home();

    let typed: [&[u8]; 2] = [b"echo $((6*7))\r", b"exit 5\r"];
    let finished = on_terminal(&home, "docker run --rm -it busybox sh", &typed).exit(5);

    assert!(finished.stdout.contains("\n42\r\n"), "{finished:?}");
}

#[test]
fn a_published_web_server_answers_as_soon_as_run_returned() {
    let home = docker_home();
    let script = "echo from the container >/index.html; exec httpd -f -p 80 -h /";

    let _ = home
        .docker(&[
            "run",
            "-d",
            "--name",
            "web",
            "-p",
            "127.0.0.1::80",
            BUSYBOX,
            "sh",
            "-c",
            script,
        ])
        .succeed();
    let port = home.docker(&["port", "web", "80/tcp"]).succeed();
    let answer = ask(
        host_port(&home, "web", "80"),
        b"GET /index.html HTTP/1.0\r\n\r\n",
    );

    assert!(port.text().starts_with("127.0.0.1:"), "{port:?}");
    assert!(answer.is_some_and(|answer| answer.ends_with("from the container\n")));
}

#[test]
fn a_further_process_has_its_own_settings_and_exit_code() {
    let home = docker_home();
    let _ = home
        .docker(&["run", "-d", "--name", "long", BUSYBOX, "sleep", "1000"])
        .succeed();
    let script = "echo $COLOUR $(id -u) $(pwd); cat; exit 9";

    let line = [
        "exec",
        "-i",
        "-e",
        "COLOUR=blue",
        "-u",
        "3",
        "-w",
        "/etc",
        "long",
        "sh",
        "-c",
        script,
    ];
    let output = run(&mut home.client("docker", &line), b"typed").exit(9);
    let missing = home.docker(&["exec", "long", "no-such-command"]).exit(127);
    let _ = home
        .docker(&["exec", "-d", "long", "touch", "/mark"])
        .succeed();

    assert_eq!(output.stdout, "blue 3 /etc\ntyped");
    let told = format!("{}{}", missing.stdout, missing.stderr);
    assert!(told.contains("no-such-command"), "{missing:?}");
    dhow_conformance_tests::eventually("the mark", || {
        (home.docker(&["exec", "long", "test", "-e", "/mark"]).code == 0).then_some(())
    });
}

#[test]
fn an_unknown_image_is_named_with_what_to_do() {
    let home = docker_home();

    // Where no registry listens, so that it is the same on a host without a network.
    let image = "127.0.0.1:1/no-such-image";
    let refused = home.docker(&["run", "--rm", image]).exit(125);

    let lines: Vec<&str> = refused
        .stderr
        .lines()
        .filter(|line| line.contains("Error response from daemon"))
        .collect();
    assert_eq!(lines.len(), 1, "{refused:?}");
    assert!(refused.stderr.contains(image), "{refused:?}");
    assert!(lines[0].contains("the registry 127.0.0.1:1"), "{refused:?}");
}
