//! Dates of birth.

use chrono::{Datelike, NaiveDate};

use super::{Invalid, InvalidReason};

/// A date of birth: a calendar date without time and zone, from the year 1 to today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BirthDate(NaiveDate);

impl BirthDate {
    /// Accepts a complete date of the Gregorian calendar that is not after `today`, the date in UTC.
    pub fn parse(year: i32, month: i32, day: i32, today: NaiveDate) -> Result<Self, Invalid> {
        /// ISO 8601 dates have years of four digits, and PostgreSQL and SQLite agree on these.
        const YEARS: std::ops::RangeInclusive<i32> = 1..=9999;
        let date = YEARS
            .contains(&year)
            .then_some(())
            .and_then(|()| Some((u32::try_from(month).ok()?, u32::try_from(day).ok()?)))
            .and_then(|(month, day)| NaiveDate::from_ymd_opt(year, month, day))
            .ok_or_else(|| Invalid::format("must be a complete date of the calendar"))?;
        if date > today {
            return Err(Invalid {
                reason: InvalidReason::OutOfRange {
                    limit: i64::from(today.num_days_from_ce()),
                },
                description: "must not be in the future (in UTC)".to_owned(),
            });
        }
        Ok(Self(date))
    }

    /// Returns the date.
    #[must_use]
    pub const fn date(self) -> NaiveDate {
        self.0
    }

    /// Takes a date that was valid when it was stored.
    pub(crate) const fn from_stored(date: NaiveDate) -> Self {
        Self(date)
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::BirthDate;

    #[test]
    fn complete_dates_up_to_today() {
        let today = NaiveDate::from_ymd_opt(2026, 3, 1).expect("a date");
        for (year, month, day) in [(1, 1, 1), (1815, 12, 10), (2024, 2, 29), (2026, 3, 1)] {
            assert!(BirthDate::parse(year, month, day, today).is_ok());
        }
        for (year, month, day) in [
            (0, 0, 0),
            (0, 1, 1),
            (1990, 0, 1),
            (1990, 1, 0),
            (1990, 13, 1),
            (2023, 2, 29),
            (2026, 3, 2),
            (9999, 12, 31),
            (10_000, 1, 1),
            (-1, 1, 1),
            (1990, -1, -1),
            (i32::MAX, i32::MAX, i32::MAX),
            (i32::MIN, i32::MIN, i32::MIN),
        ] {
            assert!(
                BirthDate::parse(year, month, day, today).is_err(),
                "{year}-{month}-{day}"
            );
        }
    }
}
