//! One module per image.

pub(crate) mod busybox;
pub(crate) mod debian;
pub(crate) mod redis;

/// The `PATH` of a container whose image says nothing else, as Docker sets it.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
