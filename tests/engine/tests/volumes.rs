//! Volumes: what they keep, what they are filled with, who may remove them.

use dhow_harness::{BUSYBOX, Home, REDIS};

/// Runs a shell script in a fresh busybox with these options, and returns what it printed.
#[track_caller]
fn script(home: &Home, options: &[&str], script: &str) -> String {
    let line = [&["run", "--rm"], options, &[BUSYBOX, "sh", "-c", script]].concat();
    home.dhow(&line).succeed().text().to_owned()
}

#[test]
fn data_survives_its_container_and_the_machine() {
    let home = Home::with_image(BUSYBOX);

    let _ = script(&home, &["-v", "keep:/data"], "echo kept >/data/file");
    let _ = home.dhow(&["machine", "down"]).succeed();
    let found = script(&home, &["-v", "keep:/elsewhere"], "cat /elsewhere/file");

    assert_eq!(found, "kept");
    assert_eq!(home.dhow(&["volume", "ls", "-q"]).succeed().text(), "keep");
}

#[test]
fn an_empty_volume_gets_what_the_image_has_there() {
    let home = Home::with_image(BUSYBOX);
    let list = "ls -ln /etc/passwd; readlink /bin/ls; stat -c %a:%u:%g /etc";

    let image = script(&home, &[], list);
    let volume = script(&home, &["-v", "etc:/etc", "-v", "bin:/bin"], list);
    let empty = script(
        &home,
        &["-v", "none:/etc:nocopy"],
        "ls /etc | grep -c passwd; true",
    );

    assert_eq!(volume, image);
    assert_eq!(empty, "0");
}

#[test]
fn a_volume_with_content_is_left_as_it_is() {
    let home = Home::with_image(BUSYBOX);
    let _ = script(&home, &["-v", "own:/data"], "echo mine >/data/file");

    let found = script(
        &home,
        &["-v", "own:/usr/share"],
        "ls /usr/share; cat /usr/share/file",
    );

    assert_eq!(found, "file\nmine");
}

#[test]
fn an_emptied_volume_stays_empty_when_its_container_starts_again() {
    let home = Home::with_image(BUSYBOX);
    let line = "ls /var | grep -c '^log$'; rm -rf /var/*";
    let first = home
        .dhow(&[
            "run", "--name", "box", "-v", "var:/var", BUSYBOX, "sh", "-c", line,
        ])
        .succeed();

    let again = home.dhow(&["start", "-a", "box"]).succeed();

    assert_eq!((first.text(), again.text()), ("1", "0"));
}

#[test]
fn an_images_volume_belongs_to_the_images_user_and_goes_with_the_container() {
    let home = Home::with_image(REDIS);

    let told = home
        .dhow(&[
            "run", "--rm", REDIS, "sh", "-c",
            "stat -c '%U %a' /var/lib/redis; touch /var/lib/redis/x && grep -c ' /var/lib/redis ' /proc/mounts",
        ])
        .succeed();
    let _ = home.dhow(&["run", "-d", "--name", "db", REDIS]).succeed();
    let held = home.dhow(&["volume", "ls", "-q"]).succeed();
    let _ = home.dhow(&["rm", "-f", "-v", "db"]).succeed();

    assert_eq!(told.text(), "redis 750\n1");
    assert_eq!(held.text().len(), 64);
    assert_eq!(home.dhow(&["volume", "ls", "-q"]).succeed().text(), "");
}

#[test]
fn a_container_shares_the_volumes_of_another() {
    let home = Home::with_image(BUSYBOX);
    let _ = home
        .dhow(&[
            "create", "--name", "donor", "-v", "named:/a", "-v", "/b", BUSYBOX, "true",
        ])
        .succeed();

    let _ = script(
        &home,
        &["--volumes-from", "donor"],
        "echo one >/a/f; echo two >/b/f",
    );
    let found = script(
        &home,
        &["--volumes-from", "donor:ro"],
        "cat /a/f /b/f; touch /a/g 2>/dev/null || echo read-only",
    );

    assert_eq!(found, "one\ntwo\nread-only");
}

#[test]
fn read_only_volumes_subpaths_and_tmpfs_are_mounted_as_asked() {
    let home = Home::with_image(BUSYBOX);
    let _ = script(
        &home,
        &["-v", "data:/data"],
        "mkdir /data/part; echo x >/data/part/f",
    );

    let mounted = script(
        &home,
        &[
            "--mount",
            "type=volume,source=data,target=/all,readonly",
            "--mount",
            "source=data,target=/part,volume-subpath=part",
            "--mount",
            "type=tmpfs,target=/scratch,tmpfs-size=1m,tmpfs-mode=1770",
        ],
        "touch /all/f 2>/dev/null || echo read-only; cat /part/f; stat -c %a /scratch; \
         df -k /scratch | tail -1 | awk '{print $2}'",
    );
    let missing = home.dhow(&[
        "run",
        "--rm",
        "--mount",
        "source=data,target=/p,volume-subpath=nowhere",
        BUSYBOX,
        "true",
    ]);

    assert_eq!(mounted, "read-only\nx\n1770\n1024");
    assert_ne!(missing.code, 0);
    assert!(missing.stderr.contains("nowhere"), "{}", missing.stderr);
}

#[test]
fn a_link_in_a_volume_leads_no_subpath_out_of_it() {
    let home = Home::with_image(BUSYBOX);
    let _ = script(
        &home,
        &["-v", "data:/data"],
        "ln -s ../../../containers /data/out",
    );

    let refused = home.dhow(&[
        "run",
        "--rm",
        "--mount",
        "source=data,target=/p,volume-subpath=out",
        BUSYBOX,
        "ls",
        "/p",
    ]);

    assert_ne!(refused.code, 0, "{}", refused.stdout);
}

#[test]
fn a_volume_in_use_is_not_removed() {
    let home = Home::with_image(BUSYBOX);
    let created = home
        .dhow(&[
            "create",
            "--name",
            "user",
            "-v",
            "data:/data",
            BUSYBOX,
            "true",
        ])
        .succeed();

    let refused = home.dhow(&["volume", "rm", "data"]).exit(1);
    let missing = home.dhow(&["volume", "rm", "nothing"]).exit(1);
    let _ = home.dhow(&["rm", "user"]).succeed();
    let _ = home.dhow(&["volume", "rm", "data"]).succeed();

    let told = format!("remove data: volume is in use - [{}]", created.text());
    assert!(refused.stderr.contains(&told), "{}", refused.stderr);
    assert!(
        missing.stderr.contains("get nothing: no such volume"),
        "{}",
        missing.stderr
    );
    let _ = home.dhow(&["volume", "rm", "-f", "data"]).succeed();
}

#[test]
fn a_new_volume_of_an_old_name_is_empty() {
    let home = Home::with_image(BUSYBOX);
    let _ = script(&home, &["-v", "data:/data"], "echo old >/data/file");
    let _ = home.dhow(&["machine", "down"]).succeed();
    let _ = home.dhow(&["volume", "rm", "data"]).succeed();

    let found = script(&home, &["-v", "data:/data"], "ls /data | wc -l");

    assert_eq!(found, "0");
}

#[test]
fn pruning_takes_what_nobody_named_or_all_that_nobody_uses() {
    let home = Home::with_image(BUSYBOX);
    let _ = home.dhow(&["volume", "create", "named"]).succeed();
    let _ = home.dhow(&["volume", "create"]).succeed();
    let _ = home
        .dhow(&[
            "create",
            "--name",
            "user",
            "-v",
            "used:/data",
            BUSYBOX,
            "true",
        ])
        .succeed();

    let cancelled = home.dhow(&["volume", "prune"]);
    let some = home.dhow(&["volume", "prune", "-f"]).succeed();
    let after_some = home.dhow(&["volume", "ls", "-q"]).succeed();
    let _ = home.dhow(&["volume", "prune", "-af"]).succeed();
    let after_all = home.dhow(&["volume", "ls", "-q"]).succeed();

    assert_ne!(cancelled.code, 0);
    assert!(
        some.stdout.starts_with("Deleted Volumes:\n"),
        "{}",
        some.stdout
    );
    assert_eq!(after_some.text(), "named\nused");
    assert_eq!(after_all.text(), "used");
}

#[test]
fn volumes_are_seen_in_lists_inspections_and_events() {
    let home = Home::with_image(BUSYBOX);
    let _ = home
        .dhow(&["volume", "create", "--label", "tier=db", "data"])
        .succeed();
    let _ = home.dhow(&["volume", "create", "other"]).succeed();
    let _ = home
        .dhow(&[
            "run",
            "--name",
            "box",
            "-v",
            "data:/data:ro",
            BUSYBOX,
            "true",
        ])
        .succeed();

    let shown = |arguments: &[&str]| home.dhow(arguments).succeed().text().to_owned();
    let mounts = "{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.Mode}} {{.RW}}{{end}}";
    assert_eq!(
        shown(&["inspect", "-f", mounts, "box"]),
        "volume data /data ro false"
    );
    assert_eq!(
        shown(&["volume", "ls", "-q", "-f", "label=tier=db"]),
        "data"
    );
    assert_eq!(
        shown(&["volume", "ls", "-q", "-f", "dangling=true"]),
        "other"
    );
    assert_eq!(
        shown(&[
            "volume",
            "inspect",
            "-f",
            "{{.Mountpoint}} {{.Labels.tier}}",
            "data"
        ]),
        "/data/volumes/data/_data db"
    );
    assert_eq!(shown(&["ps", "-aq", "--filter", "volume=data"]).len(), 12);
    let events = shown(&[
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "--filter",
        "type=volume",
        "--filter",
        "volume=data",
        "--format",
        "{{.Action}}",
    ]);
    assert_eq!(events, "create\nmount\nunmount");
}

#[test]
fn the_hosts_files_are_refused_in_one_line() {
    let home = Home::with_image(BUSYBOX);

    for line in [
        &["-v", "/etc:/x"][..],
        &["--mount", "type=bind,source=/etc,target=/x"],
    ] {
        let refused = home
            .dhow(&[&["run", "--rm"], line, &[BUSYBOX, "true"]].concat())
            .exit(125);
        assert!(
            refused
                .stderr
                .contains("bind mounts of the host's files are not supported"),
            "{}",
            refused.stderr
        );
    }
}
