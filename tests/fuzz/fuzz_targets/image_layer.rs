//! Any bytes as a layer archive: refused or converted, never a panic, and nothing left behind when
//! refused.
#![no_main]

use std::sync::LazyLock;

use dhow_image::{ImageStore, ImportOptions};
use libfuzzer_sys::fuzz_target;

static STORE: LazyLock<(tempfile::TempDir, ImageStore)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = ImageStore::open(folder.path()).expect("a new store");
    (folder, store)
});

fuzz_target!(|bytes: &[u8]| {
    let store = &STORE.1;
    if let Ok(id) = store.import(bytes, &ImportOptions::default(), None) {
        let image = store
            .resolve(&id.to_string())
            .expect("what was imported is there");
        assert_eq!(image.layers[0].size % 4096, 0);
        store
            .remove(&id.to_string(), true, &|_| None)
            .expect("what is there can be removed");
    }
});
