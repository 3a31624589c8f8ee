//! Signals by name and number, as on x86-64 Linux, where every machine runs.

use crate::class::{Classified, ErrorClass};

/// A signal's number, 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalNumber(i32);

/// Not a signal.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid signal: {0}")]
pub struct SignalError(String);

impl Classified for SignalError {
    fn class(&self) -> ErrorClass {
        ErrorClass::InvalidParameter
    }
}

/// Names in the order of their numbers (`signal(7)`), from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The first real-time signal that applications may use; the C library keeps two.
const RTMIN: i32 = 34;
/// The last real-time signal.
const RTMAX: i32 = 64;

impl SignalNumber {
    /// SIGKILL.
    pub const KILL: Self = Self(9);
    /// SIGTERM.
    pub const TERM: Self = Self(15);

    /// Its number.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }

    /// Reads `9`, `KILL`, `SIGKILL`, `RTMIN+3`, in either case.
    ///
    /// # Errors
    /// [`SignalError`] on anything else.
    pub fn parse(text: &str) -> Result<Self, SignalError> {
        let invalid = || SignalError(text.to_owned());
        if let Ok(number) = text.parse::<i32>() {
            return if (1..=RTMAX).contains(&number) {
                Ok(Self(number))
            } else {
                Err(invalid())
            };
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let named = (1..).zip(NAMES).find(|(_, known)| *known == name);
        named
            .map(|(number, _)| number)
            .or_else(|| synonym(name))
            .or_else(|| real_time(name))
            .map(Self)
            .ok_or_else(invalid)
    }
}

fn synonym(name: &str) -> Option<i32> {
    match name {
        "IOT" => Some(6),
        "CLD" => Some(17),
        "POLL" => Some(29),
        _ => None,
    }
}

fn real_time(name: &str) -> Option<i32> {
    let (base, offset) = match name.strip_prefix("RTMIN") {
        Some(offset) => (RTMIN, offset),
        None => (RTMAX, name.strip_prefix("RTMAX")?),
    };
    let offset = if offset.is_empty() {
        0
    } else {
        offset.parse::<i32>().ok()?
    };
    Some(base + offset).filter(|number| (RTMIN..=RTMAX).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_numbers() {
        let number = |text| SignalNumber::parse(text).map(SignalNumber::number);

        assert_eq!(number("SIGKILL"), Ok(9));
        assert_eq!(number("term"), Ok(15));
        assert_eq!(number("3"), Ok(3));
        assert_eq!(number("RTMIN+3"), Ok(37));
        assert_eq!(number("SIGSYS"), Ok(31));
    }

    #[test]
    fn refuses_what_is_no_signal() {
        SignalNumber::parse("0").unwrap_err();
        SignalNumber::parse("65").unwrap_err();
        SignalNumber::parse("SIGNOTHING").unwrap_err();
        SignalNumber::parse("RTMIN+31").unwrap_err();
    }
}
