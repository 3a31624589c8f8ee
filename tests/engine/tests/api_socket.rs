//! `-v /var/run/docker.sock:…`: the API inside containers, and only inside those that asked.

use dhow_harness::{DEBIAN, Home};

/// Asks the socket for a page and prints the answer; half-closes first, as `docker exec` does.
const ASK: &str = r#"use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new($ARGV[0]) or die "no socket: $!\n";
    print $s "GET $ARGV[1] HTTP/1.0\r\n\r\n"; $s->flush; shutdown($s, 1); print while <$s>;"#;

/// Connects to a port of the host by itself and says what comes back.
const KNOCK: &str = r#"use Socket; socket(my $s, 40, SOCK_STREAM, 0) or die "socket: $!\n";
    connect($s, pack("SSLLCx3", 40, 0, 1026, 2, 0)) or die "connect: $!\n";
    syswrite $s, "GET /_ping HTTP/1.0\r\n\r\n" . "x" x 64; sysread $s, my $answer, 100;
    print "answer: [", $answer // "", "]\n";"#;

#[test]
fn a_container_that_was_given_the_socket_uses_the_api() {
    let home = Home::with_image(DEBIAN);

    for source in [
        "/var/run/docker.sock",
        &format!("{}/run/docker.sock", home.path().display()),
    ] {
        let mount = format!("{source}:/var/run/docker.sock");
        let answered = home
            .dhow(&[
                "run",
                "--rm",
                "--name",
                "inside",
                "-v",
                &mount,
                DEBIAN,
                "perl",
                "-e",
                ASK,
                "/var/run/docker.sock",
                "/containers/json",
            ])
            .succeed();

        assert!(answered.stdout.contains("200 OK"), "{}", answered.stdout);
        assert!(
            answered.stdout.contains("\"/inside\""),
            "{}",
            answered.stdout
        );
    }
}

#[test]
fn the_socket_is_roots_and_is_shown_as_a_bind_mount() {
    let home = Home::with_image(DEBIAN);

    let told = home
        .dhow(&[
            "run",
            "--name",
            "inside",
            "-v",
            "/var/run/docker.sock:/run/d.sock:ro",
            DEBIAN,
            "stat",
            "-c",
            "%F %U:%G %a",
            "/run/d.sock",
        ])
        .succeed();
    let mounts = home
        .dhow(&[
            "inspect",
            "-f",
            "{{range .Mounts}}{{.Type}} {{.Source}} {{.RW}}{{end}}",
            "inside",
        ])
        .succeed();

    assert_eq!(told.text(), "socket root:root 660");
    assert_eq!(mounts.text(), "bind /var/run/docker.sock false");
}

#[test]
fn a_container_without_the_socket_cannot_reach_the_api() {
    let home = Home::with_image(DEBIAN);

    let filtered = home.dhow(&["run", "--rm", DEBIAN, "perl", "-e", KNOCK]);
    let privileged = home.dhow(&["run", "--rm", "--privileged", DEBIAN, "perl", "-e", KNOCK]);

    assert!(
        filtered.stderr.contains("socket: Operation not permitted"),
        "{filtered:?}"
    );
    assert!(!privileged.stdout.contains("HTTP"), "{privileged:?}");
    assert!(privileged.stdout.contains("answer: []"), "{privileged:?}");
}

#[test]
fn many_clients_of_one_container_are_served() {
    let home = Home::with_image(DEBIAN);
    let script = format!(
        "for i in $(seq 20); do perl -e '{ASK}' /var/run/docker.sock /_ping | grep -c '^OK' & done; wait"
    );

    let answers = home
        .dhow(&[
            "run",
            "--rm",
            "-v",
            "/var/run/docker.sock:/var/run/docker.sock",
            DEBIAN,
            "sh",
            "-c",
            &script,
        ])
        .succeed();

    assert_eq!(
        answers.text().lines().filter(|line| *line == "1").count(),
        20
    );
}
