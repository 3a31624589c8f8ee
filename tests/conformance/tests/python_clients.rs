//! Python's client libraries for Docker, as programs use them.

use dhow_conformance_tests::python;
use dhow_harness::{BUSYBOX, Home, REDIS};

#[test]
fn docker_py() {
    let home = Home::with_image(BUSYBOX);

    let _ = python::script(&home, "docker_py.py", &[]).succeed();
}

#[test]
fn aiodocker() {
    let home = Home::with_image(BUSYBOX);

    let _ = python::script(&home, "aiodocker_client.py", &[]).succeed();
}

#[test]
fn testcontainers() {
    let home = Home::with_image(REDIS);

    let _ = python::script(&home, "testcontainers_redis.py", &[]).succeed();
}
