//! The paths of a layer's entries, checked once.

/// Longest name, Linux's `NAME_MAX`.
const MAX_NAME_BYTES: usize = 255;

/// Longest path, Linux's `PATH_MAX`.
const MAX_PATH_BYTES: usize = 4096;

/// Why a path was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// `..` in it.
    #[error("it climbs out of the layer with \"..\"")]
    Climbs,
    /// A name no file system takes.
    #[error("it has a name of more than {MAX_NAME_BYTES} bytes")]
    NameTooLong,
    /// A path no file system takes.
    #[error("it has more than {MAX_PATH_BYTES} bytes")]
    TooLong,
    /// A byte no name can have.
    #[error("it contains a zero byte")]
    ZeroByte,
    /// A parent is a symbolic link.
    #[error("it leads through a symbolic link of the same layer")]
    ThroughLink,
    /// A parent is no folder.
    #[error("it leads through a file of the same layer")]
    ThroughFile,
    /// The root as a file.
    #[error("it names the root, but is no folder")]
    RootIsNoFolder,
    /// `.wh.` before nothing, `.` or `..`.
    #[error("it is a whiteout of nothing that could exist")]
    BadWhiteout,
    /// A target no file system takes.
    #[error("its link target is empty or too long")]
    BadLinkLength,
    /// A hard link that climbs out.
    #[error("it is a hard link to a path outside of the layer")]
    LinkOutside,
    /// A hard link to a folder.
    #[error("it is a hard link to a folder")]
    LinkToFolder,
    /// A hard link to nothing.
    #[error("it is a hard link to a file that is not in the layer before it")]
    LinkTargetMissing,
}

/// Names from the root to an entry: no `.`, no `..`, nothing empty, nothing too long.
///
/// By convention a leading `/` or `./` means the layer's root, as Docker takes it; `..` anywhere is
/// refused, even where it would not climb out.
#[derive(Debug)]
pub(super) struct LayerPath<'a> {
    names: Vec<&'a [u8]>,
}

impl<'a> LayerPath<'a> {
    pub(super) fn parse(path: &'a [u8]) -> Result<Self, PathError> {
        if path.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong);
        }
        if path.contains(&0) {
            return Err(PathError::ZeroByte);
        }
        let names = path
            .split(|byte| *byte == b'/')
            .filter(|name| !matches!(*name, b"" | b"."));
        let names: Vec<_> = names.collect();
        if names.contains(&b"..".as_slice()) {
            return Err(PathError::Climbs);
        }
        if names.iter().any(|name| name.len() > MAX_NAME_BYTES) {
            return Err(PathError::NameTooLong);
        }
        Ok(Self { names })
    }

    /// The last name and those before it; `None` for the root.
    pub(super) fn split(&self) -> Option<(&'a [u8], &[&'a [u8]])> {
        self.names
            .split_last()
            .map(|(name, parents)| (*name, parents))
    }
}
