//! Files that a container has of its own, whatever its image has there.

use std::path::Path;
use std::sync::Arc;

use dhow_protocol::RunContainer;
use oci_spec::runtime::Spec;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{PartError, RunError};
use crate::plan::c_string;
use crate::rootfs::detached;
use crate::spawn::Step;

/// Writes `/etc/hosts`, `/etc/resolv.conf` and `/etc/hostname` beside the container's writable
/// directory; the steps mount them.
pub(super) fn etc_files(
    request: &RunContainer,
    spec: &Spec,
    folder: &Path,
) -> Result<Vec<Step>, RunError> {
    let hostname = spec.hostname().as_ref().map(|name| format!("{name}\n"));
    let files = [
        ("hosts", "/etc/hosts", Some(request.hosts.as_str())),
        (
            "resolv.conf",
            "/etc/resolv.conf",
            Some(request.resolv_conf.as_str()),
        ),
        ("hostname", "/etc/hostname", hostname.as_deref()),
    ];
    let taken = |target: &str| {
        let mounts = spec.mounts().iter().flatten();
        mounts
            .into_iter()
            .any(|mount| mount.destination() == Path::new(target))
    };
    let mut steps = Vec::new();
    for (name, target, content) in files {
        let Some(content) = content.filter(|content| !content.is_empty() && !taken(target)) else {
            continue;
        };
        let path = folder.join(name);
        let error = |errno| RunError::File {
            path: path.clone(),
            errno,
        };
        write_file(&path, content.as_bytes()).map_err(error)?;
        let tree = Arc::new(detached::copy(&path, false).map_err(error)?);
        let target = c_string(target).map_err(PartError::from)?;
        steps.push(Step::Attach {
            tree,
            target,
            directory: false,
        });
    }
    Ok(steps)
}

fn write_file(path: &Path, content: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o644))?;
    std::io::Write::write_all(&mut std::fs::File::from(file), content)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
