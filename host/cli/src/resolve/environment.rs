//! `-e` and `--env-file`: environment from the command line, from files and from our own.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Looks a variable up where the command runs.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The variables of files first, so that `-e` wins over them.
pub(crate) fn resolve(
    given: &[String],
    files: &[impl AsRef<Path>],
    lookup: Lookup<'_>,
) -> Result<Vec<String>> {
    let mut variables = Vec::new();
    for file in files {
        let path = file.as_ref();
        let text = fs::read_to_string(path)
            .with_context(|| format!("failed to read env file {}", path.display()))?;
        let in_file = parse_file(&text, lookup)
            .with_context(|| format!("invalid env file {}", path.display()))?;
        variables.extend(in_file);
    }
    for variable in given {
        if variable.starts_with('=') || variable.is_empty() {
            bail!("invalid environment variable \"{variable}\": no name");
        }
        variables.extend(with_value(variable, lookup));
    }
    Ok(variables)
}

/// A line each; blank lines and those that start with `#` are skipped.
fn parse_file(text: &str, lookup: Lookup<'_>) -> Result<Vec<String>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split_once('=').map_or(line, |(name, _)| name);
        if name.is_empty() {
            bail!("line {}: no name before '='", index + 1);
        }
        if name.contains(char::is_whitespace) {
            bail!("line {}: name \"{name}\" contains white space", index + 1);
        }
        variables.extend(with_value(line, lookup));
    }
    Ok(variables)
}

/// `NAME` alone takes its value from our own environment, and is left out where there is none.
fn with_value(variable: &str, lookup: Lookup<'_>) -> Option<String> {
    if variable.contains('=') {
        return Some(variable.to_owned());
    }
    lookup(variable).map(|value| format!("{variable}={value}"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{parse_file, resolve};

    const NO_FILES: &[PathBuf] = &[];

    fn host(name: &str) -> Option<String> {
        (name == "LANG").then(|| "C.UTF-8".to_owned())
    }

    #[test]
    fn a_name_alone_is_looked_up() {
        let given = [
            "LANG".to_owned(),
            "ABSENT".to_owned(),
            "A=".to_owned(),
            "B=1=2".to_owned(),
        ];
        let variables = resolve(&given, NO_FILES, &host).expect("valid variables");
        assert_eq!(variables, ["LANG=C.UTF-8", "A=", "B=1=2"]);
    }

    #[test]
    fn refuses_a_variable_without_name() {
        let error = resolve(&["=x".to_owned()], NO_FILES, &host).expect_err("no name");
        assert_eq!(
            error.to_string(),
            "invalid environment variable \"=x\": no name"
        );
    }

    #[test]
    fn files_have_comments_and_keep_quotes() {
        let text = "\u{feff}# first\n\n  A=\"x y\"\nLANG\nB=#no comment \n";
        let variables = parse_file(text, &host).expect("a valid file");
        assert_eq!(variables, ["A=\"x y\"", "LANG=C.UTF-8", "B=#no comment "]);
    }

    #[test]
    fn a_bad_line_is_told_with_its_number() {
        let error = parse_file("A=1\nB C=2\n", &host).expect_err("white space");
        assert_eq!(
            error.to_string(),
            "line 2: name \"B C\" contains white space"
        );
    }

    #[test]
    fn a_missing_file_is_told_by_name() {
        let error = resolve(&[], &["/nowhere/env"], &host).expect_err("no file");
        assert_eq!(error.to_string(), "failed to read env file /nowhere/env");
    }

    #[test]
    fn the_command_line_comes_after_files() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("env");
        std::fs::write(&file, "A=file\n").expect("a file");
        let variables = resolve(&["A=line".to_owned()], &[file], &host).expect("valid variables");
        assert_eq!(variables, ["A=file", "A=line"]);
    }
}
