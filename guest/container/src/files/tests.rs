//! Archives of folders that stand for a container's root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use rustix::fs::{CWD, Mode};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::*;

/// A container whose root is a plain folder, with one layer.
struct Fixture {
    root: TempDir,
    data: TempDir,
    layer: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let made = Self {
            root: tempfile::tempdir().unwrap(),
            data: tempfile::tempdir().unwrap(),
            layer: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(made.data.path().join("upper")).unwrap();
        made
    }

    fn files(&self) -> Files<'static> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(self.root.path(), flags, Mode::empty()).unwrap();
        Files {
            container: "abc".to_owned(),
            root: Arc::new(root),
            folder: self.data.path().to_owned(),
            layers: vec![self.layer.path().to_owned()],
            _place: None,
        }
    }

    fn unpack(&self, path: &str, archive: &[u8]) -> Result<(), FilesError> {
        let options = UnpackOptions {
            path,
            keep_kinds: true,
            owner: "",
        };
        self.files().unpack(options, archive)
    }
}

/// An archive of one entry that belongs to whoever runs the tests.
fn archive_of(kind: EntryType, path: &str, content: &[u8], link: &str) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o640);
    header.set_uid(u64::from(nix::unistd::getuid().as_raw()));
    header.set_gid(u64::from(nix::unistd::getgid().as_raw()));
    header.set_mtime(1_000_000);
    header.set_size(content.len() as u64);
    // Written as it is: the tar crate itself refuses paths that climb.
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    let mut builder = Builder::new(Vec::new());
    builder.append(&header, content).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn what_is_packed_is_what_is_unpacked() {
    let (from, to) = (Fixture::new(), Fixture::new());
    let folder = from.root.path().join("srv/app");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("file"), vec![b'x'; 1000]).unwrap();
    fs::set_permissions(folder.join("file"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::hard_link(folder.join("file"), folder.join("same")).unwrap();
    symlink("/etc/passwd", folder.join("link")).unwrap();
    fs::write(folder.join("n".repeat(200)), "long").unwrap();

    let mut archive = Vec::new();
    from.files().pack("/srv/app", &mut archive).unwrap();
    to.unpack("/", &archive).unwrap();

    let copy = to.root.path().join("app");
    let facts = fs::metadata(copy.join("file")).unwrap();
    assert_eq!((facts.len(), facts.mode() & 0o7777), (1000, 0o4711));
    assert_eq!(facts.ino(), fs::metadata(copy.join("same")).unwrap().ino());
    let link = fs::read_link(copy.join("link")).unwrap();
    assert_eq!(link, PathBuf::from("/etc/passwd"));
    assert_eq!(fs::read(copy.join("n".repeat(200))).unwrap(), b"long");
    let original = fs::metadata(folder.join("file")).unwrap();
    assert_eq!(facts.mtime(), original.mtime());
}

#[test]
fn a_single_file_is_packed_under_its_name() {
    let (from, to) = (Fixture::new(), Fixture::new());
    fs::create_dir(from.root.path().join("etc")).unwrap();
    fs::write(from.root.path().join("etc/motd"), "hello").unwrap();

    let mut archive = Vec::new();
    from.files().pack("/etc/motd", &mut archive).unwrap();
    to.unpack("/", &archive).unwrap();

    assert_eq!(fs::read(to.root.path().join("motd")).unwrap(), b"hello");
}

#[test]
fn everything_is_packed_without_a_slash_before_it() {
    let from = Fixture::new();
    fs::create_dir(from.root.path().join("etc")).unwrap();
    fs::write(from.root.path().join("etc/motd"), "hello").unwrap();

    let mut archive = Vec::new();
    from.files().pack_all(&mut archive).unwrap();

    let mut archive = tar::Archive::new(&archive[..]);
    let entries = archive.entries().unwrap();
    let names: Vec<_> = entries
        .map(|entry| entry.unwrap().path().unwrap().into_owned())
        .collect();
    assert_eq!(names, [Path::new("etc"), Path::new("etc/motd")]);
}

#[test]
fn refuses_a_path_that_climbs() {
    let fixture = Fixture::new();
    let archive = archive_of(EntryType::Regular, "a/../../mark", b"x", "");

    let error = fixture.unpack("/", &archive).unwrap_err();

    assert!(matches!(error, FilesError::Archive(_)), "{error:?}");
}

#[test]
fn a_link_on_the_way_stays_below_the_root() {
    let fixture = Fixture::new();
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), fixture.root.path().join("link")).unwrap();
    // What the link says, as the container sees it.
    let inside = fixture
        .root
        .path()
        .join(outside.path().strip_prefix("/").unwrap());
    fs::create_dir_all(&inside).unwrap();
    let archive = archive_of(EntryType::Regular, "link/mark", b"x", "");

    fixture.unpack("/", &archive).unwrap();

    assert!(inside.join("mark").exists());
    assert!(!outside.path().join("mark").exists());
}

#[test]
fn a_link_in_the_files_place_is_replaced() {
    let fixture = Fixture::new();
    fs::write(fixture.root.path().join("target"), "kept").unwrap();
    symlink("target", fixture.root.path().join("file")).unwrap();
    let archive = archive_of(EntryType::Regular, "file", b"new", "");

    fixture.unpack("/", &archive).unwrap();

    assert_eq!(
        fs::read(fixture.root.path().join("target")).unwrap(),
        b"kept"
    );
    assert_eq!(fs::read(fixture.root.path().join("file")).unwrap(), b"new");
}

#[test]
fn a_hard_link_cannot_reach_outside() {
    let fixture = Fixture::new();
    let archive = archive_of(EntryType::Link, "file", b"", "../../../etc/passwd");

    let error = fixture.unpack("/", &archive).unwrap_err();

    assert!(matches!(error, FilesError::Archive(_)), "{error:?}");
}

#[test]
fn a_file_does_not_take_a_folders_place() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.root.path().join("etc")).unwrap();
    let archive = archive_of(EntryType::Regular, "etc", b"x", "");

    let error = fixture.unpack("/", &archive).unwrap_err();

    assert_eq!(
        error.to_string(),
        "cannot overwrite directory \"etc\" with non-directory"
    );
}

#[test]
fn the_place_to_unpack_must_be_a_folder() {
    let fixture = Fixture::new();
    fs::write(fixture.root.path().join("file"), "").unwrap();

    let file = fixture.unpack("/file", b"").unwrap_err();
    let missing = fixture.unpack("/missing", b"").unwrap_err();

    assert!(matches!(file, FilesError::NotAFolder), "{file:?}");
    assert_eq!(missing.failure().kind, FailureKind::NotFound);
}

#[test]
fn half_an_archive_is_an_error() {
    let fixture = Fixture::new();
    let archive = archive_of(EntryType::Regular, "file", &[b'x'; 2000], "");

    let error = fixture.unpack("/", &archive[..1000]).unwrap_err();

    assert!(matches!(error, FilesError::Archive(_)), "{error:?}");
}

#[test]
fn changes_are_told_by_what_the_image_has() {
    let fixture = Fixture::new();
    let (upper, layer) = (fixture.data.path().join("upper"), fixture.layer.path());
    fs::create_dir(upper.join("etc")).unwrap();
    fs::create_dir(layer.join("etc")).unwrap();
    fs::write(layer.join("etc/passwd"), "old").unwrap();
    fs::write(upper.join("etc/passwd"), "new").unwrap();
    fs::write(upper.join("etc/more"), "new").unwrap();
    fs::write(upper.join("etc/hosts"), "").unwrap();
    // A whiteout, which every user may make.
    let kind = FileType::CharacterDevice;
    rustix::fs::mknodat(CWD, upper.join("etc/group"), kind, Mode::empty(), 0).unwrap();

    let mut list = Vec::new();
    fixture.files().list_changes(&mut list).unwrap();

    let list = String::from_utf8(list).unwrap();
    let lines: Vec<&str> = list.split_terminator('\0').collect();
    assert_eq!(
        lines,
        ["C/etc", "D/etc/group", "A/etc/more", "C/etc/passwd"]
    );
}

#[test]
fn a_layer_says_what_is_gone() {
    let fixture = Fixture::new();
    let upper = fixture.data.path().join("upper");
    fs::write(upper.join("new"), "x").unwrap();
    let kind = FileType::CharacterDevice;
    rustix::fs::mknodat(CWD, upper.join("gone"), kind, Mode::empty(), 0).unwrap();

    let mut layer = Vec::new();
    fixture.files().pack_layer(&mut layer).unwrap();

    let mut archive = tar::Archive::new(&layer[..]);
    let entries = archive.entries().unwrap();
    let names: Vec<_> = entries
        .map(|entry| entry.unwrap().path().unwrap().into_owned())
        .collect();
    assert_eq!(names, [Path::new(".wh.gone"), Path::new("new")]);
}

#[test]
fn a_links_target_is_told_from_the_root() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.root.path().join("etc")).unwrap();
    symlink("../usr/x", fixture.root.path().join("etc/link")).unwrap();

    let status = fixture.files().stat("/etc/link").unwrap();

    assert_eq!(status.link_target, "/usr/x");
    assert_eq!(status.name, "link");
}

#[test]
fn the_last_name_is_gos() {
    assert_eq!(last_name("/etc/passwd"), "passwd");
    assert_eq!(last_name("/etc/"), "etc");
    assert_eq!(last_name("/etc/."), ".");
    assert_eq!(last_name("/"), "/");
}

#[test]
fn dots_are_taken_out() {
    assert_eq!(clean(Path::new("/a/../../b/./c")), Path::new("/b/c"));
}
