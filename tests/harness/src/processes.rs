//! Which processes belong to a home.

use std::fs;
use std::path::Path;

/// Ids of the processes, our own apart, that name this folder on their command line or in their
/// environment.
pub(crate) fn naming(folder: &Path) -> Vec<u32> {
    let needle = folder.as_os_str().as_encoded_bytes();
    let names = |file: &Path| {
        fs::read(file).is_ok_and(|bytes| bytes.windows(needle.len()).any(|part| part == needle))
    };
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|id| *id != std::process::id())
        .filter(|id| {
            let process = Path::new("/proc").join(id.to_string());
            names(&process.join("cmdline")) || names(&process.join("environ"))
        })
        .collect()
}

/// A process's command line, for messages.
pub(crate) fn command_line(id: u32) -> String {
    fs::read(format!("/proc/{id}/cmdline"))
        .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
        .unwrap_or_default()
}
