//! How long ago, in the words Docker uses.

/// Seconds in words: "5 minutes", "About an hour", "3 weeks".
pub(crate) fn words(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let minutes = seconds / MINUTE;
    // Hours are rounded, everything above is cut off.
    let hours = (seconds + HOUR / 2) / HOUR;
    if seconds < 1 {
        "Less than a second".to_owned()
    } else if seconds == 1 {
        "1 second".to_owned()
    } else if seconds < MINUTE {
        format!("{seconds} seconds")
    } else if minutes == 1 {
        "About a minute".to_owned()
    } else if minutes < 60 {
        format!("{minutes} minutes")
    } else if hours == 1 {
        "About an hour".to_owned()
    } else if hours < 48 {
        format!("{hours} hours")
    } else if hours < 24 * 7 * 2 {
        format!("{} days", hours / 24)
    } else if hours < 24 * 30 * 2 {
        format!("{} weeks", hours / 24 / 7)
    } else if hours < 24 * 365 * 2 {
        format!("{} months", hours / 24 / 30)
    } else {
        format!("{} years", seconds / DAY / 365)
    }
}

/// The same with "ago".
pub(crate) fn ago(seconds: i64) -> String {
    format!("{} ago", words(seconds))
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn ages_are_told_as_docker_tells_them() {
        assert_eq!(words(0), "Less than a second");
        assert_eq!(words(1), "1 second");
        assert_eq!(words(59), "59 seconds");
        assert_eq!(words(119), "About a minute");
        assert_eq!(words(3_599), "59 minutes");
        assert_eq!(words(3_600), "About an hour");
        assert_eq!(words(6 * 3_600 + 1_900), "7 hours");
        assert_eq!(words(3 * 86_400), "3 days");
        assert_eq!(words(20 * 86_400), "2 weeks");
        assert_eq!(words(180 * 86_400), "6 months");
        assert_eq!(words(800 * 86_400), "2 years");
    }
}
