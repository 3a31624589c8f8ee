//! From an OCI configuration to the steps of a child.

pub(crate) mod capability;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod process;
pub(crate) mod system;

use std::ffi::CString;

/// A string from a configuration that holds a zero byte.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} contains a zero byte")]
pub struct ZeroByte(String);

/// A string as the kernel wants it.
pub(crate) fn c_string(text: &str) -> Result<CString, ZeroByte> {
    CString::new(text).map_err(|_zero| ZeroByte(text.to_owned()))
}
