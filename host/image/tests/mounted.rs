//! The kernel's own reader is the judge: layers are mounted and compared with what was packed.
//!
//! Mounting needs root here (a machine mounts as its own root); without it these tests say that they
//! were skipped. `fsck.rs` has the checks for everyone.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test stops at what fails"
)]

#[allow(dead_code, reason = "each test file uses its own part")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::{TemporaryStore, is_root, need, shell, skipped};

/// A mounted layer.
struct Mounted(PathBuf);

impl Mounted {
    fn new(layer: &Path, at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        shell(
            at,
            &format!(
                "mount -t erofs -o ro '{}' '{}'",
                layer.display(),
                at.display()
            ),
        );
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        shell(Path::new("/"), &format!("umount '{}'", self.0.display()));
    }
}

/// Everything tar knows of a tree: names, types, modes, owners, times to the nanosecond, links,
/// devices, content. Attributes have no order, so they are listed apart where a test has some.
fn fingerprint(folder: &Path) -> Vec<u8> {
    let script = "tar --sort=name --format=posix --numeric-owner \
                  --pax-option=exthdr.name=x,delete=atime,delete=ctime -c . | sha256sum
                  if [ -e with-attributes ]; then find . | sort | while read -r file
                  do echo \"$file\"; getfattr -hd -m - -e hex \"$file\" | sort; done; fi";
    shell(folder, script).stdout
}

/// Builds a tree with `script`, packs it with `pack`, and compares the mounted layer with it.
fn assert_same_when_mounted(script: &str, pack: &str) {
    if !is_root() {
        return skipped("mounting needs root");
    }
    let store = TemporaryStore::new();
    let tree = store.folder.path().join("tree");
    fs::create_dir(&tree).unwrap();
    shell(&tree, script);
    let archive = shell(&tree, pack).stdout;

    let mounted = Mounted::new(&store.layer(&archive), &store.folder.path().join("mnt"));

    assert_eq!(fingerprint(&tree), fingerprint(&mounted.0));
}

const POSIX: &str = "tar --format=posix --xattrs --xattrs-include='*' -cf - .";
const GNU: &str = "tar --format=gnu -cf - .";

#[test]
fn keeps_files_of_every_size_around_a_block() {
    let script = "for n in 0 1 4031 4032 4033 4095 4096 4097 8191 8192 8193 70000 131071 131072 131073 1048577
                  do head -c $n /dev/urandom > f$n; done";
    assert_same_when_mounted(script, POSIX);
}

#[test]
fn keeps_owners_modes_times_links_and_devices() {
    let script = "
        mkdir -p a/b; echo x > a/b/f; ln a/b/f a/hard; ln a/b/f hard; ln -s a/b/f soft
        ln -s $(head -c 4000 /dev/zero | tr '\\0' x) long
        mkfifo fifo; mknod char c 1 3; mknod block b 259 1048575; mknod big c 4095 70000
        touch -d '1969-12-31 23:59:58.25 UTC' old; touch -d '2040-01-01 00:00:00.123456789 UTC' new
        echo y > owned; chown 70000:4000000000 owned; chmod 6755 owned; chmod 1777 a; chmod 0 a/b/f";
    assert_same_when_mounted(script, POSIX);
}

#[test]
fn keeps_attributes_inline_and_shared() {
    need("setfattr");
    let script = "
        touch one two three with-attributes; mkdir dir; ln -s x link
        for f in one two three dir; do setfattr -n user.same -v 'a common value' $f; done
        setfattr -n user.empty one; setfattr -n user.only -v 0x000a3d20 one
        setfattr -n user.large -v $(head -c 3000 /dev/zero | tr '\\0' v) two
        setfattr -h -n trusted.t -v t link; setfattr -n security.s -v s three
        chmod u+x three; setcap cap_net_raw+ep three 2>/dev/null || true";
    assert_same_when_mounted(script, POSIX);
}

#[test]
fn keeps_large_folders_and_awkward_names() {
    let script = "
        mkdir many; cd many; seq -f 'a-file-with-a-rather-long-name-%05.0f' 1 12000 | xargs touch; cd ..
        touch $(head -c 255 /dev/zero | tr '\\0' n) \"$(printf '\\377\\376')\" '!before-dot' ' ' .hidden
        d=deep; for i in 1 2 3 4 5 6 7 8; do d=$d/$(head -c 200 /dev/zero | tr '\\0' d); done; mkdir -p $d
        touch $d/end; find . -exec touch -h -d @1234567890 {} +";
    assert_same_when_mounted(script, POSIX);
    assert_same_when_mounted(script, GNU);
}

#[test]
fn keeps_sparse_files_in_every_format() {
    let script = "
        truncate -s 3000000 hole; printf x | dd of=hole bs=1 seek=1500000 conv=notrunc status=none
        truncate -s 1000001 tail; printf x | dd of=tail bs=1 seek=1000000 conv=notrunc status=none
        truncate -s 500000 empty; head -c 200000 /dev/urandom > dense; head -c 300000 /dev/zero > zeros
        truncate -s 4000000 many; for i in $(seq 1 9 900)
        do printf x | dd of=many bs=4096 seek=$i conv=notrunc status=none; done
        find . -exec touch -h -d @1234567890 {} +";
    assert_same_when_mounted(script, "tar -S --format=gnu -cf - .");
    for version in ["0.0", "0.1", "1.0"] {
        assert_same_when_mounted(
            script,
            &format!("tar -S --format=posix --sparse-version={version} -cf - ."),
        );
    }
    assert_same_when_mounted(script, POSIX);
}

#[test]
fn a_sparse_file_of_8_gib_costs_next_to_nothing() {
    let store = TemporaryStore::new();
    let folder = store.folder.path();
    shell(
        folder,
        "truncate -s 8G big; printf end | dd of=big bs=1 seek=8589934500 conv=notrunc status=none",
    );
    let archive = shell(folder, "tar -S --format=posix -cf - big").stdout;

    let layer = store.layer(&archive);

    assert!(fs::metadata(&layer).unwrap().len() < 1 << 20);
    if !is_root() {
        return skipped("mounting needs root");
    }
    let mounted = Mounted::new(&layer, &folder.join("mnt"));
    assert_eq!(fs::metadata(mounted.0.join("big")).unwrap().len(), 8 << 30);
    assert_eq!(
        shell(&mounted.0, "tail -c 92 big | head -c 4").stdout,
        b"end\0"
    );
}

#[test]
fn whiteouts_hide_lower_layers_under_overlayfs() {
    if !is_root() {
        return skipped("mounting needs root");
    }
    let store = TemporaryStore::new();
    let folder = store.folder.path();
    shell(
        folder,
        "mkdir -p low/dir low/opaque low/both top/dir top/opaque top/both
         touch low/gone low/kept low/dir/gone low/opaque/gone low/both/gone
         touch top/.wh.gone top/.wh.never top/dir/.wh.gone top/opaque/.wh..wh..opq top/opaque/new
         touch top/.wh.both top/both/new top/.wh..wh.plnk",
    );
    let lower = store.layer(&shell(folder, "tar -C low -cf - .").stdout);
    let upper = store.layer(&shell(folder, "tar -C top -cf - .").stdout);
    let lower = Mounted::new(&lower, &folder.join("lower"));
    let upper = Mounted::new(&upper, &folder.join("upper"));

    let script = format!(
        "mkdir merged; mount -t overlay overlay -o lowerdir={}:{} merged
         cd merged; find . | sort; cd ..; umount merged",
        upper.0.display(),
        lower.0.display()
    );
    let merged = String::from_utf8(shell(folder, &script).stdout).unwrap();

    assert_eq!(
        merged,
        ".\n./both\n./both/new\n./dir\n./kept\n./opaque\n./opaque/new\n"
    );
}

#[test]
fn later_entries_replace_earlier_ones() {
    if !is_root() {
        return skipped("mounting needs root");
    }
    let store = TemporaryStore::new();
    let folder = store.folder.path();
    shell(
        folder,
        "mkdir -p 1/a/b 2 3; echo old > 1/f; ln 1/f 1/g; echo x > 1/a/b/c; echo new > 2/f; echo y > 2/a
         mkdir 3/f; tar -C 1 -cf t.tar f g a; tar -C 2 -rf t.tar f a; tar -C 3 -rf t.tar f",
    );
    let layer = store.layer(&fs::read(folder.join("t.tar")).unwrap());

    let mounted = Mounted::new(&layer, &folder.join("mnt"));

    let listing = shell(&mounted.0, "find . -printf '%p %y %n\\n' | sort; cat a g").stdout;
    let expected = ". d 3\n./a f 1\n./f d 2\n./g f 1\ny\nold\n";
    assert_eq!(String::from_utf8(listing).unwrap(), expected);
}
