//! What may be in a layer and what may not. That the images are right, the kernel says: see
//! `tests/mounted.rs`.

use std::io::{Seek, SeekFrom};

use super::*;
use crate::erofs::BLOCK_BYTES_U64;

use ::tar as tar_crate;

/// Builds an archive with the `tar` crate, which does not check what it is told to write.
struct Layer(tar_crate::Builder<Vec<u8>>);

impl Layer {
    fn new() -> Self {
        Self(tar_crate::Builder::new(Vec::new()))
    }

    fn entry(mut self, kind: tar_crate::EntryType, path: &str, link: &str, data: &[u8]) -> Self {
        let mut header = tar_crate::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(data.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let bytes = header.as_mut_bytes();
        bytes[..path.len()].copy_from_slice(path.as_bytes());
        bytes[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, data).unwrap();
        self
    }

    fn file(self, path: &str, data: &[u8]) -> Self {
        self.entry(tar_crate::EntryType::Regular, path, "", data)
    }

    fn directory(self, path: &str) -> Self {
        self.entry(tar_crate::EntryType::Directory, path, "", b"")
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(tar_crate::EntryType::Symlink, path, target, b"")
    }

    fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(tar_crate::EntryType::Link, path, target, b"")
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }

    fn convert(self) -> Result<Vec<u8>, LayerError> {
        let mut converted = convert(
            self.bytes().as_slice(),
            tempfile::tempfile().unwrap(),
            tempfile::tempfile().unwrap(),
        )?;
        let mut image = Vec::new();
        converted.file.seek(SeekFrom::Start(0)).unwrap();
        converted.file.read_to_end(&mut image).unwrap();
        Ok(image)
    }

    fn problem(self) -> PathError {
        match self.convert().unwrap_err() {
            LayerError::Path { source, .. } => source,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn is_named_by_the_digest_of_the_whole_archive() {
    let archive = Layer::new().file("a", b"1").bytes();

    let converted = convert(
        archive.as_slice(),
        tempfile::tempfile().unwrap(),
        tempfile::tempfile().unwrap(),
    )
    .unwrap();

    assert_eq!(converted.diff_id, Digest::of(&archive));
    assert!(
        converted
            .file
            .metadata()
            .unwrap()
            .len()
            .is_multiple_of(BLOCK_BYTES_U64)
    );
}

#[test]
fn gives_the_same_bytes_for_the_same_archive() {
    let layer = || {
        Layer::new()
            .file("a/b", &[7; 9000])
            .symlink("c", "a/b")
            .hard_link("d", "a/b")
    };
    assert_eq!(layer().convert().unwrap(), layer().convert().unwrap());
}

#[test]
fn refuses_paths_that_climb_out() {
    assert_eq!(Layer::new().file("../a", b"").problem(), PathError::Climbs);
    assert_eq!(
        Layer::new().file("a/../../b", b"").problem(),
        PathError::Climbs
    );
    assert_eq!(Layer::new().directory("a/..").problem(), PathError::Climbs);
    assert_eq!(Layer::new().file("/..", b"").problem(), PathError::Climbs);
}

#[test]
fn refuses_paths_through_links_and_files_of_the_layer() {
    let through = Layer::new().symlink("a", "/etc").file("a/passwd", b"");
    assert_eq!(through.problem(), PathError::ThroughLink);
    let through = Layer::new()
        .symlink("a", "../../etc")
        .hard_link("b", "a/passwd");
    assert_eq!(through.problem(), PathError::ThroughLink);
    let through = Layer::new().file("a", b"").file("a/b", b"");
    assert_eq!(through.problem(), PathError::ThroughFile);
}

#[test]
fn refuses_hard_links_to_what_the_layer_does_not_have() {
    assert_eq!(
        Layer::new().hard_link("a", "../b").problem(),
        PathError::LinkOutside
    );
    assert_eq!(
        Layer::new().hard_link("a", "/etc/shadow").problem(),
        PathError::LinkTargetMissing
    );
    assert_eq!(
        Layer::new().directory("b").hard_link("a", "b").problem(),
        PathError::LinkToFolder
    );
}

#[test]
fn refuses_whiteouts_of_nothing_that_could_exist() {
    assert_eq!(
        Layer::new().file(".wh.", b"").problem(),
        PathError::BadWhiteout
    );
    assert_eq!(
        Layer::new().file("a/.wh...", b"").problem(),
        PathError::BadWhiteout
    );
}

#[test]
fn names_the_path_it_refuses() {
    let error = Layer::new().file("a/../b", b"").convert().unwrap_err();
    assert_eq!(error.to_string(), "refused the path \"a/../b\"");
}

#[test]
fn takes_absolute_paths_as_relative_to_the_layer() {
    let absolute = Layer::new().file("/etc/x", b"1").convert().unwrap();
    let relative = Layer::new().file("./etc/x", b"1").convert().unwrap();
    // All but the uuid and the checksum, which follow the archive's digest.
    let block = usize::try_from(BLOCK_BYTES_U64).unwrap();
    assert_eq!(absolute[block..], relative[block..]);
}

#[test]
fn refuses_a_truncated_archive() {
    let archive = Layer::new().file("a", &[1; 4000]).bytes();
    let result = convert(
        &archive[..2000],
        tempfile::tempfile().unwrap(),
        tempfile::tempfile().unwrap(),
    );
    assert!(matches!(
        result,
        Err(LayerError::Archive(TarError::Truncated))
    ));
}

#[test]
fn an_empty_archive_is_an_empty_layer() {
    let image = Layer::new().convert().unwrap();
    assert_eq!(image.len() as u64, BLOCK_BYTES_U64);
}
