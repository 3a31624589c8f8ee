//! `dhow network`, and containers on networks.

use dhow_harness::{BUSYBOX, Home};

/// What a template shows of a network.
#[track_caller]
fn shown(home: &Home, template: &str, network: &str) -> String {
    let printed = home.dhow(&["network", "inspect", "-f", template, network]);
    printed.succeed().text().to_owned()
}

#[test]
fn a_network_is_made_listed_and_removed() {
    let home = Home::with_image(BUSYBOX);

    let made = home
        .dhow(&["network", "create", "--subnet", "10.88.0.0/16", "front"])
        .succeed();

    let listed = home.dhow(&[
        "network",
        "ls",
        "--no-trunc",
        "--format",
        "{{.ID}} {{.Name}}",
    ]);
    let line = format!("{} front", made.text());
    assert!(listed.succeed().text().contains(&line));
    let template = "{{(index .IPAM.Config 0).Gateway}}";
    assert_eq!(shown(&home, template, "front"), "10.88.0.1");
    assert_eq!(
        home.dhow(&["network", "rm", "front"]).succeed().text(),
        "front"
    );
    assert_ne!(home.dhow(&["network", "inspect", "front"]).code, 0);
}

#[test]
fn a_container_is_called_by_its_alias_at_the_address_it_asked_for() {
    let home = Home::with_image(BUSYBOX);
    let _ = home
        .dhow(&["network", "create", "--subnet", "10.88.0.0/16", "front"])
        .succeed();
    let network = "name=front,alias=site,ip=10.88.0.77";
    let line = [
        "run",
        "-d",
        "--init",
        "--network",
        network,
        BUSYBOX,
        "sleep",
        "1000",
    ];
    let _ = home.dhow(&line).succeed();

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
        "site",
    ];
    let pinged = home.dhow(&line).succeed();

    assert!(pinged.text().contains("10.88.0.77"), "{pinged:?}");
}

#[test]
fn ipv6_is_there_where_it_was_asked_for() {
    let home = Home::with_image(BUSYBOX);
    let _ = home
        .dhow(&[
            "network",
            "create",
            "--ipv6",
            "--subnet",
            "fd00:88::/64",
            "six",
        ])
        .succeed();
    let line = [
        "run",
        "-d",
        "--init",
        "--name",
        "web",
        "--network",
        "six",
        BUSYBOX,
        "sleep",
        "1000",
    ];
    let _ = home.dhow(&line).succeed();

    let line = [
        "run",
        "--rm",
        "--network",
        "six",
        BUSYBOX,
        "ping",
        "-6",
        "-c",
        "1",
        "-W",
        "5",
        "web",
    ];
    let pinged = home.dhow(&line).succeed();

    assert!(pinged.text().contains("fd00:88::"), "{pinged:?}");
}

#[test]
fn a_container_without_network_has_a_loopback_interface_alone() {
    let home = Home::with_image(BUSYBOX);

    let listed = home.dhow(&[
        "run",
        "--rm",
        "--network",
        "none",
        BUSYBOX,
        "ls",
        "/sys/class/net",
    ]);

    assert_eq!(listed.succeed().text(), "lo");
}

#[test]
fn a_network_that_is_not_there_is_named() {
    let home = Home::with_image(BUSYBOX);

    let refused = home.dhow(&["run", "--rm", "--network", "nowhere", BUSYBOX, "true"]);

    assert_eq!(refused.code, 125);
    assert!(
        refused.stderr.contains("network nowhere not found"),
        "{refused:?}"
    );
}

#[test]
fn names_of_the_host_end_are_answered() {
    let home = Home::with_image(BUSYBOX);

    let line = ["run", "--rm", BUSYBOX, "nslookup", "host.docker.internal"];
    let answer = home.dhow(&line).succeed();

    let gateway = shown(&home, "{{(index .IPAM.Config 0).Gateway}}", "bridge");
    assert!(answer.text().contains(&gateway), "{answer:?}");
}
