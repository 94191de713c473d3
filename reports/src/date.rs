//! Dates and times as RFC 3339 writes them, in UTC.
//!
//! Hinnant, "chrono-compatible low-level date algorithms": `civil_from_days` and `days_from_civil`.

/// The date of a day since 1970-01-01: year, month, day.
pub fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The days from 1970-01-01 to a date.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Seconds and milliseconds since 1970 as RFC 3339 writes them.
pub fn rfc3339(seconds: i64, ms: u32) -> String {
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let rest = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// The seconds since 1970 of a time that [`rfc3339`] has written, with or without its milliseconds; `None` of anything else.
pub fn seconds(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let parts = |text: &str, between: char| -> Option<[i64; 3]> {
        let parts: Vec<i64> = text.split(between).map(|part| part.parse().ok()).collect::<Option<_>>()?;
        parts.try_into().ok()
    };
    let [year, month, day] = parts(date, '-')?;
    let [hour, minute, second] = parts(time.split('.').next()?, ':')?;
    let is_one = (1..=12).contains(&month) && (1..=31).contains(&day) && (0..24).contains(&hour);
    is_one.then(|| days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_in_a_calendar_and_read_back() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696, "2000-02-29T12:34:56.000Z"),
            (1_767_225_599, "2025-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(rfc3339(at, 0), text);
            assert_eq!(seconds(text), Some(at));
        }
        assert_eq!(seconds("2000-02-29T12:34:56Z"), Some(951_827_696));
        for wrong in ["", "yesterday", "2000-02-29", "2000-13-01T00:00:00Z", "2000-02-29T12:34Z"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
