//! An archive that goes out is the archive that came in: `save` puts layers together again, byte for
//! byte, whatever a tar may hold.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test stops at what fails"
)]

#[allow(dead_code, reason = "each test file uses its own part")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;

use dhow_image::{Digest, ImportOptions, SaveError};
use support::{TemporaryStore, chain, shell};

/// Imports a layer archive under a name and saves it; the members of what comes out.
fn saved(store: &TemporaryStore, archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let name = "test/app:1".parse().unwrap();
    store
        .store
        .import(archive, &ImportOptions::default(), Some(name))
        .unwrap();
    let mut output = Vec::new();
    store
        .store
        .save(&["test/app:1".to_owned()], &mut output)
        .unwrap();
    members(&output)
}

fn members(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (path, content)
    });
    entries.collect()
}

#[track_caller]
fn comes_out_as_it_went_in(archive: &[u8]) {
    let store = TemporaryStore::new();
    let members = saved(&store, archive);
    let path = format!("blobs/sha256/{}", Digest::of(archive).hex());
    assert!(members[&path] == archive, "{path} differs");
}

#[test]
fn files_of_all_sizes_links_and_folders_come_out_as_they_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let archive = shell(
        folder.path(),
        "mkdir -p in/a/b; cd in
         : > empty; printf x > one; head -c 4095 /dev/urandom > tail; head -c 4096 /dev/urandom > block
         head -c 4097 /dev/urandom > more; head -c 200000 /dev/urandom > a/chunks
         { head -c 100000 /dev/urandom; head -c 300000 /dev/zero; printf end; } > a/holes
         head -c 500000 /dev/zero > a/b/zeros; ln -s ../one a/link; ln one a/hard
         cd ..; tar -C in --owner=0 --group=0 -cf - .",
    );
    comes_out_as_it_went_in(&archive.stdout);
}

#[test]
fn sparse_files_long_names_and_attributes_come_out_as_they_went_in() {
    let folder = tempfile::tempdir().unwrap();
    for format in ["gnu", "posix"] {
        let script = format!(
            "rm -rf in; mkdir in; cd in; truncate -s 3M sparse; printf middle | dd of=sparse bs=1 seek=1500000 conv=notrunc status=none
             name=$(printf 'n%.0s' $(seq 200)); mkdir $name; printf long > $name/$name
             cd ..; tar -C in --sparse --format={format} --owner=0 --group=0 -cf - ."
        );
        let archive = shell(folder.path(), &script);
        comes_out_as_it_went_in(&archive.stdout);
    }
}

#[test]
fn what_follows_the_end_and_what_is_hidden_comes_out_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let archive = shell(
        folder.path(),
        "mkdir in; cd in; : > .wh.gone; mkdir .wh..wh.plnk; printf aufs > .wh..wh.plnk/1; printf one > same
         tar --owner=0 --group=0 -cf ../layer.tar .; printf two > same; tar --owner=0 --group=0 -rf ../layer.tar ./same
         cd ..; printf 'after the end' >> layer.tar; cat layer.tar",
    );
    comes_out_as_it_went_in(&archive.stdout);
}

#[test]
fn what_was_saved_can_be_loaded_and_saved_again() {
    let store = TemporaryStore::new();
    let folder = tempfile::tempdir().unwrap();
    let layer = shell(
        folder.path(),
        "mkdir in; printf hello > in/file; tar -C in -cf - .",
    )
    .stdout;
    saved(&store, &layer);
    let names = ["test/app:1".to_owned()];
    let mut first = Vec::new();
    store.store.save(&names, &mut first).unwrap();

    let other = TemporaryStore::new();
    let loaded = other.store.load(first.as_slice(), &mut |_| ()).unwrap();
    let mut second = Vec::new();
    other.store.save(&names, &mut second).unwrap();

    assert_eq!(loaded[0].references, names);
    assert!(first == second, "the archives differ");
}

#[test]
fn the_archive_is_a_docker_archive_and_an_oci_layout() {
    let store = TemporaryStore::new();
    let folder = tempfile::tempdir().unwrap();
    let layer = shell(
        folder.path(),
        "mkdir in; printf hello > in/file; tar -C in -cf - .",
    )
    .stdout;

    let members = saved(&store, &layer);

    let text = |name: &str| String::from_utf8(members[name].clone()).unwrap();
    assert!(text("manifest.json").contains(r#""RepoTags":["test/app:1"]"#));
    assert!(text("index.json").contains("docker.io/test/app:1"));
    assert_eq!(text("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
}

#[test]
fn a_damaged_layer_is_not_saved_as_if_it_were_whole() {
    let store = TemporaryStore::new();
    let folder = tempfile::tempdir().unwrap();
    let script = "mkdir in; head -c 100000 /dev/urandom > in/file; tar -C in -cf - .";
    saved(&store, &shell(folder.path(), script).stdout);
    let image = store.store.resolve("test/app:1").unwrap();
    let mut bytes = fs::read(&image.layers[0].path).unwrap();
    bytes[8192] ^= 1;
    fs::write(&image.layers[0].path, bytes).unwrap();

    let saved = store.store.save(&["test/app:1".to_owned()], Vec::new());

    let error = saved.unwrap_err();
    assert!(
        matches!(error, SaveError::Digest { .. }),
        "{}",
        chain(&error)
    );
}

#[test]
fn an_image_that_is_not_here_leaves_the_output_empty() {
    let store = TemporaryStore::new();
    let mut output = Vec::new();
    let saved = store.store.save(&["nothing".to_owned()], &mut output);
    saved.unwrap_err();
    assert!(output.is_empty());
}
