//! Any bytes as a docker-archive or OCI archive.
#![no_main]

use std::sync::LazyLock;

use dhow_image::ImageStore;
use libfuzzer_sys::fuzz_target;

static STORE: LazyLock<(tempfile::TempDir, ImageStore)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = ImageStore::open(folder.path()).expect("a new store");
    (folder, store)
});

fuzz_target!(|bytes: &[u8]| {
    let store = &STORE.1;
    for image in store.load(bytes, &mut |_| ()).unwrap_or_default() {
        // Two images of one archive may be one.
        let _ = store.remove(&image.id.to_string(), true, &|_| None);
    }
    assert!(store.list().expect("the store is valid").is_empty());
});
