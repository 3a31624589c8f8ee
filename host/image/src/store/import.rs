//! Makes an image from the archive of a root file system.

use std::io::{BufRead, BufReader, Read};

use serde_json::{Map, Value, json};

use super::commit::{StageError, StagedImage};
use super::{ImageStore, StoreError};
use crate::decompress::{Compression, Decompressor};
use crate::digest::{Digest, ImageId};
use crate::layer::LayerError;
use crate::platform::ARCHITECTURE;
use crate::reference::Reference;

/// Buffer for the input.
const BUFFER_BYTES: usize = 1 << 20;

/// What an imported image says beside its files.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Dockerfile instructions (`CMD ["sh"]`, `ENV A=b`, …), applied in order.
    pub changes: Vec<String>,
    /// A comment for the history.
    pub message: String,
    /// When it was made, RFC 3339. The store has no clock of its own, so that the same input can give
    /// the same image.
    pub created: Option<String>,
    /// Architecture in the words of Go's `GOARCH`; this machine's if `None`.
    pub architecture: Option<String>,
}

/// Why an import failed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The input could not be read.
    #[error("failed to read the root file system archive")]
    Read(#[source] std::io::Error),
    /// The archive was refused.
    #[error("failed to import the root file system")]
    Layer(#[source] LayerError),
    /// An instruction that cannot be applied.
    #[error("invalid change {change:?}: {problem}")]
    Change {
        /// The instruction.
        change: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The store failed.
    #[error("failed to store the image")]
    Store(#[source] StoreError),
}

impl ImageStore {
    /// Makes an image of one layer from a tar, plain or compressed with gzip or zstd.
    ///
    /// # Errors
    /// If the archive is refused, a change is invalid, or the store cannot be written.
    pub fn import(
        &self,
        input: impl Read,
        options: &ImportOptions,
        reference: Option<Reference>,
    ) -> Result<ImageId, ImportError> {
        let config = config(&options.changes)?;
        let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
        let compression = Compression::sniff(input.fill_buf().map_err(ImportError::Read)?);
        let plain = Decompressor::new(input, compression).map_err(ImportError::Read)?;
        let layer = self.stage_layer(plain).map_err(|error| match error {
            StageError::Layer(source) => ImportError::Layer(source),
            StageError::Store(source) => ImportError::Store(source),
        })?;
        let created = options.created.as_deref().unwrap_or("1970-01-01T00:00:00Z");
        let configuration = json!({
            "architecture": options.architecture.as_deref().unwrap_or(ARCHITECTURE),
            "os": "linux",
            "created": created,
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": [layer.diff_id.to_string()] },
            "history": [{ "created": created, "comment": options.message }],
        });
        let config_json = configuration.to_string().into_bytes();
        let id = ImageId::new(Digest::of(&config_json));
        let references = reference.map(Reference::or_latest).into_iter().collect();
        let image = StagedImage {
            id,
            config_json,
            layers: vec![layer],
            references,
            manifest: None,
        };
        self.commit_all(vec![image]).map_err(ImportError::Store)?;
        Ok(id)
    }
}

/// The `config` object that Dockerfile instructions make.
fn config(changes: &[String]) -> Result<Value, ImportError> {
    let mut config = Map::new();
    apply_changes(&mut config, changes)?;
    Ok(Value::Object(config))
}

/// Changes a `config` object as Dockerfile instructions say.
pub(super) fn apply_changes(
    config: &mut Map<String, Value>,
    changes: &[String],
) -> Result<(), ImportError> {
    for change in changes {
        apply(config, change).map_err(|problem| ImportError::Change {
            change: change.clone(),
            problem,
        })?;
    }
    Ok(())
}

fn apply(config: &mut Map<String, Value>, change: &str) -> Result<(), &'static str> {
    let (instruction, rest) = change
        .trim()
        .split_once(char::is_whitespace)
        .unwrap_or((change, ""));
    let rest = rest.trim();
    if rest.is_empty() {
        return Err("it has no argument");
    }
    match instruction.to_ascii_uppercase().as_str() {
        "CMD" => set(config, "Cmd", command(rest)),
        "ENTRYPOINT" => set(config, "Entrypoint", command(rest)),
        "USER" => set(config, "User", rest.into()),
        "WORKDIR" => set(config, "WorkingDir", rest.into()),
        "STOPSIGNAL" => set(config, "StopSignal", rest.into()),
        "ONBUILD" => list(config, "OnBuild").push(rest.into()),
        "SHELL" => match exec_form(rest) {
            Some(words) => set(config, "Shell", words),
            None => return Err("it must be a JSON list of texts"),
        },
        "ENV" => {
            for (key, value) in pairs(rest)? {
                let environment = list(config, "Env");
                let prefix = format!("{key}=");
                environment
                    .retain(|entry| !entry.as_str().is_some_and(|it| it.starts_with(&prefix)));
                environment.push(format!("{key}={value}").into());
            }
        }
        "LABEL" => {
            for (key, value) in pairs(rest)? {
                object(config, "Labels").insert(key, value.into());
            }
        }
        "EXPOSE" => {
            for port in rest.split_whitespace() {
                let port = if port.contains('/') {
                    port.to_owned()
                } else {
                    format!("{port}/tcp")
                };
                object(config, "ExposedPorts").insert(port, json!({}));
            }
        }
        "VOLUME" => {
            let words = exec_form(rest);
            let words = words.as_ref().and_then(Value::as_array).map(|words| {
                words
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            });
            let plain = || rest.split_whitespace().map(str::to_owned).collect();
            for path in words.unwrap_or_else(plain) {
                object(config, "Volumes").insert(path, json!({}));
            }
        }
        _ => return Err("this instruction cannot be applied to an import"),
    }
    Ok(())
}

fn set(config: &mut Map<String, Value>, key: &str, value: Value) {
    config.insert(key.to_owned(), value);
}

/// The list of this name; an image below may have `null` there.
fn list<'a>(config: &'a mut Map<String, Value>, key: &str) -> &'a mut Vec<Value> {
    let value = config.entry(key).or_insert_with(|| json!([]));
    if !value.is_array() {
        *value = json!([]);
    }
    value.as_array_mut().expect("it is one by now")
}

/// The object of this name; an image below may have `null` there.
fn object<'a>(config: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = config.entry(key).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("it is one by now")
}

/// The JSON form of a command, or its shell form.
fn command(text: &str) -> Value {
    exec_form(text).unwrap_or_else(|| json!(["/bin/sh", "-c", text]))
}

fn exec_form(text: &str) -> Option<Value> {
    let words: Vec<String> = serde_json::from_str(text).ok()?;
    Some(json!(words))
}

/// `key=value key="two words"`, or the old `key value`.
fn pairs(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    let words = words(text)?;
    if words.first().is_some_and(|word| !word.contains('=')) {
        let (key, value) = text
            .split_once(char::is_whitespace)
            .ok_or("it has no value")?;
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: &String| {
        let (key, value) = word.split_once('=')?;
        (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
    };
    words
        .iter()
        .map(pair)
        .collect::<Option<_>>()
        .ok_or("it must be KEY=VALUE")
}

/// Splits at blanks outside of quotes; a backslash takes the next character as it is.
fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => {
                let next = letters.next().ok_or("it ends with a backslash")?;
                word.get_or_insert_default().push(next);
            }
            (letter, Some(open)) if letter == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (letter, None) if letter.is_whitespace() => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    if quote.is_some() {
        Err("a quote is not closed")
    } else {
        Ok(words)
    }
}
