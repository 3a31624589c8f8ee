//! `redis`: `debian` with redis-server, for tests of a real service that keeps data.

use anyhow::Result;
use serde_json::json;

use super::{DEFAULT_PATH, debian};
use crate::archive::ImageArchive;
use crate::packages::PackageSource;

/// Where the server keeps its data.
const DATA: &str = "/var/lib/redis";

/// Group `adm`, which may read logs.
const ADM: u64 = 4;

/// Builds the image.
pub(crate) fn build(packages: &PackageSource) -> Result<ImageArchive> {
    let mut rootfs = debian::rootfs(packages, &["redis-server"])?;
    let (uid, gid) = debian::add_system_user(&mut rootfs, "redis", DATA)?;
    for (path, gid, mode) in [
        ("var/lib/redis", gid, 0o750),
        ("var/log/redis", ADM, 0o2750),
        ("etc/redis", gid, 0o2770),
    ] {
        rootfs.directory(path, mode);
        rootfs.own(path, uid, gid, mode)?;
    }
    rootfs.own("etc/redis/redis.conf", uid, gid, 0o640)?;
    Ok(ImageArchive {
        reference: "redis:latest",
        rootfs,
        config: json!({
            "Env": [DEFAULT_PATH],
            "User": "redis",
            "WorkingDir": DATA,
            "Volumes": { DATA: {} },
            "ExposedPorts": { "6379/tcp": {} },
            // Without a configuration file the server listens on all addresses, stays in the
            // foreground and saves when it is told to stop.
            "Cmd": ["redis-server", "--protected-mode", "no", "--dir", DATA],
        }),
        created_by: "dhow-images build redis".to_owned(),
    })
}
