//! What a start has made so far and takes back if it fails.

use std::path::PathBuf;

use rustix::fs::Mode;
use rustix::io::Errno;

use super::RunError;
use crate::cgroup::Cgroup;

/// A container's directory, deleted with the value if it is new and not kept.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    is_new: bool,
}

impl Folder {
    pub(super) fn make(path: PathBuf) -> Result<Self, RunError> {
        let is_new = match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o700)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(RunError::File { path, errno }),
        };
        Ok(Self { path, is_new })
    }

    pub(super) fn keep(mut self) {
        self.is_new = false;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_new {
            let _removed = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// A group that is deleted with the value unless kept.
#[derive(Debug)]
pub(super) struct Unused(Option<Cgroup>);

impl Unused {
    pub(super) fn new(cgroup: Cgroup) -> Self {
        Self(Some(cgroup))
    }

    pub(super) fn get(&self) -> &Cgroup {
        self.0
            .as_ref()
            .expect("only keep takes the group, and takes self too")
    }

    pub(super) fn keep(mut self) -> Cgroup {
        self.0
            .take()
            .expect("only keep takes the group, and takes self too")
    }
}

impl Drop for Unused {
    fn drop(&mut self) {
        if let Some(cgroup) = &self.0 {
            let _deleted = cgroup.delete();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_folder_goes_when_the_start_fails() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("container");

        drop(Folder::make(path.clone()).unwrap());

        assert!(!path.exists());
    }

    #[test]
    fn what_a_container_wrote_before_stays_when_a_start_fails() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("container");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("file"), "kept").unwrap();

        drop(Folder::make(path.clone()).unwrap());

        assert!(path.join("file").exists());
    }
}
