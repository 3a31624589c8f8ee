//! Byte counts as people read them.

/// Units that grow by a thousand, as Docker shows sizes of images.
const DECIMAL_UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
/// Units that grow by 1024, as Docker shows memory.
const BINARY_UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Three digits and a decimal unit: `2.14MB`.
pub(crate) fn decimal(bytes: i64) -> String {
    scaled(bytes, 1000.0, &DECIMAL_UNITS, 3)
}

/// Four digits and a binary unit: `1.953GiB`.
pub(crate) fn binary(bytes: i64) -> String {
    scaled(bytes, 1024.0, &BINARY_UNITS, 4)
}

fn scaled(bytes: i64, base: f64, units: &[&str], digits: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "four digits of it are shown")]
    let mut size = bytes.max(0) as f64;
    let mut unit = 0;
    while size >= base && unit + 1 < units.len() {
        size /= base;
        unit += 1;
    }
    format!("{}{}", significant(size, digits), units[unit])
}

/// So many significant digits, without zeros at the end.
fn significant(value: f64, digits: usize) -> String {
    let whole_digits = format!("{value:.0}").len();
    let text = format!("{value:.*}", digits.saturating_sub(whole_digits));
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{binary, decimal};

    #[test]
    fn decimal_sizes_have_three_digits() {
        assert_eq!(decimal(0), "0B");
        assert_eq!(decimal(999), "999B");
        assert_eq!(decimal(1_000), "1kB");
        assert_eq!(decimal(2_139_648), "2.14MB");
        assert_eq!(decimal(21_396_480), "21.4MB");
        assert_eq!(decimal(119_800_000), "120MB");
        assert_eq!(decimal(1_500_000_000), "1.5GB");
    }

    #[test]
    fn binary_sizes_have_four() {
        assert_eq!(binary(2_097_152_000), "1.953GiB");
        assert_eq!(binary(536_870_912), "512MiB");
    }
}
