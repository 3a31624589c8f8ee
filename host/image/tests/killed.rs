//! A process killed anywhere between the first write and the last rename of a load: the store opens,
//! an image is whole or absent, nothing temporary stays, and the next load works.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test stops at what fails"
)]

#[allow(dead_code, reason = "each test file uses its own part")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dhow_image::{ImageStore, ResolveError};
use support::{TemporaryStore, shell};

/// The name under which the archive's image is loaded.
const NAME: &str = "test/image:v1";

/// Makes a docker-archive of three layers, large enough for a load to take a while.
fn archive(folder: &Path) -> PathBuf {
    shell(
        folder,
        r#"mkdir save
        for layer in one two three; do
            mkdir -p in save/$layer; rm -f in/*
            head -c 300000 /dev/urandom > in/$layer
            tar -C in -cf save/$layer/layer.tar .
        done
        ids=
        for layer in one two three; do
            ids="$ids,\"sha256:$(sha256sum < save/$layer/layer.tar | cut -c-64)\""
        done
        cd save
        printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[%s]}}' \
            "${ids#,}" > config
        config=$(sha256sum < config | cut -c-64).json
        mv config $config
        printf '[{"Config":"%s","RepoTags":["test/image:v1"],"Layers":["one/layer.tar","two/layer.tar","three/layer.tar"]}]' \
            $config > manifest.json
        tar -cf ../image.tar *"#,
    );
    folder.join("image.tar")
}

/// The example that `cargo test` builds beside the tests: a process to kill.
fn start_loading(root: &Path, archive: &Path) -> Child {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.ancestors().nth(2).unwrap();
    Command::new(profile.join("examples").join("image-store"))
        .arg(root)
        .arg("load")
        .arg(archive)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Opens the store as the next process does, and says whether it has the image; if so, with the very
/// layers of a store that was never disturbed.
#[track_caller]
fn has_whole_image(root: &Path, undisturbed: &Path) -> bool {
    let store = ImageStore::open(root).unwrap();
    // Every configuration that is there is whole, named or not.
    store.list().unwrap();
    match store.resolve(NAME) {
        Ok(image) => {
            assert_eq!(image.layers.len(), 3);
            for layer in &image.layers {
                let name = layer.path.file_name().unwrap();
                let wanted = fs::read(undisturbed.join("layers").join(name)).unwrap();
                assert!(fs::read(&layer.path).unwrap() == wanted, "{name:?}");
            }
            true
        }
        Err(error) => {
            assert!(matches!(error, ResolveError::NotFound { .. }), "{error:?}");
            false
        }
    }
}

/// A store that has the image, and the archive it was loaded from.
fn undisturbed() -> (TemporaryStore, PathBuf) {
    let whole = TemporaryStore::new();
    let archive = archive(whole.folder.path());
    load(&whole.store, &archive);
    (whole, archive)
}

fn load(store: &ImageStore, archive: &Path) {
    let file = fs::File::open(archive).unwrap();
    store.load(file, &mut |_| ()).unwrap();
}

/// What the store has below a folder.
fn names(root: &Path, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root.join(folder)).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn copy(from: &Path, to: &Path, folder: &str, name: &str) {
    fs::create_dir_all(to.join(folder)).unwrap();
    let path = Path::new(folder).join(name);
    fs::copy(from.join(&path), to.join(&path)).unwrap();
}

/// Every state that a commit goes through, made by hand: the first so many of its steps.
#[test]
fn each_step_of_a_commit_leaves_a_sound_store() {
    let (whole, archive) = undisturbed();
    let from = whole.root();
    let mut steps: Vec<(&str, String)> = Vec::new();
    for folder in ["layers", "images"] {
        steps.extend(names(&from, folder).into_iter().map(|name| (folder, name)));
    }
    steps.push((".", "references.json".to_owned()));
    // Three layers of two files each, the image, its name.
    assert_eq!(steps.len(), 8);

    for done in 0..=steps.len() {
        let partial = tempfile::tempdir().unwrap();
        let root = partial.path();
        // The staged names that a killed process has left, the lock of its session free.
        fs::create_dir_all(root.join("tmp/session-dead")).unwrap();
        fs::write(root.join("tmp/session-dead/lock"), "").unwrap();
        fs::write(root.join("tmp/session-dead/.tmpAbCdEf"), "half").unwrap();
        for (folder, name) in &steps[..done] {
            copy(&from, root, folder, name);
        }

        let found = has_whole_image(root, &from);
        assert_eq!(found, done == steps.len(), "{done} steps");
        let store = ImageStore::open(root).unwrap();
        // Layers that no image names go, those of an image without a name stay.
        let layers = if done < 7 { 0 } else { 6 };
        assert_eq!(names(root, "layers").len(), layers, "{done} steps");
        assert!(!root.join("tmp/session-dead").exists(), "{done} steps");
        load(&store, &archive);
        drop(store);
        assert!(has_whole_image(root, &from), "{done} steps");
    }
}

/// Kills a real load at fifty moments from its start to just past its end.
#[test]
fn fifty_kills_spread_over_a_load_leave_a_sound_store() {
    const KILLS: u32 = 50;
    let (whole, archive) = undisturbed();
    let begin = Instant::now();
    let timed = tempfile::tempdir().unwrap();
    assert!(
        start_loading(timed.path(), &archive)
            .wait()
            .unwrap()
            .success()
    );
    let duration = begin.elapsed();

    for number in 0..KILLS {
        let store = tempfile::tempdir().unwrap();
        let mut child = start_loading(store.path(), &archive);
        std::thread::sleep(duration * number / (KILLS - 1));
        child.kill().unwrap();
        child.wait().unwrap();

        let found = has_whole_image(store.path(), &whole.root());
        assert_eq!(temporary_files(store.path()), 0);
        load(&ImageStore::open(store.path()).unwrap(), &archive);
        assert!(has_whole_image(store.path(), &whole.root()), "{found}");
    }
}

/// Kills a real load as soon as one of its renames shows.
#[test]
fn a_kill_after_each_kind_of_rename_leaves_a_sound_store() {
    let (whole, archive) = undisturbed();

    for folder in ["layers", "images"] {
        for _ in 0..10 {
            let store = tempfile::tempdir().unwrap();
            fs::create_dir_all(store.path().join(folder)).unwrap();
            let mut child = start_loading(store.path(), &archive);
            let deadline = Instant::now() + Duration::from_secs(60);
            while names(store.path(), folder).is_empty() {
                assert!(Instant::now() < deadline, "nothing comes to {folder}");
                std::hint::spin_loop();
            }
            child.kill().unwrap();
            child.wait().unwrap();

            has_whole_image(store.path(), &whole.root());
            assert_eq!(temporary_files(store.path()), 0);
        }
    }
}

/// Files that sessions hold, their locks not counted.
fn temporary_files(root: &Path) -> usize {
    let sessions = fs::read_dir(root.join("tmp")).unwrap();
    let files = sessions.flat_map(|session| fs::read_dir(session.unwrap().path()).unwrap());
    files
        .filter(|file| file.as_ref().unwrap().file_name() != "lock")
        .count()
}
