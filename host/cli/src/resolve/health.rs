//! `--health-*` and `--no-healthcheck` as the API's health check.

use anyhow::{Context, Result, bail};
use dhow_api::client::request::HealthConfig;

use super::duration;
use crate::args::container::HealthArgs;

/// The check; `None` where nothing was said about it.
pub(crate) fn resolve(args: &HealthArgs) -> Result<Option<HealthConfig>> {
    let durations = [
        &args.health_interval,
        &args.health_timeout,
        &args.health_start_period,
        &args.health_start_interval,
    ];
    let any_duration = durations.iter().any(|text| text.is_some());
    let anything = args.health_cmd.is_some() || args.health_retries.is_some() || any_duration;
    if args.no_healthcheck {
        if anything {
            bail!("--no-healthcheck conflicts with --health-* options");
        }
        return Ok(Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }));
    }
    if !anything {
        return Ok(None);
    }
    let test = args
        .health_cmd
        .as_ref()
        .map(|command| vec!["CMD-SHELL".to_owned(), command.clone()]);
    Ok(Some(HealthConfig {
        test,
        interval: nanoseconds("interval", args.health_interval.as_deref())?,
        timeout: nanoseconds("timeout", args.health_timeout.as_deref())?,
        start_period: nanoseconds("start-period", args.health_start_period.as_deref())?,
        start_interval: nanoseconds("start-interval", args.health_start_interval.as_deref())?,
        retries: args.health_retries,
    }))
}

fn nanoseconds(option: &str, text: Option<&str>) -> Result<Option<i64>> {
    let Some(text) = text else { return Ok(None) };
    let parsed = duration::parse(text).with_context(|| format!("invalid --health-{option}"))?;
    let nanoseconds = i64::try_from(parsed.as_nanos());
    nanoseconds
        .map(Some)
        .with_context(|| format!("invalid --health-{option}: {text} is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_goes_through_the_shell() {
        let args = HealthArgs {
            health_cmd: Some("curl -f localhost".to_owned()),
            health_interval: Some("1.5s".to_owned()),
            ..HealthArgs::default()
        };

        let check = resolve(&args).expect("a check").expect("one is asked for");

        assert_eq!(
            check.test.expect("a test"),
            ["CMD-SHELL", "curl -f localhost"]
        );
        assert_eq!(check.interval, Some(1_500_000_000));
    }

    #[test]
    fn no_check_and_a_check_exclude_each_other() {
        let args = HealthArgs {
            health_retries: Some(1),
            no_healthcheck: true,
            ..HealthArgs::default()
        };

        let _refused = resolve(&args).expect_err("a refusal");
    }
}
