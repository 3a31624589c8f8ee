//! `--ulimit name=soft[:hard]`.

use anyhow::{Context, Result, bail};
use dhow_api::client::request::ResourcesUlimits;

/// Limits Linux knows, by the names Docker gives them.
const NAMES: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Reads one `--ulimit`; -1 is "no limit".
pub(crate) fn parse(text: &str) -> Result<ResourcesUlimits> {
    let invalid = || format!("invalid ulimit \"{text}\"");
    let (name, limits) = text
        .split_once('=')
        .with_context(|| format!("{}: it must be name=soft or name=soft:hard", invalid()))?;
    if !NAMES.contains(&name) {
        bail!("{}: there is no limit \"{name}\"", invalid());
    }
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let soft: i64 = soft.parse().with_context(invalid)?;
    let hard: i64 = hard.parse().with_context(invalid)?;
    if hard != -1 && (soft > hard || soft == -1) {
        bail!("{}: the soft limit is above the hard one", invalid());
    }
    Ok(ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(soft),
        hard: Some(hard),
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn one_number_is_both_limits() {
        let limit = parse("nofile=1024").expect("a limit");
        assert_eq!((limit.soft, limit.hard), (Some(1024), Some(1024)));
    }

    #[test]
    fn soft_and_hard() {
        let limit = parse("core=0:-1").expect("a limit");
        assert_eq!((limit.soft, limit.hard), (Some(0), Some(-1)));
    }

    #[test]
    fn says_what_is_wrong() {
        let wrong = |text: &str| format!("{:#}", parse(text).expect_err("an error"));
        assert!(wrong("nofile").contains("must be name=soft"));
        assert!(wrong("files=1").contains("there is no limit \"files\""));
        assert!(wrong("nofile=2:1").contains("above the hard one"));
        assert!(wrong("nofile=x").contains("invalid digit"));
    }
}
