//! Dates for output, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;

/// A date and a time of day.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
}

impl Civil {
    /// From seconds since 1970, by counting years from March in cycles of 400.
    fn from_seconds(seconds: i64) -> Self {
        /// Days from 0000-03-01 to 1970-01-01.
        const DAYS_TO_1970: i64 = 719_468;
        const DAYS_PER_CYCLE: i64 = 146_097;
        let days = seconds.div_euclid(DAY_SECONDS) + DAYS_TO_1970;
        let cycle = days.div_euclid(DAYS_PER_CYCLE);
        let day_of_cycle = days.rem_euclid(DAYS_PER_CYCLE);
        let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524
            - day_of_cycle / 146_096)
            / 365;
        let day_of_year =
            day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        Self {
            year: cycle * 400 + year_of_cycle + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            second_of_day: seconds.rem_euclid(DAY_SECONDS),
        }
    }

    fn date(&self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    fn clock(&self) -> String {
        let second = self.second_of_day;
        format!(
            "{:02}:{:02}:{:02}",
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }
}

/// `2026-11-22 12:00:00 +0000 UTC`, as listings show it.
pub(crate) fn listing(seconds: i64) -> String {
    let civil = Civil::from_seconds(seconds);
    format!("{} {} +0000 UTC", civil.date(), civil.clock())
}

/// `2026-11-22T12:00:00.000000000Z`, as events show it.
pub(crate) fn precise(nanoseconds: i64) -> String {
    const PER_SECOND: i64 = 1_000_000_000;
    let civil = Civil::from_seconds(nanoseconds.div_euclid(PER_SECOND));
    let fraction = nanoseconds.rem_euclid(PER_SECOND);
    format!("{}T{}.{fraction:09}Z", civil.date(), civil.clock())
}

/// Seconds since 1970, now.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{listing, precise};

    #[test]
    fn dates_come_out_right() {
        assert_eq!(listing(0), "1970-01-01 00:00:00 +0000 UTC");
        assert_eq!(listing(951_827_696), "2000-02-29 12:34:56 +0000 UTC");
        assert_eq!(listing(1_795_348_800), "2026-11-22 12:00:00 +0000 UTC");
        assert_eq!(
            precise(1_795_348_800_000_000_042),
            "2026-11-22T12:00:00.000000042Z"
        );
    }
}
