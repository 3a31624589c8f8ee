//! Points in time: `--since 10m`, `--until 2026-11-22T12:00:00Z`, `1700000000.5`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

use super::duration;

/// Turns what was typed into seconds since 1970 with a fraction, as the API wants it. A duration
/// means that long before `now`. Without a zone a time is UTC.
pub(crate) fn parse(text: &str, now: SystemTime) -> Result<String> {
    if !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return Ok(text.to_owned());
    }
    if let Ok(ago) = duration::parse(text) {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let then = now.saturating_sub(ago);
        return Ok(format!("{}.{:09}", then.as_secs(), then.subsec_nanos()));
    }
    match rfc3339(text) {
        Some((seconds, nanoseconds)) => Ok(format!("{seconds}.{nanoseconds:09}")),
        None => bail!(
            "invalid time \"{text}\": a date such as 2026-11-22T12:00:00Z, seconds since 1970, \
             or a duration such as 10m is understood"
        ),
    }
}

/// Reads RFC 3339, also shortened to a date or to minutes.
pub(crate) fn rfc3339(text: &str) -> Option<(i64, u32)> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time),
        None => (text, "00:00:00"),
    };
    let mut fields = date.splitn(3, '-');
    let year: i64 = digits(fields.next()?, 4)?;
    let month = digits(fields.next()?, 2)?;
    let day = digits(fields.next()?, 2)?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (clock, offset) = split_zone(time)?;
    let (clock, nanoseconds) = match clock.split_once('.') {
        Some((clock, fraction)) => (clock, fraction_nanoseconds(fraction)?),
        None => (clock, 0),
    };
    let mut fields = clock.splitn(3, ':');
    let hour = digits(fields.next()?, 2)?;
    let minute = digits(fields.next()?, 2)?;
    let second = fields.next().map_or(Some(0), |text| digits(text, 2))?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some((seconds - offset, nanoseconds))
}

fn digits(text: &str, length: usize) -> Option<i64> {
    let valid = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    if valid { text.parse().ok() } else { None }
}

/// Splits `Z` or `+hh:mm` off; the second value is the offset in seconds.
fn split_zone(time: &str) -> Option<(&str, i64)> {
    if let Some(clock) = time.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(position) = time.find(['+', '-']) else {
        return Some((time, 0));
    };
    let (clock, zone) = time.split_at(position);
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone[1..].split_once(':')?;
    Some((
        clock,
        sign * (digits(hours, 2)? * 3600 + digits(minutes, 2)? * 60),
    ))
}

fn fraction_nanoseconds(fraction: &str) -> Option<u32> {
    const NANOSECOND_DIGITS: usize = 9;
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let padded: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(NANOSECOND_DIGITS)
        .collect();
    padded.parse().ok()
}

/// Days from 1970-01-01 in the Gregorian calendar; years are counted from March, so that the leap
/// day is the last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    /// Days from 0000-03-01 to 1970-01-01.
    const DAYS_TO_1970: i64 = 719_468;
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days + (153 * month_from_march + 2) / 5 + day - 1 - DAYS_TO_1970
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{parse, rfc3339};

    #[test]
    fn a_duration_is_counted_back_from_now() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        assert_eq!(parse("10m", now).expect("a time"), "400.000000000");
    }

    #[test]
    fn seconds_pass_through() {
        assert_eq!(
            parse("1700000000.25", UNIX_EPOCH).expect("a time"),
            "1700000000.25"
        );
    }

    #[test]
    fn dates_with_and_without_zone() {
        assert_eq!(rfc3339("1970-01-01T00:00:00Z"), Some((0, 0)));
        assert_eq!(
            rfc3339("2000-02-29T12:34:56.5Z"),
            Some((951_827_696, 500_000_000))
        );
        assert_eq!(
            rfc3339("2026-11-22T13:00:00+01:00"),
            Some((1_795_348_800, 0))
        );
        assert_eq!(rfc3339("2026-11-22T12:00"), Some((1_795_348_800, 0)));
        assert_eq!(rfc3339("2026-11-22"), Some((1_795_305_600, 0)));
    }

    #[test]
    fn refuses_what_is_no_time() {
        let error = parse("yesterday", UNIX_EPOCH)
            .expect_err("an error")
            .to_string();
        assert!(error.starts_with("invalid time \"yesterday\""), "{error}");
        assert_eq!(rfc3339("2026-13-01"), None);
        assert_eq!(rfc3339("2026-11-22T25:00:00Z"), None);
    }
}
