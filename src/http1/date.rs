//! IMF-fixdate (RFC 9110 5.6.7), the one format in which HTTP dates are written.

/// The last second of the year 9999; later ones do not fit the format and are written as this.
const LAST: u64 = 253_402_300_799;
const DAY: u64 = 86_400;

const WEEKDAYS: &[u8; 21] = b"SunMonTueWedThuFriSat";
const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

/// "Sun, 06 Nov 1994 08:49:37 GMT"
pub fn imf_fixdate(unix_seconds: u64) -> [u8; 29] {
    let seconds = unix_seconds.min(LAST);
    let (days, second_of_day) = (seconds / DAY, seconds % DAY);
    let (year, month, day) = civil_from_days(days);
    let weekday = (days + 4) % 7; // 1 January 1970 was a Thursday

    let mut out = *b"---, -- --- ---- --:--:-- GMT";
    out[..3].copy_from_slice(name(WEEKDAYS, weekday));
    out[5..7].copy_from_slice(&two_digits(day));
    out[8..11].copy_from_slice(name(MONTHS, month - 1));
    out[12..14].copy_from_slice(&two_digits(year / 100));
    out[14..16].copy_from_slice(&two_digits(year % 100));
    out[17..19].copy_from_slice(&two_digits(second_of_day / 3600));
    out[20..22].copy_from_slice(&two_digits(second_of_day / 60 % 60));
    out[23..25].copy_from_slice(&two_digits(second_of_day % 60));
    out
}

/// Year, month and day of the proleptic Gregorian calendar. The year is counted from March, so that the leap day is its
/// last, within eras of 400 years.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 1 March of the year 0
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

fn name(names: &[u8], index: u64) -> &[u8] {
    let at = index as usize * 3;
    &names[at..at + 3]
}

fn two_digits(value: u64) -> [u8; 2] {
    [b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seconds: u64) -> String {
        String::from_utf8(imf_fixdate(seconds).to_vec()).unwrap()
    }

    #[test]
    fn known_dates() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_078_012_800, "Sun, 29 Feb 2004 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (1_735_689_600, "Wed, 01 Jan 2025 00:00:00 GMT"),
            (2_147_483_648, "Tue, 19 Jan 2038 03:14:08 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (LAST, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (LAST + 1, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(text(seconds), expected);
        }
    }

    /// Against a calendar that only counts.
    #[test]
    fn every_day_until_9999() {
        const END: u64 = if cfg!(miri) { 2001 } else { 10_000 };
        let (mut year, mut month, mut day) = (1970u64, 1u64, 1u64);
        let mut days = 0;
        while year < END {
            assert_eq!(civil_from_days(days), (year, month, day));
            days += 1;
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
        assert!(END < 10_000 || days == LAST / DAY + 1);
    }
}
