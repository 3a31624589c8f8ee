//! Images: loaded, listed, tagged, removed; and archives that are not what they claim.

use std::fs;

use dhow_harness::{BUSYBOX, Home, image};

#[test]
fn an_archive_is_loaded_from_standard_input() {
    let home = Home::new();
    let archive = fs::read(image(BUSYBOX)).unwrap();

    let loaded = home.dhow_with_input(&["load"], &archive).succeed();

    assert!(
        loaded.stdout.contains("Loaded image: busybox:latest"),
        "{}",
        loaded.stdout
    );
    let listed = home
        .dhow(&["images", "--format", "{{.Repository}}:{{.Tag}}"])
        .succeed();
    assert_eq!(listed.text(), "busybox:latest");
}

#[test]
fn an_image_in_use_is_not_removed() {
    let home = Home::with_image(BUSYBOX);
    let _ = home.dhow(&["create", "--name", "user", BUSYBOX]).succeed();

    let refused = home.dhow(&["rmi", BUSYBOX]).exit(1);
    let _ = home.dhow(&["rm", "user"]).succeed();
    let _ = home.dhow(&["rmi", BUSYBOX]).succeed();

    assert!(refused.stderr.contains("container"), "{}", refused.stderr);
    assert_eq!(home.dhow(&["images", "-q"]).succeed().text(), "");
}

#[test]
fn a_tag_is_another_name() {
    let home = Home::with_image(BUSYBOX);

    let _ = home.dhow(&["tag", BUSYBOX, "mine/box:1"]).succeed();
    let _ = home.dhow(&["rmi", BUSYBOX]).succeed();

    let output = home
        .dhow(&["run", "--rm", "mine/box:1", "echo", "still here"])
        .succeed();
    assert_eq!(output.text(), "still here");
}

#[test]
fn an_unknown_image_is_named() {
    let home = Home::new();

    let refused = home
        .dhow(&["run", "--rm", "no-such-image", "true"])
        .exit(125);

    assert!(
        refused.stderr.contains("no-such-image"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_truncated_archive_is_refused_and_leaves_nothing() {
    let home = Home::new();
    let archive = fs::read(image(BUSYBOX)).unwrap();

    for part in [1, 1000, archive.len() / 3, archive.len() / 2] {
        let refused = home.dhow_with_input(&["load"], &archive[..part]).exit(1);
        assert_eq!(
            refused.stderr.trim().lines().count(),
            1,
            "{}",
            refused.stderr
        );
    }

    assert_eq!(home.dhow(&["images", "-aq"]).succeed().text(), "");
}

#[test]
fn a_changed_byte_in_a_layer_is_found() {
    let home = Home::new();
    let mut archive = fs::read(image(BUSYBOX)).unwrap();
    let middle = archive.len() / 2;
    archive[middle] ^= 0xff;

    let refused = home.dhow_with_input(&["load"], &archive).exit(1);

    assert_eq!(
        refused.stderr.trim().lines().count(),
        1,
        "{}",
        refused.stderr
    );
    assert_eq!(home.dhow(&["images", "-aq"]).succeed().text(), "");
}
