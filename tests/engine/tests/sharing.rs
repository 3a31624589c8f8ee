//! What a container shares with its machine and with others, and what it is given of it.

use dhow_harness::{BUSYBOX, Home};

/// Runs a shell script in a fresh busybox with these options, and returns what it printed.
#[track_caller]
fn script(home: &Home, options: &[&str], script: &str) -> String {
    let line = [&["run", "--rm"], options, &[BUSYBOX, "sh", "-c", script]].concat();
    home.dhow(&line).succeed().text().to_owned()
}

#[test]
fn process_ids_are_shared_with_the_machine_or_another_container() {
    let home = Home::with_image(BUSYBOX);
    let _ = home
        .dhow(&["run", "-d", "--name", "up", BUSYBOX, "sleep", "1234"])
        .succeed();
    let _ = home
        .dhow(&["create", "--name", "down", BUSYBOX, "true"])
        .succeed();

    let of_machine = script(
        &home,
        &["--pid", "host"],
        "ps | grep -c '[s]leep 1234'; cat /proc/1/comm",
    );
    let of_other = script(
        &home,
        &["--pid", "container:up"],
        "ps | grep -c '^ *1 .*[s]leep 1234'",
    );
    let refused = home
        .dhow(&["run", "--rm", "--pid", "container:down", BUSYBOX, "true"])
        .exit(125);

    assert_eq!(of_machine, "1\ninit");
    assert_eq!(of_other, "1");
    assert!(
        refused
            .stderr
            .contains("cannot join PID of a non running container"),
        "{}",
        refused.stderr
    );
}

#[test]
fn shared_memory_host_name_and_cgroups_are_the_machines_where_asked() {
    let home = Home::with_image(BUSYBOX);
    let _ = script(&home, &["--ipc", "host"], "echo left >/dev/shm/note");

    let note = script(&home, &["--ipc", "host"], "cat /dev/shm/note");
    let own = script(&home, &[], "ls /dev/shm | wc -l");
    let none = script(
        &home,
        &["--ipc", "none"],
        "grep -c /dev/shm /proc/mounts; true",
    );
    let name = script(&home, &["--uts", "host"], "hostname");
    let again = script(&home, &["--uts", "host"], "hostname");
    let cgroup = script(
        &home,
        &["--cgroupns", "host"],
        "grep -c ':/$' /proc/self/cgroup; true",
    );

    assert_eq!(
        (note.as_str(), own.as_str(), none.as_str()),
        ("left", "0", "0")
    );
    assert_eq!(name, again);
    assert_eq!(cgroup, "0");
}

#[test]
fn devices_of_the_machine_are_given_with_their_access() {
    let home = Home::with_image(BUSYBOX);
    let make = "mknod /dev/k c 10 229; (: </dev/k) 2>/dev/null && echo opened; true";

    let given = script(
        &home,
        &["--device", "/dev/fuse:/dev/there:r"],
        "(: </dev/there) && echo opened; (: >/dev/there) 2>/dev/null || echo no write",
    );
    let ruled = script(&home, &["--device-cgroup-rule", "c 10:229 r"], make);
    let usual = script(&home, &[], make);
    let missing = home.dhow(&["run", "--rm", "--device", "/dev/no-such", BUSYBOX, "true"]);

    assert_eq!(given, "opened\nno write");
    assert_eq!((ruled.as_str(), usual.as_str()), ("opened", ""));
    assert!(
        missing
            .stderr
            .contains("error gathering device information"),
        "{missing:?}"
    );
}

#[test]
fn a_profile_of_system_calls_is_the_users() {
    let home = Home::with_image(BUSYBOX);
    let path = home.path().join("profile.json");
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW",
        "syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}"#;
    std::fs::write(&path, profile).unwrap();
    let option = format!("seccomp={}", path.display());

    let told = script(
        &home,
        &["--security-opt", &option, "--security-opt", "apparmor=any"],
        "mkdir /x 2>/dev/null || echo refused; touch /y && echo made",
    );

    assert_eq!(told, "refused\nmade");
}

#[test]
fn what_cannot_be_had_is_said() {
    let home = Home::with_image(BUSYBOX);

    let warned = home
        .dhow(&[
            "create",
            "--oom-kill-disable",
            "--memory-swappiness",
            "10",
            "--blkio-weight",
            "100",
            BUSYBOX,
        ])
        .succeed();
    let refused = home
        .dhow(&["create", "--ipc", "container:x", BUSYBOX])
        .exit(1);

    assert!(
        warned.stderr.contains("OomKillDisable discarded"),
        "{}",
        warned.stderr
    );
    assert!(
        warned.stderr.contains("swappiness discarded"),
        "{}",
        warned.stderr
    );
    assert!(
        warned.stderr.contains("Weight discarded"),
        "{}",
        warned.stderr
    );
    assert!(
        refused.stderr.contains("--ipc container:x"),
        "{}",
        refused.stderr
    );
}
