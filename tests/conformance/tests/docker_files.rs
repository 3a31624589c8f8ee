//! A container's files, by the real docker CLI and by ours: copied both ways, exported, compared,
//! committed; of containers that run and of those that do not.

use std::fs;
use std::process::Command;

use dhow_conformance_tests::docker_home;
use dhow_harness::{BUSYBOX, Finished, Home, run};

/// A container that runs, and one that never ran.
fn two_containers(home: &Home) {
    let _ = home
        .docker(&["run", "-d", "--name", "up", BUSYBOX, "sleep", "1000"])
        .succeed();
    let _ = home
        .docker(&["create", "--name", "down", BUSYBOX, "cat", "/tmp/in/file"])
        .succeed();
}

/// The names in a tar archive.
fn listed(archive: &std::path::Path) -> Vec<String> {
    let listing = run(Command::new("tar").arg("-tf").arg(archive), b"").succeed();
    listing.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn files_go_in_and_out() {
    let home = docker_home();
    two_containers(&home);
    let here = home.path().join("here");
    fs::create_dir_all(here.join("in")).expect("ours");
    fs::write(here.join("in/file"), "content\n").expect("ours");
    std::os::unix::fs::symlink("file", here.join("in/link")).expect("ours");
    type Act = fn(&Home, &[&str]) -> Finished;
    let programs: [(&str, Act); 2] = [("docker", Home::docker), ("dhow", Home::dhow)];

    for (name, act) in programs {
        for container in ["up", "down"] {
            let source = here.join("in");
            let source = source.to_str().expect("a text path");
            let to = format!("{container}:/tmp/{name}");
            // A folder under a new name, then into a folder that is there.
            let _ = act(&home, &["cp", source, &format!("{container}:/tmp")]);
            let _ = act(&home, &["cp", source, &to]).succeed();
            let _ = act(&home, &["cp", source, &to]).succeed();
            let back = home.path().join(format!("{name}-{container}"));
            let back_text = back.to_str().expect("a text path");
            let _ = act(&home, &["cp", &to, back_text]).succeed();
            let one = home.path().join(format!("{name}-{container}-file"));
            let one_text = one.to_str().expect("a text path");
            let _ = act(&home, &["cp", &format!("{to}/file"), one_text]).succeed();

            let read = |path: &str| fs::read_to_string(back.join(path)).expect("it was copied");
            assert_eq!(read("file"), "content\n", "{name} {container}");
            assert_eq!(read("in/file"), "content\n", "{name} {container}");
            let link = fs::read_link(back.join("in/link")).expect("it stays a link");
            assert_eq!(link.to_str(), Some("file"));
            assert_eq!(fs::read_to_string(one).expect("it was copied"), "content\n");
        }
    }
    let inside = home
        .docker(&["exec", "up", "cat", "/tmp/dhow/in/link"])
        .succeed();
    assert_eq!(inside.text(), "content");
}

#[test]
fn what_is_not_there_is_named() {
    let home = docker_home();
    two_containers(&home);

    for act in [Home::docker, Home::dhow] {
        let missing = act(&home, &["cp", "up:/no/such", "."]).exit(1);
        assert!(missing.stderr.contains("/no/such"), "{missing:?}");
        let container = act(&home, &["cp", "nobody:/etc", "."]).exit(1);
        assert!(container.stderr.contains("nobody"), "{container:?}");
        let source = act(&home, &["cp", "/no-such", "up:/tmp"]).exit(1);
        assert!(source.stderr.contains("/no-such"), "{source:?}");
    }
}

#[test]
fn an_archive_goes_through_standard_streams() {
    let home = docker_home();
    two_containers(&home);
    let archive = home.path().join("etc.tar");
    let script = |program: &str| {
        format!("{program} cp up:/etc - >etc.tar && {program} cp - down:/tmp <etc.tar")
    };
    let dhow = dhow_harness::dist().join("bin/dhow");

    for program in ["docker", dhow.to_str().expect("a text path")] {
        let _ = run(&mut home.client("sh", &["-ec", &script(program)]), b"").succeed();
        let names = listed(&archive);
        assert!(names.iter().any(|name| name == "etc/passwd"), "{names:?}");
        let copied = home.docker(&["cp", "down:/tmp/etc/passwd", "-"]).succeed();
        assert!(copied.stdout.contains("root:"), "{program}");
    }
}

#[test]
fn a_link_of_the_container_leads_nowhere_outside() {
    let home = docker_home();
    two_containers(&home);
    let script = "ln -s / /tmp/root; ln -s ../../../.. /tmp/up";
    let _ = home.docker(&["exec", "up", "sh", "-c", script]).succeed();
    fs::write(home.path().join("mark"), "x").expect("ours");

    for link in ["root", "up"] {
        let to = format!("up:/tmp/{link}/tmp/mark-{link}");
        let _ = home.dhow(&["cp", "mark", &to]).succeed();
        let inside = format!("/tmp/mark-{link}");
        let read = home.docker(&["exec", "up", "cat", &inside]).succeed();
        assert_eq!(read.text(), "x");
    }
}

#[test]
fn changes_are_listed() {
    let home = docker_home();
    two_containers(&home);
    let script = "echo x >/tmp-new; rm /etc/group; echo y >>/etc/passwd";
    let _ = home.docker(&["exec", "up", "sh", "-c", script]).succeed();

    let docker = home.docker(&["diff", "up"]).succeed();
    let dhow = home.dhow(&["diff", "up"]).succeed();
    let nothing = home.docker(&["diff", "down"]).succeed();

    let mut lines: Vec<&str> = docker.text().lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["A /tmp-new", "C /etc", "C /etc/passwd", "D /etc/group"]
    );
    assert_eq!(dhow.stdout, docker.stdout);
    assert_eq!(nothing.text(), "");
}

#[test]
fn an_export_is_imported_again() {
    let home = docker_home();
    two_containers(&home);
    let _ = home
        .docker(&[
            "exec",
            "up",
            "sh",
            "-c",
            "echo kept >/mark; ln /mark /again",
        ])
        .succeed();

    let _ = home.docker(&["export", "-o", "docker.tar", "up"]).succeed();
    let _ = home.dhow(&["export", "-o", "dhow.tar", "up"]).succeed();
    let _ = home.dhow(&["import", "dhow.tar", "exported"]).succeed();
    let read = home
        .dhow(&["run", "--rm", "exported", "cat", "/mark", "/again"])
        .succeed();

    let names = listed(&home.path().join("docker.tar"));
    assert_eq!(names, listed(&home.path().join("dhow.tar")));
    assert!(names.iter().any(|name| name == "bin/busybox"), "{names:?}");
    assert_eq!(read.text(), "kept\nkept");
}

#[test]
fn a_commit_is_an_image() {
    let home = docker_home();
    two_containers(&home);
    let script = "echo kept >/mark; rm /etc/group; rm -rf /root; mkdir /root; echo new >/root/new";
    let _ = home.docker(&["exec", "up", "sh", "-c", script]).succeed();

    let docker = home
        .docker(&[
            "commit",
            "-m",
            "why",
            "-c",
            "CMD cat /mark",
            "up",
            "first:1",
        ])
        .succeed();
    let _ = home.docker(&["rm", "-f", "up"]).succeed();
    let mark = home.docker(&["run", "--rm", "first:1"]).succeed();
    let files = home
        .docker(&["run", "--rm", "first:1", "ls", "/root", "/etc/group"])
        .exit(1);
    let _ = home
        .docker(&[
            "run",
            "--name",
            "next",
            "first:1",
            "sh",
            "-c",
            "echo more >>/mark",
        ])
        .succeed();
    let dhow = home.dhow(&["commit", "next", "second"]).succeed();
    let more = home
        .dhow(&["run", "--rm", "second", "cat", "/mark"])
        .succeed();
    let layers = home
        .docker(&["image", "inspect", "-f", "{{len .RootFS.Layers}}", "second"])
        .succeed();

    assert!(docker.text().starts_with("sha256:"), "{docker:?}");
    assert!(dhow.text().starts_with("sha256:"), "{dhow:?}");
    assert_eq!(mark.text(), "kept");
    assert!(files.stdout.contains("new"), "{files:?}");
    assert!(files.stderr.contains("/etc/group"), "{files:?}");
    assert_eq!(more.text(), "kept\nmore");
    assert_eq!(layers.text(), "3");
}
