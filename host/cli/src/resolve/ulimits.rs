//! `--ulimit name=soft[:hard]`.

use anyhow::{Context, Result};
use dhow_api::client::request::ResourcesUlimits;
use dhow_engine::container::Ulimit;

/// Reads one `--ulimit`; -1 is "no limit".
pub(crate) fn parse(text: &str) -> Result<ResourcesUlimits> {
    let invalid = || format!("invalid ulimit \"{text}\"");
    let (name, limits) = text
        .split_once('=')
        .with_context(|| format!("{}: it must be name=soft or name=soft:hard", invalid()))?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let soft: i64 = soft.parse().with_context(invalid)?;
    let hard: i64 = hard.parse().with_context(invalid)?;
    let ulimit = Ulimit {
        name: name.to_owned(),
        soft,
        hard,
    };
    // What the daemon would refuse is refused before it is started.
    ulimit.check()?;
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
        assert!(wrong("files=1").contains("invalid ulimit type: files"));
        assert!(wrong("nofile=2:1").contains("must be less than or equal to hard"));
        assert!(wrong("nofile=x").contains("invalid digit"));
    }
}
