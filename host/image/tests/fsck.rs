//! `fsck.erofs` of erofs-utils, somebody else's reader, finds nothing wrong with any layer.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test stops at what fails"
)]

#[allow(dead_code, reason = "each test file uses its own part")]
mod support;

use std::process::Command;

use dhow_image::{ImportError, ImportOptions};
use proptest::prelude::*;
use support::{TemporaryStore, need};

/// One entry of a random archive.
#[derive(Debug, Clone)]
struct RandomEntry {
    kind: tar::EntryType,
    path: Vec<String>,
    link: Vec<String>,
    size: usize,
    zeros: bool,
    xattr: Option<(u8, usize)>,
}

/// Few names, so that entries meet, replace each other and link to each other.
fn path() -> impl Strategy<Value = Vec<String>> {
    let name = prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        "[ -~&&[^/.]]{1,40}"
    ];
    prop::collection::vec(name, 1..4)
}

fn entry() -> impl Strategy<Value = RandomEntry> {
    let kind = prop_oneof![
        6 => Just(tar::EntryType::Regular),
        3 => Just(tar::EntryType::Directory),
        1 => Just(tar::EntryType::Symlink),
        1 => Just(tar::EntryType::Link),
        1 => Just(tar::EntryType::Fifo),
    ];
    let size = prop_oneof![0_usize..5000, 0_usize..400_000];
    let xattr = prop::option::of((0_u8..4, 0_usize..2000));
    (kind, path(), path(), size, any::<bool>(), xattr).prop_map(
        |(kind, path, link, size, zeros, xattr)| RandomEntry {
            kind,
            path,
            link,
            size,
            zeros,
            xattr,
        },
    )
}

fn archive(entries: &[RandomEntry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        if let Some((name, length)) = entry.xattr {
            let value = vec![name; length];
            let key = format!("SCHILY.xattr.user.{name}");
            builder
                .append_pax_extensions([(key.as_str(), value.as_slice())])
                .unwrap();
        }
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(entry.kind);
        header.set_mode(0o644);
        header.set_size(0);
        let path = entry.path.join("/");
        match entry.kind {
            tar::EntryType::Symlink | tar::EntryType::Link => {
                builder
                    .append_link(&mut header, path, entry.link.join("/"))
                    .unwrap();
            }
            tar::EntryType::Regular => {
                header.set_size(entry.size as u64);
                let mut data: Vec<u8> = (0..entry.size).map(|at| at.to_le_bytes()[0]).collect();
                if entry.zeros && entry.size > 70_000 {
                    data[2000..70_000].fill(0);
                }
                builder
                    .append_data(&mut header, path, data.as_slice())
                    .unwrap();
            }
            _ => builder
                .append_data(&mut header, path, std::io::empty())
                .unwrap(),
        }
    }
    builder.into_inner().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_is_either_refused_or_sound(entries in prop::collection::vec(entry(), 0..40)) {
        need("fsck.erofs");
        let temporary = TemporaryStore::new();
        let archive = archive(&entries);
        let id = match temporary.store.import(archive.as_slice(), &ImportOptions::default(), None) {
            Ok(id) => id,
            Err(ImportError::Layer(_)) => {
                prop_assert_eq!(temporary.content(), Vec::<String>::new());
                prop_assert_eq!(temporary.temporary_files(), 0);
                return Ok(());
            }
            Err(error) => return Err(TestCaseError::fail(support::chain(&error))),
        };
        let layer = &temporary.store.resolve(&id.to_string()).unwrap().layers[0];
        let output = Command::new("fsck.erofs").arg(&layer.path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        prop_assert!(output.status.success() && !said.contains("<E>"), "{}", said);
    }
}
