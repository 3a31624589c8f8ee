//! Sizes as people write them: `512m`, `1.5g`, `64k`.

use anyhow::{Result, bail};

/// Bytes in a kibibyte; `k`, `m`, … are powers of it on the command line, as Docker has it.
const KIBI: u64 = 1024;

/// Reads a size. A number without unit is bytes.
pub(crate) fn parse(text: &str) -> Result<i64> {
    let trimmed = text.trim();
    let split = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let Some(unit) = unit_bytes(unit.trim()) else {
        bail!("invalid size \"{text}\": units are b, k, m, g, t");
    };
    let Some(bytes) = scale(number, unit) else {
        bail!("invalid size \"{text}\"");
    };
    Ok(bytes)
}

/// A size that may be -1 for "no limit".
pub(crate) fn parse_or_unlimited(text: &str) -> Result<i64> {
    if text.trim() == "-1" {
        Ok(-1)
    } else {
        parse(text)
    }
}

fn unit_bytes(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return None,
    };
    Some(KIBI.pow(power))
}

/// Multiplies in integers, so that 16 digits stay exact and nothing overflows silently.
fn scale(number: &str, unit: u64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut bytes = i64::try_from(whole.checked_mul(unit)?).ok()?;
    if !fraction.is_empty() {
        let digits: u64 = fraction.parse().ok()?;
        let divisor = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part = u128::from(digits) * u128::from(unit) / divisor;
        bytes = bytes.checked_add(i64::try_from(part).ok()?)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{parse, parse_or_unlimited};

    #[test]
    fn units_are_powers_of_1024() {
        assert_eq!(parse("512").expect("a size"), 512);
        assert_eq!(parse("64b").expect("a size"), 64);
        assert_eq!(parse("64k").expect("a size"), 65_536);
        assert_eq!(parse("512M").expect("a size"), 536_870_912);
        assert_eq!(parse("1GiB").expect("a size"), 1_073_741_824);
        assert_eq!(parse("2 tb").expect("a size"), 2_199_023_255_552);
    }

    #[test]
    fn fractions_count() {
        assert_eq!(parse("1.5g").expect("a size"), 1_610_612_736);
        assert_eq!(parse(".5k").expect("a size"), 512);
    }

    #[test]
    fn refuses_what_is_no_size() {
        let wrong = |text: &str| parse(text).expect_err("an error").to_string();
        assert_eq!(
            wrong("12x"),
            "invalid size \"12x\": units are b, k, m, g, t"
        );
        assert_eq!(wrong(""), "invalid size \"\"");
        assert_eq!(wrong("1.2.3m"), "invalid size \"1.2.3m\"");
        assert_eq!(
            wrong("99999999999999999999g"),
            "invalid size \"99999999999999999999g\""
        );
        assert!(wrong("-5m").starts_with("invalid size"));
    }

    #[test]
    fn minus_one_is_no_limit_where_allowed() {
        assert_eq!(parse_or_unlimited("-1").expect("no limit"), -1);
    }
}
