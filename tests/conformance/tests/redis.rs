//! A real server: redis behind a published port, measured by its own benchmark, its data kept over
//! `stop` and `start`.

use std::process::Command;

use dhow_conformance_tests::{eventually, host_port, need};
use dhow_harness::{Finished, Home, REDIS, run};

fn redis(program: &str, port: u16, arguments: &[&str]) -> Finished {
    let mut command = Command::new(program);
    command.args(["-p", &port.to_string()]).args(arguments);
    run(&mut command, b"")
}

/// Starts a server that any address may use, with these further settings.
fn start(home: &Home, settings: &[&str]) {
    let run = ["run", "-d", "--name", "redis", "-p", "0:6379", REDIS];
    let server = ["redis-server", "--protected-mode", "no"];
    let _ = home.dhow(&[&run[..], &server, settings].concat()).succeed();
}

/// The port, once the server answers there.
fn ready(home: &Home) -> u16 {
    let port = host_port(home, "redis", "6379");
    eventually("redis", || {
        (redis("redis-cli", port, &["ping"]).text() == "PONG").then_some(())
    });
    port
}

#[test]
fn serves_the_host_and_keeps_its_data() {
    need("redis-benchmark");
    let home = Home::with_image(REDIS);
    start(&home, &["--save", "3600 1"]);
    let port = ready(&home);

    let measured = redis(
        "redis-benchmark",
        port,
        &["-n", "2000", "-q", "-t", "set,get,lpush,mset"],
    );
    assert!(measured.succeed().stdout.contains("requests per second"));
    let _ = redis("redis-cli", port, &["set", "colour", "blue"]).succeed();

    let _ = home.dhow(&["stop", "redis"]).succeed();
    let code = home.dhow(&["inspect", "-f", "{{.State.ExitCode}}", "redis"]);
    assert_eq!(
        code.succeed().text(),
        "0",
        "redis was not given the time to save"
    );
    let _ = home.dhow(&["start", "redis"]).succeed();

    let kept = redis("redis-cli", ready(&home), &["get", "colour"]).succeed();
    assert_eq!(kept.text(), "blue");
}

#[test]
fn data_survives_an_orderly_end_of_the_daemon() {
    need("redis-cli");
    let home = Home::with_image(REDIS);
    start(&home, &["--appendonly", "yes", "--appendfsync", "always"]);
    let _ = redis("redis-cli", ready(&home), &["set", "colour", "blue"]).succeed();

    let _ = home.dhow(&["daemon", "stop"]).succeed();
    let _ = home.dhow(&["start", "redis"]).succeed();

    let kept = redis("redis-cli", ready(&home), &["get", "colour"]).succeed();
    assert_eq!(kept.text(), "blue");
}
