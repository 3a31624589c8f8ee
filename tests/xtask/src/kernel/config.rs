//! From fragments to a `.config`: everything off, the fragments on top, and then proof that nothing
//! asked for was lost. Kconfig drops an option whose dependencies are missing without a word, and a
//! kernel that lacks an option by accident is found out by a user.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::inputs::Inputs;
use super::make;
use crate::child;

/// Option names (with `CONFIG_`) and their values, of those that are not off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    options: BTreeMap<String, String>,
}

impl Config {
    /// Reads a `.config` or a fragment. Comments, and with them `# CONFIG_X is not set`, are nothing.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let options = text
            .lines()
            .filter(|line| line.starts_with("CONFIG_"))
            .filter_map(|line| line.split_once('='))
            .filter(|&(_, value)| value != "n")
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self { options }
    }

    /// Whether an option, named without `CONFIG_`, is built in.
    #[must_use]
    pub fn is_built_in(&self, option: &str) -> bool {
        self.options
            .get(&format!("CONFIG_{option}"))
            .is_some_and(|value| value == "y")
    }

    /// Whether anything is a module; nothing may be, as nothing could load it.
    #[must_use]
    pub fn modules(&self) -> Vec<&str> {
        let modules = self.options.iter().filter(|&(_, value)| value == "m");
        modules.map(|(name, _)| name.as_str()).collect()
    }

    /// What `self` asks for and `result` does not have, as `CONFIG_X=y`.
    #[must_use]
    pub fn lost_in(&self, result: &Self) -> Vec<String> {
        let lost = self
            .options
            .iter()
            .filter(|&(name, value)| result.options.get(name) != Some(value));
        lost.map(|(name, value)| format!("{name}={value}"))
            .collect()
    }
}

/// The options that have no comment above them: a block of options is one run of lines without a
/// blank line, and its reason comes first.
#[must_use]
pub fn options_without_reason(fragment: &str) -> Vec<&str> {
    let mut unexplained = Vec::new();
    for block in fragment.split("\n\n") {
        let explained = block.trim_start().starts_with("# ");
        if !explained {
            unexplained.extend(block.lines().filter(|line| line.starts_with("CONFIG_")));
        }
    }
    unexplained
}

/// Writes `.config` into the build folder, unless one from the same inputs is there.
pub(super) fn configure(source: &Path, build: &Path, inputs: &Inputs) -> Result<()> {
    // The folder's name holds the inputs' hash, so a finished configuration in it is the right one;
    // writing it again would make the next build start from nothing.
    let done = build.join("configured");
    if done.exists() {
        return Ok(());
    }
    fs::create_dir_all(build).with_context(|| format!("failed to create {}", build.display()))?;
    let texts: Vec<&str> = inputs
        .fragments()
        .iter()
        .map(|input| input.text.as_str())
        .collect();
    let wanted_text = texts.join("\n");
    let wanted_file = build.join("wanted.config");
    fs::write(&wanted_file, &wanted_text)
        .with_context(|| format!("failed to write {}", wanted_file.display()))?;
    child::output(
        make::command(source, build, inputs.arch())
            .env("KCONFIG_ALLCONFIG", &wanted_file)
            .args(["--silent", "allnoconfig"]),
    )?;
    let result_file = build.join(".config");
    let result = fs::read_to_string(&result_file)
        .with_context(|| format!("failed to read {}", result_file.display()))?;
    let lost = Config::parse(&wanted_text).lost_in(&Config::parse(&result));
    if !lost.is_empty() {
        bail!(
            "the {} kernel's configuration lost options (their dependencies are missing): {}",
            inputs.arch().name(),
            lost.join(" ")
        );
    }
    fs::write(&done, "").with_context(|| format!("failed to write {}", done.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_options_and_leaves_out_those_that_are_off() {
        let text = "# CONFIG_PCI is not set\nCONFIG_NET=y\nCONFIG_ACPI=n\nCONFIG_HZ=100\n";

        let config = Config::parse(text);

        assert!(config.is_built_in("NET"));
        assert!(!config.is_built_in("PCI"));
        assert!(!config.is_built_in("ACPI"));
        assert!(!config.is_built_in("HZ"));
    }

    #[test]
    fn names_every_option_that_was_lost() {
        let wanted = Config::parse("CONFIG_SMP=y\nCONFIG_CPUSETS=y\nCONFIG_NR_CPUS=64\n");
        let result = Config::parse("CONFIG_SMP=y\nCONFIG_NR_CPUS=8\n");

        let lost = wanted.lost_in(&result);

        assert_eq!(lost, ["CONFIG_CPUSETS=y", "CONFIG_NR_CPUS=64"]);
    }

    #[test]
    fn an_option_wanted_off_is_not_lost_when_it_is_off() {
        let wanted = Config::parse("CONFIG_PCI=n\n");

        assert_eq!(wanted.lost_in(&Config::default()), [""; 0]);
    }

    #[test]
    fn finds_modules() {
        let config = Config::parse("CONFIG_VETH=m\nCONFIG_NET=y\n");

        assert_eq!(config.modules(), ["CONFIG_VETH"]);
    }

    #[test]
    fn a_reason_covers_its_block_only() {
        let fragment = "# Sockets.\nCONFIG_NET=y\nCONFIG_UNIX=y\n\nCONFIG_TUN=y\n";

        assert_eq!(options_without_reason(fragment), ["CONFIG_TUN=y"]);
    }
}
