//! `-l` and `--label-file`.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Labels of files first, so that `-l` wins over them.
pub(crate) fn resolve(
    given: &[String],
    files: &[impl AsRef<Path>],
) -> Result<HashMap<String, String>> {
    let mut labels = HashMap::new();
    for file in files {
        let path = file.as_ref();
        let text = fs::read_to_string(path)
            .with_context(|| format!("failed to read label file {}", path.display()))?;
        let lines = text.lines().map(str::trim_start);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            insert(&mut labels, line)?;
        }
    }
    for label in given {
        insert(&mut labels, label)?;
    }
    Ok(labels)
}

fn insert(labels: &mut HashMap<String, String>, label: &str) -> Result<()> {
    let (key, value) = label.split_once('=').unwrap_or((label, ""));
    if key.is_empty() {
        bail!("invalid label \"{label}\": no name");
    }
    labels.insert(key.to_owned(), value.to_owned());
    Ok(())
}
