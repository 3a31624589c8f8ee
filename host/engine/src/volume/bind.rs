//! `-v`: `source:destination[:mode]`, read as Docker reads it.

/// One `-v` that has a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// A volume's name or a path of the host; empty for a volume of its own.
    pub source: String,
    /// An absolute path in the container.
    pub destination: String,
    /// The mode, as typed.
    pub mode: Mode,
}

/// What follows the second colon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// As typed.
    pub text: String,
    /// `ro`.
    pub read_only: bool,
    /// `nocopy`.
    pub no_copy: bool,
}

/// Why a bind was refused, in Docker's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// Not of that form.
    #[error("invalid volume specification: '{0}'")]
    Specification(String),
    /// Unknown words after the second colon.
    #[error("invalid mode: {0}")]
    Mode(String),
    /// Not absolute.
    #[error(
        "invalid volume specification: '{text}': invalid mount path: '{path}' mount path must be \
         absolute"
    )]
    Relative {
        /// The whole.
        text: String,
        /// The path.
        path: String,
    },
    /// The root.
    #[error("invalid volume specification: '{0}': invalid specification: destination can't be '/'")]
    Root(String),
}

/// Words of a mode that change nothing here: there is no SELinux in the machine, no client of
/// another system to be consistent with, and propagation is for folders of the host.
const WITHOUT_EFFECT: [&str; 11] = [
    "z",
    "Z",
    "consistent",
    "cached",
    "delegated",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
];

impl Mode {
    /// Reads a mode; nothing where a word of it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut mode = Self {
            text: text.to_owned(),
            ..Self::default()
        };
        for word in text.split(',') {
            match word {
                "ro" => mode.read_only = true,
                "rw" => mode.read_only = false,
                "nocopy" => mode.no_copy = true,
                word if WITHOUT_EFFECT.contains(&word) => {}
                _ => return None,
            }
        }
        Some(mode)
    }
}

impl Bind {
    /// Reads one `-v`.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn parse(text: &str) -> Result<Self, BindError> {
        let specification = || BindError::Specification(text.to_owned());
        let parts: Vec<&str> = text.split(':').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(specification());
        }
        let (source, destination, mode) = match parts.as_slice() {
            [destination] => ("", *destination, Mode::default()),
            [first, second] => match Mode::parse(second) {
                Some(mode) if first.starts_with('/') => ("", *first, mode),
                _ => (*first, *second, Mode::default()),
            },
            [source, destination, mode] => {
                let mode = Mode::parse(mode).ok_or_else(|| BindError::Mode((*mode).to_owned()))?;
                (*source, *destination, mode)
            }
            _ => return Err(specification()),
        };
        let destination = clean(destination).ok_or_else(|| BindError::Relative {
            text: text.to_owned(),
            path: destination.to_owned(),
        })?;
        if destination == "/" {
            return Err(BindError::Root(text.to_owned()));
        }
        Ok(Self {
            source: source.to_owned(),
            destination,
            mode,
        })
    }
}

/// An absolute path without empty parts, `.` and `..`; nothing where it is not absolute.
#[must_use]
pub fn clean(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return None;
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, String, bool, bool) {
        let bind = Bind::parse(text).unwrap();
        let Mode {
            read_only, no_copy, ..
        } = bind.mode;
        (bind.source, bind.destination, read_only, no_copy)
    }

    fn owned(source: &str, path: &str, ro: bool, no_copy: bool) -> (String, String, bool, bool) {
        (source.to_owned(), path.to_owned(), ro, no_copy)
    }

    #[test]
    fn one_to_three_parts_are_read() {
        assert_eq!(read("/data"), owned("", "/data", false, false));
        assert_eq!(read("/data:ro"), owned("", "/data", true, false));
        assert_eq!(read("db:/data"), owned("db", "/data", false, false));
        assert_eq!(
            read("db:/data/:ro,nocopy"),
            owned("db", "/data", true, true)
        );
        assert_eq!(read("db:/a/../data:z"), owned("db", "/data", false, false));
    }

    #[test]
    fn mistakes_are_told_as_docker_tells_them() {
        let told = |text: &str| Bind::parse(text).unwrap_err().to_string();

        assert_eq!(told("db:/data:fast"), "invalid mode: fast");
        assert_eq!(told("a:b:c:d"), "invalid volume specification: 'a:b:c:d'");
        assert_eq!(told("db:"), "invalid volume specification: 'db:'");
        assert!(told("db:data").ends_with("'data' mount path must be absolute"));
        assert!(told("db:/").ends_with("destination can't be '/'"));
    }
}
