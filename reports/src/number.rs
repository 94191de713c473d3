//! Numbers for people.

/// 1234567 as `1,234,567`.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds with as many places as they deserve: `0.412`, `3.41`, `41.2`, `1,204`.
pub(crate) fn milliseconds(ms: f64) -> String {
    match ms {
        ms if !ms.is_finite() => "-".to_owned(),
        ms if ms < 1.0 => format!("{ms:.3}"),
        ms if ms < 10.0 => format!("{ms:.2}"),
        ms if ms < 100.0 => format!("{ms:.1}"),
        ms => grouped(ms.round() as u64),
    }
}

/// Places beyond which two figures are the same to a person.
const MOST_PLACES: usize = 6;

/// Milliseconds that were found and their bound, with as many places as it takes for them to differ where they do: `90.04` and `90.00`.
pub fn told_apart(found_ms: f64, bound_ms: f64) -> (String, String) {
    let (found, bound) = (milliseconds(found_ms), milliseconds(bound_ms));
    if found != bound || found_ms == bound_ms || !found_ms.is_finite() || !bound_ms.is_finite() {
        return (found, bound);
    }
    let with = |places: usize| (format!("{found_ms:.places$}"), format!("{bound_ms:.places$}"));
    let apart = (1..=MOST_PLACES).map(with).find(|(found, bound)| found != bound);
    apart.unwrap_or((found, bound))
}

/// A time of a run, in seconds: `12.340 s`.
pub(crate) fn seconds(ms: u64) -> String {
    format!("{}.{:03} s", grouped(ms / 1_000), ms % 1_000)
}

/// Bytes in the unit that keeps three figures: `812 B`, `14.2 KiB`, `2.06 GiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1_024.0 || unit == "GiB" {
            return match value {
                _ if unit == "B" => format!("{bytes} B"),
                value if value < 10.0 => format!("{value:.2} {unit}"),
                value if value < 100.0 => format!("{value:.1} {unit}"),
                value => format!("{value:.0} {unit}"),
            };
        }
        value /= 1_024.0;
    }
    unreachable!("the last unit takes every value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.0, 0.4123, 3.414, 41.23, 1_204.4, f64::NAN].map(milliseconds),
            ["0.000", "0.412", "3.41", "41.2", "1,204", "-"]
        );
        let apart = |found, bound| told_apart(found, bound);
        assert_eq!(apart(90.04, 90.0), ("90.04".to_owned(), "90.00".to_owned()));
        assert_eq!(apart(250.2, 250.0), ("250.2".to_owned(), "250.0".to_owned()));
        assert_eq!(apart(91.0, 90.0), ("91.0".to_owned(), "90.0".to_owned()));
        assert_eq!(apart(90.0, 90.0), ("90.0".to_owned(), "90.0".to_owned()));
        assert_eq!([0, 12_340, 3_600_001].map(seconds), ["0.000 s", "12.340 s", "3,600.001 s"]);
        assert_eq!([0, 812, 14_541, 2_214_592_512].map(bytes), ["0 B", "812 B", "14.2 KiB", "2.06 GiB"]);
    }
}
