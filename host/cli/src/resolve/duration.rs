//! Durations as people write them: `10s`, `1h30m`, `1.5h`, `250ms`.

use std::time::Duration;

use anyhow::{Result, bail};

/// Reads a duration: numbers with units, one after the other.
pub(crate) fn parse(text: &str) -> Result<Duration> {
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let Some((nanoseconds, after)) = part(rest) else {
            bail!("invalid duration \"{text}\"")
        };
        total += nanoseconds;
        rest = after;
    }
    match u64::try_from(total) {
        Ok(total) if !text.is_empty() => Ok(Duration::from_nanos(total)),
        _ => bail!("invalid duration \"{text}\""),
    }
}

/// Nanoseconds of the first number with its unit, and what follows.
fn part(text: &str) -> Option<(u128, &str)> {
    /// More digits than this say nothing about a nanosecond.
    const MAX_DIGITS: usize = 18;
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(end);
    let (unit, rest) = rest.split_at(
        rest.find(|c: char| !c.is_alphabetic())
            .unwrap_or(rest.len()),
    );
    let scale: u128 = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() > MAX_DIGITS || whole.len() + fraction.len() == 0 {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let divisor = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    Some((digits * scale / divisor, rest))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::parse;

    #[test]
    fn units_add_up() {
        assert_eq!(parse("10s").expect("valid"), Duration::from_secs(10));
        assert_eq!(parse("1h30m").expect("valid"), Duration::from_secs(5400));
        assert_eq!(parse("1.5h").expect("valid"), Duration::from_secs(5400));
        assert_eq!(parse("250ms").expect("valid"), Duration::from_millis(250));
    }

    #[test]
    fn refuses_what_is_no_duration() {
        let wrong = |text: &str| parse(text).expect_err("an error").to_string();
        assert_eq!(wrong("10"), "invalid duration \"10\"");
        assert_eq!(wrong(""), "invalid duration \"\"");
        assert_eq!(wrong("5d"), "invalid duration \"5d\"");
        assert_eq!(wrong("-5s"), "invalid duration \"-5s\"");
        assert_eq!(wrong("1.2.3s"), "invalid duration \"1.2.3s\"");
    }
}
