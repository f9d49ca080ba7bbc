//! Dates as seconds: the proleptic Gregorian calendar from the year 0 on.

use super::spec::b;
use serde::{Deserialize, Serialize};

const SECONDS_PER_DAY: u64 = 86_400;

/// The days from 0000-01-01 to 1970-01-01.
const DAYS_TO_1970: u64 = days_before_year(1970);

/// The first second of the year 10000; no date here is that late.
pub(super) const END: u64 = days_before_year(10_000) * SECONDS_PER_DAY;

/// A date and a time of day in the years 0 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DateTime {
    /// Seconds since 0000-01-01 00:00:00.
    pub(super) seconds: u64,
}

impl DateTime {
    /// The date `year`-`month`-`day`, at `hour`:`minute`:`second`; `None` if there is no such date
    /// or time.
    pub fn new(
        year: u16,
        month: u8,
        day: u8,
        hour: u8,
        minute: u8,
        second: u8,
    ) -> Option<DateTime> {
        let valid = year < 10_000
            && (1..=12).contains(&month)
            && (1..=days_in_month(year.into(), month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        let fields = Fields {
            year,
            month,
            day,
            hour,
            minute,
            second,
        };
        valid.then(|| DateTime {
            seconds: fields.to_seconds(),
        })
    }

    /// The date that is `seconds` after 1970-01-01 00:00:00; `None` from the year 10000 on.
    pub fn from_unix_seconds(seconds: u64) -> Option<DateTime> {
        let seconds = seconds.checked_add(DAYS_TO_1970 * SECONDS_PER_DAY)?;
        (seconds < END).then_some(DateTime { seconds })
    }
}

/// A date taken apart, each part in its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) year: u16,
    pub(super) month: u8,
    pub(super) day: u8,
    pub(super) hour: u8,
    pub(super) minute: u8,
    pub(super) second: u8,
}

impl Fields {
    pub(super) fn from_seconds(seconds: u64) -> Fields {
        let (mut days, time) = (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY);
        // 146097 days are 400 years; the estimate is right or one too great.
        let mut year = days * 400 / 146_097;
        if days < days_before_year(year) {
            year -= 1;
        } else if days >= days_before_year(year + 1) {
            year += 1;
        }
        days -= days_before_year(year);
        let mut month = 1;
        while days >= u64::from(days_in_month(year, month)) {
            days -= u64::from(days_in_month(year, month));
            month += 1;
        }
        Fields {
            year: (year % 10_000) as u16,
            month,
            day: days as u8 + 1,
            hour: (time / 3600) as u8,
            minute: (time / 60 % 60) as u8,
            second: (time % 60) as u8,
        }
    }

    pub(super) fn to_seconds(self) -> u64 {
        let year = u64::from(self.year);
        let before_month: u64 = (1..self.month)
            .map(|month| u64::from(days_in_month(year, month)))
            .sum();
        let days = days_before_year(year) + before_month + u64::from(self.day) - 1;
        let minutes = u64::from(self.hour) * 60 + u64::from(self.minute);
        days * SECONDS_PER_DAY + minutes * 60 + u64::from(self.second)
    }
}

/// The day of the week of a date, 0 (Sunday) to 6.
pub(super) fn weekday(seconds: u64) -> u8 {
    // 0000-01-01 was a Saturday.
    ((seconds / SECONDS_PER_DAY + 6) % 7) as u8
}

/// The second of the day.
pub(super) fn second_of_day(seconds: u64) -> u32 {
    (seconds % SECONDS_PER_DAY) as u32
}

const fn days_before_year(year: u64) -> u64 {
    // Leap years before `year`, the year 0 among them.
    let leaps = year.div_ceil(4) - year.div_ceil(100) + year.div_ceil(400);
    365 * year + leaps
}

pub(super) fn days_in_month(year: u64, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// How the clock's bytes hold numbers: bits of register B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) binary: bool,
    pub(super) hours_24: bool,
}

impl Format {
    pub(super) fn of(register_b: u8) -> Format {
        Format {
            binary: register_b & b::BINARY != 0,
            hours_24: register_b & b::HOURS_24 != 0,
        }
    }

    pub(super) fn encode(self, value: u8) -> u8 {
        if self.binary {
            value
        } else {
            ((value / 10) << 4) | (value % 10)
        }
    }

    pub(super) fn decode(self, byte: u8) -> u8 {
        if self.binary {
            byte
        } else {
            10 * (byte >> 4) + (byte & 15)
        }
    }

    pub(super) fn encode_hour(self, hour: u8) -> u8 {
        if self.hours_24 {
            return self.encode(hour);
        }
        let afternoon = if hour >= 12 { 0x80 } else { 0 };
        let twelve = (hour + 11) % 12 + 1;
        self.encode(twelve) | afternoon
    }

    pub(super) fn decode_hour(self, byte: u8) -> u8 {
        if self.hours_24 {
            return self.decode(byte);
        }
        self.decode(byte & 0x7f) % 12 + if byte & 0x80 != 0 { 12 } else { 0 }
    }
}
