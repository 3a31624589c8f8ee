//! From flags to the API's configuration.

use clap::Parser;
use dhow_api::client::request::ContainerCreateBody;

use super::{Streams, resolve, streams};
use crate::args::{Cli, Verb, container::ContainerArgs};

fn typed(flags: &[&str]) -> ContainerArgs {
    let line = ["dhow", "create"].iter().chain(flags);
    match Cli::try_parse_from(line).expect("valid flags").verb {
        Verb::Create(args) => args.container,
        other => panic!("not create: {other:?}"),
    }
}

fn body(flags: &[&str]) -> ContainerCreateBody {
    resolve(&typed(flags), Streams::default()).expect("a configuration")
}

fn refusal(flags: &[&str]) -> String {
    format!(
        "{:#}",
        resolve(&typed(flags), Streams::default()).expect_err("a refusal")
    )
}

#[test]
fn limits_arrive_in_the_api_s_units() {
    let body = body(&[
        "--memory",
        "64m",
        "--memory-swap",
        "-1",
        "--cpus",
        "0.5",
        "--pids-limit",
        "-1",
        "--shm-size=1m",
        "--ulimit",
        "nofile=10:20",
        "busybox",
    ]);
    let config = body.host_config.expect("a host configuration");
    assert_eq!(config.memory, Some(67_108_864));
    assert_eq!(config.memory_swap, Some(-1));
    assert_eq!(config.nano_cpus, Some(500_000_000));
    assert_eq!(config.pids_limit, Some(-1));
    assert_eq!(config.shm_size, Some(1_048_576));
    assert_eq!(config.ulimits.expect("a limit")[0].hard, Some(20));
}

#[test]
fn a_published_port_is_exposed_too() {
    let body = body(&[
        "-p",
        "8080:80",
        "-p",
        "127.0.0.1:5353:53/udp",
        "--expose",
        "90",
        "busybox",
    ]);
    assert_eq!(
        body.exposed_ports.expect("ports"),
        ["53/udp", "80/tcp", "90/tcp"]
    );
    let bindings = body
        .host_config
        .and_then(|config| config.port_bindings)
        .expect("bindings");
    let udp = bindings["53/udp"].as_ref().expect("an address");
    assert_eq!(udp[0].host_ip.as_deref(), Some("127.0.0.1"));
    assert_eq!(udp[0].host_port.as_deref(), Some("5353"));
}

#[test]
fn the_command_keeps_its_own_flags() {
    let body = body(&["--name", "x", "busybox", "ls", "-l", "--name", "y"]);
    assert_eq!(body.cmd.expect("a command"), ["ls", "-l", "--name", "y"]);
}

#[test]
fn an_empty_entrypoint_takes_the_image_s_away() {
    assert_eq!(
        body(&["--entrypoint", "", "busybox"])
            .entrypoint
            .expect("one"),
        [""]
    );
    assert_eq!(body(&["busybox"]).entrypoint, None);
}

#[test]
fn input_closes_with_its_first_writer_when_attached() {
    let args = typed(&["-i", "busybox"]);
    let attached = streams(&args, false).expect("streams");
    let body = resolve(&args, attached).expect("a configuration");
    assert_eq!((body.open_stdin, body.stdin_once), (Some(true), Some(true)));
}

#[test]
fn streams_follow_the_flags() {
    let all = Streams {
        stdin: true,
        stdout: true,
        stderr: true,
    };
    assert_eq!(
        streams(&typed(&["-it", "busybox"]), false).expect("streams"),
        all
    );
    let one = Streams {
        stderr: true,
        ..Streams::default()
    };
    assert_eq!(
        streams(&typed(&["-a", "STDERR", "busybox"]), false).expect("streams"),
        one
    );
    assert_eq!(
        streams(&typed(&["busybox"]), true).expect("streams"),
        Streams::default()
    );
    let _refused = streams(&typed(&["-a", "stdout", "busybox"]), true).expect_err("a refusal");
    let _refused = streams(&typed(&["-a", "x", "busybox"]), false).expect_err("a refusal");
}

#[test]
fn what_is_not_there_yet_is_refused_clearly() {
    assert!(refusal(&["-v", "relative", "busybox"]).contains("invalid --volume"));
    assert!(refusal(&["--network", "ip=10.0.0.1", "busybox"]).contains("names no network"));
    assert!(refusal(&["--platform", "linux/arm64", "busybox"]).contains("only linux/amd64"));
    assert!(refusal(&["--cpus", "many", "busybox"]).starts_with("invalid --cpus"));
    assert!(refusal(&["--cpus=-1", "busybox"]).starts_with("invalid --cpus"));
    assert!(refusal(&["--rm", "--restart", "always", "busybox"]).contains("exclude each other"));
    assert!(refusal(&["--sysctl", "x", "busybox"]).contains("key=value"));
}
