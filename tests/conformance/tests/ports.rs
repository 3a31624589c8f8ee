//! Published ports as the docker CLI asks for them, and homes beside each other.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use dhow_conformance_tests::{ask, docker_home, eventually, host_port, need};
use dhow_harness::{BUSYBOX, DEBIAN, Home};

/// Lines of `docker port`, sorted.
fn published(home: &Home, container: &str) -> Vec<String> {
    let printed = home.docker(&["port", container]).succeed();
    let mut lines: Vec<String> = printed.text().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The first of three neighbouring ports that were free a moment ago.
fn three_free_ports() -> u16 {
    eventually("three free ports", || {
        let first = TcpListener::bind("127.0.0.1:0").ok()?;
        let port = first.local_addr().ok()?.port();
        let _second = TcpListener::bind(("127.0.0.1", port.checked_add(1)?)).ok()?;
        let _third = TcpListener::bind(("127.0.0.1", port.checked_add(2)?)).ok()?;
        Some(port)
    })
}

#[test]
fn a_range_is_published_port_by_port() {
    let home = docker_home();
    let first = three_free_ports();
    let range = format!("{first}-{}:80-82", first + 2);
    let script = "for port in 80 81 82; do httpd -p $port -h /etc; done; exec sleep 1000";

    let _ = home
        .docker(&[
            "run", "-d", "--name", "web", "-p", &range, BUSYBOX, "sh", "-c", script,
        ])
        .succeed();

    let expected =
        [80, 81, 82].map(|port| format!("{port}/tcp -> 127.0.0.1:{}", first + port - 80));
    assert_eq!(published(&home, "web"), expected);
    for offset in 0..3 {
        let answer = ask(first + offset, b"GET /hostname HTTP/1.0\r\n\r\n");
        assert!(
            answer.is_some_and(|answer| answer.contains("200 OK")),
            "{offset}"
        );
    }
}

#[test]
fn every_exposed_port_is_published_on_request() {
    let home = docker_home();

    let _ = home
        .docker(&[
            "run", "-d", "-P", "--name", "web", "--expose", "80", "--expose", "53/udp", BUSYBOX,
            "httpd", "-f", "-p", "80", "-h", "/etc",
        ])
        .succeed();

    let lines = published(&home, "web");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("53/udp -> 127.0.0.1:"), "{lines:?}");
    assert!(lines[1].starts_with("80/tcp -> 127.0.0.1:"), "{lines:?}");
    let answer = ask(
        host_port(&home, "web", "80"),
        b"GET /hostname HTTP/1.0\r\n\r\n",
    );
    assert!(answer.is_some_and(|answer| answer.contains("200 OK")));
}

#[test]
fn a_port_another_container_holds_is_refused_until_that_one_stops() {
    let home = docker_home();
    let _ = home
        .docker(&[
            "run", "-d", "--name", "first", "-p", "0:80", BUSYBOX, "sleep", "1000",
        ])
        .succeed();
    let taken = host_port(&home, "first", "80").to_string();
    let wanted = format!("{taken}:80");

    let line = [
        "run", "-d", "--name", "second", "-p", &wanted, BUSYBOX, "sleep", "1000",
    ];
    let refused = home.docker(&line).exit(125);
    let _ = home.docker(&["stop", "-t", "0", "first"]).succeed();
    let _ = home.docker(&["start", "second"]).succeed();

    assert!(refused.stderr.contains(&taken), "{refused:?}");
    assert!(
        refused.stderr.contains("port is already allocated"),
        "{refused:?}"
    );
    assert_eq!(
        published(&home, "second"),
        [format!("80/tcp -> 127.0.0.1:{taken}")]
    );
}

#[test]
fn only_an_address_that_was_asked_for_is_listened_on() {
    let home = docker_home();
    let line = [
        "run",
        "-d",
        "--name",
        "narrow",
        "-p",
        "0:80",
        "-p",
        "127.0.0.2:0:81",
    ];
    let _ = home
        .docker(&[&line[..], &[BUSYBOX, "sleep", "1000"]].concat())
        .succeed();
    let line = ["run", "-d", "--name", "wide", "-p", "0.0.0.0:0:80"];
    let _ = home
        .docker(&[&line[..], &[BUSYBOX, "sleep", "1000"]].concat())
        .succeed();

    let (narrow, wide) = (
        host_port(&home, "narrow", "80"),
        host_port(&home, "wide", "80"),
    );
    let other = host_port(&home, "narrow", "81");

    // Every address of 127.0.0.0/8 is this host's, so a listener on all of them answers on each.
    TcpStream::connect(("127.0.0.1", narrow)).expect("published on 127.0.0.1");
    TcpStream::connect(("127.0.0.3", narrow)).expect_err("published on 127.0.0.1 only");
    TcpStream::connect(("127.0.0.2", other)).expect("published on 127.0.0.2");
    TcpStream::connect(("127.0.0.1", other)).expect_err("published on 127.0.0.2 only");
    TcpStream::connect(("127.0.0.3", wide)).expect("published on every address");
}

/// Answers each datagram with itself; busybox has no server for them, Debian's perl has the parts.
const UDP_ECHO: &str = "use IO::Socket::INET; \
    my $socket = IO::Socket::INET->new(LocalPort => 7, Proto => 'udp') or die; \
    while (defined $socket->recv(my $data, 1500)) { $socket->send($data) }";

#[test]
fn datagrams_are_answered() {
    need("docker");
    let home = Home::with_image(DEBIAN);
    let line = [
        "run", "-d", "--name", "echo", "-p", "0:7/udp", DEBIAN, "perl", "-e", UDP_ECHO,
    ];
    let _ = home.docker(&line).succeed();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    client
        .connect(("127.0.0.1", host_port(&home, "echo", "7/udp")))
        .unwrap();

    // A datagram that arrives before the server listens is lost, as on any network.
    let answer = eventually("an answer", || {
        let mut buffer = [0; 16];
        client.send(b"ping").unwrap();
        let length = client.recv(&mut buffer).ok()?;
        Some(buffer[..length].to_vec())
    });

    assert_eq!(answer, b"ping");
}

#[test]
fn two_homes_do_not_see_each_other() {
    let first = docker_home();
    let second = Home::with_image(BUSYBOX);
    let script = |word: &str| format!("echo {word} >/index.html; exec httpd -f -p 80 -h /");

    for (home, word) in [(&first, "first"), (&second, "second")] {
        let line = [
            "run",
            "-d",
            "--name",
            "web",
            "-p",
            "0:80",
            BUSYBOX,
            "sh",
            "-c",
            &script(word),
        ];
        let _ = home.docker(&line).succeed();
    }

    for (home, word) in [(&first, "first\n"), (&second, "second\n")] {
        let answer = ask(
            host_port(home, "web", "80"),
            b"GET /index.html HTTP/1.0\r\n\r\n",
        );
        assert!(
            answer.is_some_and(|answer| answer.ends_with(word)),
            "{word}"
        );
        let names = home.docker(&["ps", "-a", "--format", "{{.Names}}"]);
        assert_eq!(names.succeed().text(), "web");
    }
}
