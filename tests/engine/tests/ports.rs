//! Published ports: bound before `run` returns, on loopback, both ways, TCP and UDP.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use dhow_harness::{BUSYBOX, DEBIAN, Home};

/// No wait in a test is longer.
const TIMEOUT: Duration = Duration::from_secs(20);

fn published(home: &Home, container: &str, port: &str) -> u16 {
    let printed = home.dhow(&["port", container, port]).succeed();
    let address = printed
        .text()
        .lines()
        .next()
        .expect("one address")
        .to_owned();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    address
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port")
}

fn talk(port: u16, request: &[u8]) -> String {
    let mut stream =
        TcpStream::connect(("127.0.0.1", port)).expect("the server keeps the connection");
    stream
        .set_read_timeout(Some(TIMEOUT))
        .expect("the server keeps the connection");
    stream
        .write_all(request)
        .expect("the server keeps the connection");
    stream
        .shutdown(Shutdown::Write)
        .expect("the server keeps the connection");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("the server keeps the connection");
    answer
}

#[test]
fn a_web_server_answers_the_first_request() {
    let home = Home::with_image(BUSYBOX);
    let script = "echo from the container >/index.html; exec httpd -f -p 80 -h /";

    let _ = home
        .dhow(&[
            "run", "-d", "--name", "web", "-p", "0:80", BUSYBOX, "sh", "-c", script,
        ])
        .succeed();
    let answer = talk(
        published(&home, "web", "80"),
        b"GET /index.html HTTP/1.0\r\n\r\n",
    );

    assert!(answer.ends_with("from the container\n"), "{answer}");
}

#[test]
fn a_client_may_close_its_half_and_still_be_answered() {
    let home = Home::with_image(BUSYBOX);
    let _ = home
        .dhow(&[
            "run", "-d", "--name", "count", "-p", "0:7", BUSYBOX, "nc", "-ll", "-p", "7", "-e",
            "wc", "-c",
        ])
        .succeed();

    let answer = talk(published(&home, "count", "7"), &[b'x'; 100_000]);

    assert_eq!(answer.trim(), "100000");
}

#[test]
fn an_application_that_listens_late_is_waited_for() {
    let home = Home::with_image(BUSYBOX);
    let script = "sleep 1; echo late | nc -l -p 7";
    let _ = home
        .dhow(&[
            "run", "-d", "--name", "late", "-p", "0:7", BUSYBOX, "sh", "-c", script,
        ])
        .succeed();

    let answer = talk(published(&home, "late", "7"), b"");

    assert_eq!(answer, "late\n");
}

#[test]
fn a_taken_port_is_named_and_nothing_is_left() {
    let home = Home::with_image(BUSYBOX);
    let holder = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = holder.local_addr().unwrap().port();

    let refused = home
        .dhow(&["run", "--rm", "-p", &format!("{port}:80"), BUSYBOX, "true"])
        .exit(125);

    assert!(
        refused.stderr.contains(&port.to_string()),
        "{}",
        refused.stderr
    );
    assert_eq!(home.dhow(&["ps", "-aq"]).succeed().text(), "");
}

#[test]
fn a_stopped_container_gives_its_port_back() {
    let home = Home::with_image(BUSYBOX);
    let _ = home
        .dhow(&[
            "run", "-d", "--name", "web", "-p", "0:80", BUSYBOX, "httpd", "-f", "-p", "80",
        ])
        .succeed();
    let port = published(&home, "web", "80");

    let _ = home.dhow(&["stop", "-t", "1", "web"]).succeed();

    TcpListener::bind(("127.0.0.1", port)).expect("the port is free again");
}

#[test]
fn every_udp_client_gets_its_own_answers() {
    let home = Home::with_image(DEBIAN);
    let server = "use Socket; socket(S, PF_INET, SOCK_DGRAM, 17) or die; \
                  bind(S, sockaddr_in(7, INADDR_ANY)) or die; $| = 1; print qq(up\\n); \
                  while (my $from = recv(S, my $said, 65535, 0)) { send(S, $said, 0, $from) }";
    let _ = home
        .dhow(&[
            "run", "-d", "--name", "echo", "-p", "0:7/udp", DEBIAN, "perl", "-e", server,
        ])
        .succeed();
    while !home.dhow(&["logs", "echo"]).succeed().stdout.contains("up") {}
    let port = published(&home, "echo", "7/udp");
    let clients: Vec<UdpSocket> = (0..20)
        .map(|_| {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.set_read_timeout(Some(TIMEOUT)).unwrap();
            client.connect(("127.0.0.1", port)).unwrap();
            client
        })
        .collect();

    let answers: Vec<String> = clients
        .iter()
        .enumerate()
        .map(|(index, client)| {
            client.send(format!("client {index}").as_bytes()).unwrap();
            let mut buffer = [0; 64];
            let length = client.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        })
        .collect();

    let expected: Vec<String> = (0..20).map(|index| format!("client {index}")).collect();
    assert_eq!(answers, expected);
}

#[test]
fn bad_port_specifications_are_refused_by_name() {
    let home = Home::with_image(BUSYBOX);

    for bad in [
        "x:80",
        "80:70000",
        "1.2.3:80:80",
        "8000-8010:80-81",
        "80:80/icmp",
    ] {
        let refused = home
            .dhow(&["run", "--rm", "-p", bad, BUSYBOX, "true"])
            .exit(125);
        assert!(refused.stderr.contains(bad), "{bad}: {}", refused.stderr);
    }
}

#[test]
fn clients_that_give_up_on_a_server_that_never_accepts_leave_nothing() {
    let home = Home::with_image(DEBIAN);
    let server = "use Socket; socket(S, PF_INET, SOCK_STREAM, 6) or die; \
                  bind(S, sockaddr_in(7, INADDR_ANY)) or die; listen(S, 1) or die; sleep 1000";
    let _ = home
        .dhow(&[
            "run", "-d", "--name", "deaf", "-p", "0:7", DEBIAN, "perl", "-e", server,
        ])
        .succeed();
    let port = published(&home, "deaf", "7");
    let before = descriptors(&home);

    let clients: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    drop(clients);

    let deadline = Instant::now() + TIMEOUT;
    while descriptors(&home) > before + SPARE_DESCRIPTORS {
        assert!(
            Instant::now() < deadline,
            "{} descriptors, {before} before",
            descriptors(&home)
        );
        thread::sleep(Duration::from_millis(50));
    }
}

/// Descriptors that come and go with calls under way.
const SPARE_DESCRIPTORS: usize = 8;

/// Open descriptors of the home's daemon and device process.
fn descriptors(home: &Home) -> usize {
    let ids = [
        home.processes_with("bin/dhow daemon"),
        home.processes_with("bin/dhow devices"),
    ];
    ids.concat()
        .iter()
        .map(|id| std::fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count))
        .sum()
}
