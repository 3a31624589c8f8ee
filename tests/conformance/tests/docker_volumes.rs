//! Volumes and the mounted socket, with the real docker CLI.

use std::fs;

use dhow_conformance_tests::docker_home;
use dhow_harness::{BUSYBOX, Home, run};

#[test]
fn volumes_live_through_their_verbs() {
    let home = docker_home();
    let docker = |arguments: &[&str]| home.docker(arguments).succeed().text().to_owned();

    assert_eq!(
        docker(&["volume", "create", "--label", "a=b", "data"]),
        "data"
    );
    let _ = docker(&[
        "run",
        "--rm",
        "-v",
        "data:/d",
        BUSYBOX,
        "sh",
        "-c",
        "echo kept >/d/f",
    ]);
    assert_eq!(
        docker(&["run", "--rm", "-v", "data:/d:ro", BUSYBOX, "cat", "/d/f"]),
        "kept"
    );
    assert_eq!(
        docker(&["volume", "ls", "-q", "--filter", "label=a=b"]),
        "data"
    );
    assert_eq!(
        docker(&[
            "volume",
            "inspect",
            "-f",
            "{{.Name}} {{.Driver}} {{.Scope}}",
            "data"
        ]),
        "data local local"
    );
    let _ = docker(&[
        "create", "--name", "user", "-v", "data:/d", "-v", "/own", BUSYBOX,
    ]);
    assert!(
        home.docker(&["volume", "rm", "data"])
            .exit(1)
            .stderr
            .contains("volume is in use")
    );
    assert_eq!(docker(&["volume", "ls", "-q"]).lines().count(), 2);
    let _ = docker(&["rm", "-v", "user"]);
    assert_eq!(docker(&["volume", "ls", "-q"]), "data");
    let _ = docker(&["volume", "prune", "-f"]);
    assert_eq!(docker(&["volume", "ls", "-q"]), "data");
    let _ = docker(&["volume", "prune", "-af"]);
    assert_eq!(docker(&["volume", "ls", "-q"]), "");
}

#[test]
fn every_form_of_mount_is_understood() {
    let home = docker_home();

    let told = home
        .docker(&[
            "run",
            "--rm",
            "-v",
            "/anonymous",
            "-v",
            "named:/named:nocopy",
            "--mount",
            "type=volume,source=named,target=/again,readonly,volume-label=a=b",
            "--mount",
            "type=tmpfs,target=/scratch,tmpfs-size=65536,tmpfs-mode=0700",
            "--tmpfs",
            "/t:size=64k",
            BUSYBOX,
            "sh",
            "-c",
            "for d in anonymous named again scratch t; do grep -c \" /$d \" /proc/mounts; done",
        ])
        .succeed();

    assert_eq!(told.text(), "1\n1\n1\n1\n1");
    assert_eq!(
        home.docker(&["volume", "ls", "-q"]).succeed().text(),
        "named"
    );
}

#[test]
fn dhow_and_docker_show_the_same() {
    let home = docker_home();
    for name in ["one", "two"] {
        let _ = home
            .dhow(&["volume", "create", "--label", "k=v", name])
            .succeed();
    }

    for line in [
        &["volume", "ls"][..],
        &["volume", "ls", "-q"],
        &[
            "volume",
            "ls",
            "--format",
            "{{.Name}} {{.Labels}} {{.Mountpoint}}",
        ],
        &["volume", "ls", "--format", "json"],
        &["volume", "inspect", "one", "two"],
        &["volume", "inspect", "none"],
        &["volume", "rm", "none"],
        &["volume", "rm", "-f", "none"],
    ] {
        let (docker, dhow) = (home.docker(line), home.dhow(line));
        assert_eq!(
            (docker.code, docker.stdout),
            (dhow.code, dhow.stdout),
            "{line:?}"
        );
    }
}

/// Puts the docker CLI into a volume.
fn install_docker(home: &Home) {
    let path = which_docker();
    let program = fs::read(path).expect("the docker CLI can be read");
    let line = [
        "run",
        "--rm",
        "-i",
        "-v",
        "tools:/tools",
        BUSYBOX,
        "sh",
        "-c",
        "cat >/tools/docker && chmod 755 /tools/docker",
    ];
    let _ = run(&mut home.command(&line), &program).succeed();
}

fn which_docker() -> std::path::PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("docker"))
        .find(|program| program.is_file())
        .expect("docker was found before")
}

#[test]
fn docker_works_inside_a_container_that_has_the_socket() {
    let home = docker_home();
    install_docker(&home);
    let inside = |script: &str| {
        home.docker(&[
            "run",
            "--rm",
            "--name",
            "inside",
            "-v",
            "tools:/tools",
            "-v",
            "/var/run/docker.sock:/var/run/docker.sock",
            BUSYBOX,
            "sh",
            "-c",
            script,
        ])
    };

    let listed = inside("/tools/docker ps --format '{{.Names}}'").succeed();
    let ran = inside("echo typed | /tools/docker run --rm -i busybox sh -c 'cat; exit 3'").exit(3);
    let executed = inside("echo in | /tools/docker exec -i inside wc -c").succeed();

    assert_eq!(listed.text(), "inside");
    assert_eq!(ran.text(), "typed");
    assert_eq!(executed.text(), "3");
}
