//! `dhow run`: streams, exit codes, and what a container finds inside.

use dhow_harness::{BUSYBOX, Home};

#[test]
fn runs_a_command_and_prints_what_it_says() {
    let home = Home::with_image(BUSYBOX);

    let output = home
        .dhow(&["run", "--rm", BUSYBOX, "echo", "hello"])
        .succeed();

    assert_eq!(output.stdout, "hello\n");
    assert_eq!(output.stderr, "");
}

#[test]
fn passes_the_exit_code_through() {
    let home = Home::with_image(BUSYBOX);

    let _ = home
        .dhow(&["run", "--rm", BUSYBOX, "sh", "-c", "exit 7"])
        .exit(7);
    let _ = home
        .dhow(&[
            "run",
            "--rm",
            "--init",
            BUSYBOX,
            "sh",
            "-c",
            "kill -TERM $$",
        ])
        .exit(143);
}

#[test]
fn tells_a_missing_command_by_127_and_an_unusable_one_by_126() {
    let home = Home::with_image(BUSYBOX);

    let missing = home
        .dhow(&["run", "--rm", BUSYBOX, "no-such-command"])
        .exit(127);
    let unusable = home
        .dhow(&["run", "--rm", BUSYBOX, "/etc/passwd"])
        .exit(126);

    assert!(
        missing.stderr.contains("no-such-command"),
        "{}",
        missing.stderr
    );
    assert!(
        unusable.stderr.contains("/etc/passwd"),
        "{}",
        unusable.stderr
    );
    assert_eq!(home.dhow(&["ps", "-aq"]).succeed().text(), "");
}

#[test]
fn keeps_standard_output_and_standard_error_apart() {
    let home = Home::with_image(BUSYBOX);

    let output = home
        .dhow(&["run", "--rm", BUSYBOX, "sh", "-c", "echo out; echo err >&2"])
        .succeed();

    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("out\n", "err\n")
    );
}

#[test]
fn feeds_standard_input_and_carries_its_end() {
    let home = Home::with_image(BUSYBOX);
    let input: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();

    let counted = home
        .dhow_with_input(&["run", "--rm", "-i", BUSYBOX, "wc", "-c"], &input)
        .succeed();

    assert_eq!(counted.text(), "800000");
}

#[test]
fn a_megabyte_of_output_arrives_whole() {
    let home = Home::with_image(BUSYBOX);
    let script = "i=0; while [ $i -lt 16 ]; do head -c 65536 /dev/zero; i=$((i+1)); done";

    let output = home
        .dhow(&["run", "--rm", BUSYBOX, "sh", "-c", script])
        .succeed();

    assert_eq!(output.stdout.len(), 1 << 20);
}

#[test]
fn gives_environment_user_folder_and_host_name() {
    let home = Home::with_image(BUSYBOX);
    let script = "echo $COLOUR $(id -u):$(id -g) $(pwd) $(hostname)";

    let output = home
        .dhow(&[
            "run",
            "--rm",
            "-e",
            "COLOUR=blue",
            "-u",
            "1000:1001",
            "-w",
            "/srv/new",
            "-h",
            "ship",
            BUSYBOX,
            "sh",
            "-c",
            script,
        ])
        .succeed();

    assert_eq!(output.text(), "blue 1000:1001 /srv/new ship");
}

#[test]
fn the_container_is_process_one_in_namespaces_of_its_own() {
    let home = Home::with_image(BUSYBOX);

    let output = home.dhow(&[
        "run",
        "--rm",
        BUSYBOX,
        "sh",
        "-c",
        "echo $$; ps | wc -l; ls /sys/class/net",
    ]);

    // The shell, ps, wc, and ps's heading.
    assert_eq!(output.succeed().text(), "1\n4\neth0\nlo");
}

#[test]
fn writes_stay_in_the_container_and_survive_a_restart() {
    let home = Home::with_image(BUSYBOX);
    let script = "cat /mark 2>/dev/null; echo kept >/mark";
    let _ = home
        .dhow(&["run", "--name", "first", BUSYBOX, "sh", "-c", script])
        .succeed();

    let again = home.dhow(&["start", "-a", "first"]).succeed();
    let other = home
        .dhow(&["run", "--rm", BUSYBOX, "sh", "-c", script])
        .succeed();

    assert_eq!(again.text(), "kept");
    assert_eq!(other.text(), "");
}

#[test]
fn memory_processor_and_process_limits_hold() {
    let home = Home::with_image(BUSYBOX);
    let script = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max";

    let output = home
        .dhow(&[
            "run",
            "--rm",
            "--memory",
            "64m",
            "--pids-limit",
            "50",
            "--cpus",
            "0.5",
            BUSYBOX,
            "sh",
            "-c",
            script,
        ])
        .succeed();

    assert_eq!(output.text(), "67108864\n50\n50000 100000");
}

#[test]
fn an_out_of_memory_kill_is_told() {
    let home = Home::with_image(BUSYBOX);
    let script = "x=a; while true; do x=$x$x; done";

    let _ = home
        .dhow(&[
            "run", "--name", "big", "--memory", "16m", BUSYBOX, "sh", "-c", script,
        ])
        .exit(137);

    let killed = home
        .dhow(&["inspect", "-f", "{{.State.OOMKilled}}", "big"])
        .succeed();
    assert_eq!(killed.text(), "true");
}

#[test]
fn a_container_may_do_what_docker_allows_and_no_more() {
    let home = Home::with_image(BUSYBOX);
    let script = "grep -E 'CapEff|Seccomp:' /proc/self/status; mount -t tmpfs none /tmp 2>&1; \
                  cat /proc/kcore /proc/keys 2>/dev/null | head -c 1 | wc -c; echo 1 >/proc/sys/kernel/panic";

    let output = home.dhow(&["run", "--rm", BUSYBOX, "sh", "-c", script]);

    // Docker's fourteen default capabilities, and a seccomp filter.
    assert!(
        output.stdout.contains("CapEff:\t00000000a80425fb"),
        "{}",
        output.stdout
    );
    assert!(output.stdout.contains("Seccomp:\t2"), "{}", output.stdout);
    assert!(output.stdout.contains("mount: "), "{}", output.stdout);
    assert!(output.stdout.contains("\n0\n"), "{}", output.stdout);
    assert_ne!(output.code, 0, "{}", output.stderr);
}

#[test]
fn a_read_only_container_cannot_write_but_its_tmpfs_can() {
    let home = Home::with_image(BUSYBOX);
    let script = "touch /x 2>/dev/null && echo wrote; touch /scratch/x && echo scratch";

    let output = home
        .dhow(&[
            "run",
            "--rm",
            "--read-only",
            "--tmpfs",
            "/scratch",
            BUSYBOX,
            "sh",
            "-c",
            script,
        ])
        .succeed();

    assert_eq!(output.text(), "scratch");
}

/// A UML machine has one CPU and no cpusets; on KVM there is nothing to discard.
#[test]
fn a_limit_that_the_machine_cannot_keep_is_told() {
    let home = Home::with_image(BUSYBOX);

    let output = home
        .dhow(&["run", "--rm", "--cpuset-cpus", "0", BUSYBOX, "echo", "runs"])
        .succeed();
    let engine = home.dhow(&["machine", "status"]).succeed();

    assert_eq!(output.text(), "runs");
    let told = output.stderr.contains("does not support cpuset");
    assert_eq!(told, engine.stdout.contains("uml"), "{output:?} {engine:?}");
}
