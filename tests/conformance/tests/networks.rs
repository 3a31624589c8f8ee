//! Networks as the docker CLI makes and uses them, in a real machine.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use dhow_conformance_tests::{ask, docker_home, eventually, host_port};
use dhow_harness::{BUSYBOX, Finished, Home};

/// Starts a container that stays.
#[track_caller]
fn stay(home: &Home, options: &[&str]) {
    let command = [BUSYBOX, "sleep", "1000"];
    let line = [&["run", "-d", "--init"], options, &command].concat();
    let _ = home.docker(&line).succeed();
}

/// Runs a shell line in a container.
fn inside(home: &Home, container: &str, line: &str) -> Finished {
    home.docker(&["exec", container, "sh", "-c", line])
}

/// What a template shows of a container.
#[track_caller]
fn shown(home: &Home, template: &str, container: &str) -> String {
    let printed = home
        .docker(&["inspect", "-f", template, container])
        .succeed();
    printed.text().trim().to_owned()
}

/// A server on the host's loopback that answers every connection with a word.
fn host_server(word: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut request = [0; 64];
            let _asked = stream.read(&mut request);
            let _gone = stream.write_all(word.as_bytes());
        }
    });
    port
}

#[test]
fn containers_of_a_network_find_each_other_by_name_and_alias() {
    let home = docker_home();
    let _ = home.docker(&["network", "create", "front"]).succeed();
    stay(
        &home,
        &[
            "--name",
            "web",
            "--network",
            "front",
            "--network-alias",
            "site",
        ],
    );
    stay(&home, &["--name", "client", "--network", "front"]);
    let id = shown(&home, "{{.Id}}", "web");

    for name in ["web", "site", &id[..12]] {
        let pinged = inside(&home, "client", &format!("ping -c 1 -W 5 {name}"));
        assert!(
            pinged.succeed().text().contains("1 packets received"),
            "{name}"
        );
    }
}

#[test]
fn networks_do_not_see_each_other() {
    let home = docker_home();
    let _ = home.docker(&["network", "create", "front"]).succeed();
    let _ = home.docker(&["network", "create", "back"]).succeed();
    stay(&home, &["--name", "web", "--network", "front"]);
    stay(&home, &["--name", "db", "--network", "back"]);
    let template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = shown(&home, template, "db");

    let pinged = inside(&home, "web", &format!("ping -c 1 -W 2 {address}"));
    let named = inside(&home, "web", "ping -c 1 -W 2 db");

    assert_ne!(pinged.code, 0, "{pinged:?}");
    assert_ne!(named.code, 0, "{named:?}");
}

#[test]
fn a_container_reaches_the_hosts_own_services() {
    let home = docker_home();
    let port = host_server("hello from the host");
    stay(&home, &["--name", "client"]);

    let line = format!("echo ask | nc -w 10 host.docker.internal {port}");
    let answer = inside(&home, "client", &line).succeed();

    assert!(answer.text().contains("hello from the host"), "{answer:?}");
}

#[test]
fn a_refused_connection_is_refused() {
    let home = docker_home();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    stay(
        &home,
        &["--name", "client", "--add-host", "me:host-gateway"],
    );

    let refused = inside(&home, "client", &format!("nc -w 10 me {free} < /dev/null"));

    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("refused"), "{refused:?}");
}

#[test]
fn an_internal_network_leads_nowhere() {
    let home = docker_home();
    let port = host_server("out");
    let _ = home
        .docker(&["network", "create", "--internal", "vault"])
        .succeed();
    stay(&home, &["--name", "one", "--network", "vault"]);
    stay(&home, &["--name", "two", "--network", "vault"]);
    let template = "{{(index (index .IPAM.Config) 0).Gateway}}";
    let printed = home
        .docker(&["network", "inspect", "-f", template, "vault"])
        .succeed();
    let gateway = printed.text().trim().to_owned();

    let each_other = inside(&home, "one", "ping -c 1 -W 5 two");
    let route = inside(&home, "one", "ip route").succeed();
    let out = inside(
        &home,
        "one",
        &format!("echo ask | nc -w 2 {gateway} {port}"),
    );

    assert_eq!(each_other.code, 0, "{each_other:?}");
    assert!(!route.text().contains("default"), "{route:?}");
    assert!(!out.text().contains("out"), "{out:?}");
}

#[test]
fn a_link_tells_names_and_variables_as_docker_does() {
    let home = docker_home();
    stay(
        &home,
        &["--name", "store", "--expose", "5432", "-e", "POSTGRES_DB=x"],
    );
    let address = shown(&home, "{{.NetworkSettings.IPAddress}}", "store");
    let line = [
        "run", "--rm", "--name", "web", "--link", "store:db", BUSYBOX, "sh", "-c",
    ];
    let script =
        "env | grep ^DB_ | sort; grep db /etc/hosts; ping -c 1 -W 5 db >/dev/null && echo up";

    let printed = home.docker(&[&line[..], &[script]].concat()).succeed();

    let id = shown(&home, "{{.Config.Hostname}}", "store");
    let expected = format!(
        "DB_ENV_POSTGRES_DB=x\nDB_NAME=/web/db\nDB_PORT=tcp://{address}:5432\n\
         DB_PORT_5432_TCP=tcp://{address}:5432\nDB_PORT_5432_TCP_ADDR={address}\n\
         DB_PORT_5432_TCP_PORT=5432\nDB_PORT_5432_TCP_PROTO=tcp\n\
         {address}\tdb {id} store\nup"
    );
    assert_eq!(printed.text(), expected);
}

#[test]
fn a_running_container_is_connected_and_disconnected() {
    let home = docker_home();
    let _ = home.docker(&["network", "create", "front"]).succeed();
    stay(&home, &["--name", "web", "--network", "front"]);
    stay(&home, &["--name", "client"]);

    let before = inside(&home, "client", "ip addr show eth1");
    let _ = home
        .docker(&["network", "connect", "--alias", "me", "front", "client"])
        .succeed();
    let there = inside(&home, "web", "ping -c 1 -W 5 me");
    let _ = home
        .docker(&["network", "disconnect", "front", "client"])
        .succeed();
    let after = inside(&home, "client", "ip addr show eth1");

    assert_ne!(before.code, 0, "{before:?}");
    assert_eq!(there.code, 0, "{there:?}");
    assert_ne!(after.code, 0, "{after:?}");
}

#[test]
fn published_ports_work_on_every_kind_of_network() {
    let home = docker_home();
    let _ = home.docker(&["network", "create", "front"]).succeed();
    for network in ["bridge", "front", "none", "host"] {
        let options = [
            "run",
            "-d",
            "--name",
            network,
            "--network",
            network,
            "-p",
            "0:8080",
        ];
        let server = [BUSYBOX, "httpd", "-f", "-p", "8080", "-h", "/etc"];
        let _ = home.docker(&[&options[..], &server].concat()).succeed();

        let port = host_port(&home, network, "8080");
        let answer = ask(port, b"GET /hostname HTTP/1.0\r\n\r\n");

        assert!(
            answer.is_some_and(|answer| answer.contains("200 OK")),
            "{network}"
        );
        let _ = home.docker(&["rm", "-f", network]).succeed();
    }
}

#[test]
fn a_container_shares_anothers_network() {
    let home = docker_home();
    stay(&home, &["--name", "web", "--hostname", "web"]);
    let address = shown(&home, "{{.NetworkSettings.IPAddress}}", "web");

    let line = [
        "run",
        "--rm",
        "--network",
        "container:web",
        BUSYBOX,
        "ip",
        "addr",
    ];
    let printed = home.docker(&line).succeed();

    assert!(printed.text().contains(&address), "{printed:?}");
}

#[test]
fn networks_are_there_again_after_the_machine() {
    let home = docker_home();
    let _ = home
        .docker(&["network", "create", "--subnet", "10.89.7.0/24", "front"])
        .succeed();
    stay(
        &home,
        &["--name", "web", "--network", "front", "--ip", "10.89.7.9"],
    );
    let _ = home.dhow(&["machine", "down", "--force"]).succeed();

    let _ = home.docker(&["start", "web"]).succeed();

    let line = [
        "run",
        "--rm",
        "--network",
        "front",
        BUSYBOX,
        "ping",
        "-c",
        "1",
        "-W",
        "5",
        "web",
    ];
    let pinged = home.docker(&line).succeed();
    assert!(pinged.text().contains("10.89.7.9"), "{pinged:?}");
}

#[test]
fn a_network_in_use_stays_and_an_unused_one_is_pruned() {
    let home = docker_home();
    let _ = home.docker(&["network", "create", "used"]).succeed();
    let _ = home
        .docker(&["network", "create", "--label", "tier=web", "unused"])
        .succeed();
    stay(&home, &["--name", "web", "--network", "used"]);

    let refused = home.docker(&["network", "rm", "used"]);
    let pruned = home.docker(&["network", "prune", "-f"]).succeed();

    assert_ne!(refused.code, 0);
    assert!(
        refused.stderr.contains("has active endpoints"),
        "{refused:?}"
    );
    assert_eq!(pruned.text(), "Deleted Networks:\nunused");
    let listed = home
        .docker(&["network", "ls", "--format", "{{.Name}}"])
        .succeed();
    assert_eq!(listed.text(), "bridge\nhost\nnone\nused");
}

#[test]
fn events_tell_of_networks() {
    let home = docker_home();
    let _ = home.docker(&["network", "create", "front"]).succeed();
    let _ = home
        .docker(&["run", "--rm", "--network", "front", BUSYBOX, "true"])
        .succeed();
    let _ = home.docker(&["network", "rm", "front"]).succeed();

    let told = eventually("four events", || {
        let line = [
            "events",
            "--since",
            "1h",
            "--until",
            "0s",
            "--filter",
            "type=network",
        ];
        let format = ["--format", "{{.Action}}"];
        let printed = home.docker(&[&line[..], &format].concat()).succeed();
        (printed.text().lines().count() == 4).then(|| printed.text().to_owned())
    });

    assert_eq!(told, "create\nconnect\ndisconnect\ndestroy");
}
