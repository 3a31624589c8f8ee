//! The real Compose on files that need no build.

use std::fs;

use dhow_conformance_tests::{ask, eventually, python};
use dhow_harness::{BUSYBOX, Finished, Home, run};

/// A page that one service serves and another fetches by the first one's name, with a volume.
const STACK: &str = "
name: stack
services:
  web:
    image: busybox
    init: true
    command: sh -c 'echo from web > /data/index.html; exec httpd -f -p 80 -h /data'
    ports: ['127.0.0.1:0:80']
    volumes: ['pages:/data']
  reader:
    image: busybox
    init: true
    depends_on: [web]
    command: sh -c 'until wget -q -O - http://web/; do sleep 0.1; done; exec sleep 1000'
volumes:
  pages: {}
";

fn compose(home: &Home, arguments: &[&str]) -> Finished {
    let program = python::program("docker-compose");
    let mut command = home.client(
        program.to_str().expect("a cache in plain letters"),
        arguments,
    );
    run(&mut command, b"")
}

#[test]
fn a_stack_comes_up_is_looked_at_and_goes_down() {
    let home = Home::with_image(BUSYBOX);
    fs::write(home.path().join("compose.yaml"), STACK).expect("the home is ours");

    let _ = compose(&home, &["up", "--detach"]).succeed();

    let running = compose(&home, &["ps", "--services"]).succeed();
    let mut services: Vec<&str> = running.stdout.lines().collect();
    services.sort_unstable();
    assert_eq!(services, ["reader", "web"]);
    let said = compose(&home, &["exec", "-T", "web", "cat", "/data/index.html"]).succeed();
    assert_eq!(said.stdout, "from web\n");
    let published = compose(&home, &["port", "web", "80"]).succeed();
    let port = published
        .text()
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    assert!(
        ask(port.expect("a port"), b"GET / HTTP/1.0\r\n\r\n")
            .is_some_and(|answer| answer.contains("from web"))
    );
    eventually("the reader's log", || {
        let logs = compose(&home, &["logs", "reader"]).succeed();
        logs.stdout.contains("from web").then_some(())
    });

    let _ = compose(&home, &["down", "--volumes", "--timeout", "1"]).succeed();

    let left = home.docker(&["ps", "--all", "--quiet"]).succeed();
    assert_eq!(left.text(), "");
    let volumes = home.docker(&["volume", "ls", "--quiet"]).succeed();
    assert_eq!(volumes.text(), "");
}
